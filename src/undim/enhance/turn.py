"""Whose turn it is: one call at a time, first come first served, and no more waiting than may."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from undim.cancellation import Cancellation
from undim.errors import PictureError


class Turn:
    """Lets one caller in after the other, in the order in which they came.

    Args:
        most: how many may wait at most; None for any number.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        """Who is in, first, and who waits."""

    @contextmanager
    def taken(self, cancellation: Cancellation) -> Iterator[None]:
        """Wait for the turn, and have it while in the block.

        Raises:
            PictureError: if too many wait already (code "busy").
            CancelledError: if the cancellation is asked before the turn comes.
        """
        ticket = object()
        with self._changed:
            if self._most is not None and len(self._queue) > self._most:
                raise PictureError(f"{self._most} pictures wait already; try again later", code="busy")
            self._queue.append(ticket)
        try:
            with cancellation.calling(self._wake):
                with self._changed:
                    while self._queue[0] is not ticket:
                        cancellation.check()
                        self._changed.wait(cancellation.left())
                cancellation.check()
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
