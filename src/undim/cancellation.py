"""How a call in progress is asked to end, by whoever holds its cancellation or by a deadline."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from numbers import Real

from undim.errors import CancelledError, UsageError


class Cancellation:
    """Asks calls to end: those that were given it, from any thread, once and for all.

    Args:
        deadline: a reading of `time.monotonic()` from which on it counts as asked; None or infinity for never.

    Raises:
        UsageError: for a deadline that is not a number.
    """

    def __init__(self, deadline: float | None = None) -> None:
        if deadline is not None and (not isinstance(deadline, Real) or math.isnan(deadline)):
            raise UsageError(
                f"deadline is {deadline}; give a reading of time.monotonic(), or None for never.",
                code="option",
                subject="deadline",
            )
        self._deadline = None if deadline == math.inf else deadline
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._interrupts: dict[object, Callable[[], None]] = {}

    def cancel(self) -> None:
        """Ask now. Runs in progress end soon, with a `CancelledError`."""
        with self._lock:
            self._asked.set()
            interrupts = list(self._interrupts.values())
        for interrupt in interrupts:
            interrupt()

    @property
    def asked(self) -> bool:
        """Whether it was asked, or the deadline has passed."""
        return self._asked.is_set() or self._late()

    def check(self) -> None:
        """Raise CancelledError if it was asked, or the deadline has passed."""
        if self._asked.is_set():
            raise CancelledError("was stopped", code="cancelled")
        if self._late():
            raise CancelledError("took longer than it was given", code="deadline")

    def left(self) -> float | None:
        """Seconds until the deadline, at least 0 and no more than a thread can wait; None without one."""
        if self._deadline is None:
            return None
        return min(max(0.0, self._deadline - time.monotonic()), threading.TIMEOUT_MAX)

    @contextmanager
    def calling(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """While in the block, call `interrupt` when it is asked, from the asking thread; at once if it was already.

        `interrupt` may be called more than once, and must not wait for the block to end.
        """
        key = object()
        with self._lock:
            self._interrupts[key] = interrupt
        left = self.left()
        timer = None if left is None else threading.Timer(left, interrupt)
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            if self.asked:
                interrupt()
            yield
        finally:
            if timer is not None:
                timer.cancel()
            with self._lock:
                del self._interrupts[key]

    @contextmanager
    def following(self, *others: Cancellation | None) -> Iterator[None]:
        """While in the block, ask when one of the others is asked."""
        with ExitStack() as stack:
            for other in others:
                if other is not None:
                    stack.enter_context(other.calling(self.cancel))
            yield

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline


NEVER = Cancellation()
"""Of calls that nobody can end. Never asked."""
