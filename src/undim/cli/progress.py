"""How far a command is: a bar on a terminal, and lines where there is none."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from undim.cli.lines import one_line, say


@dataclass(frozen=True)
class Bar:
    """What a command tells while it works."""

    advance: Callable[[float], None]
    """Adds so many steps, parts of one too; from any thread."""
    tell: Callable[[str], None]
    """Writes a line above the bar."""


@contextmanager
def bar(total: float, what: str = "") -> Iterator[Bar]:
    """A bar with the time left on a terminal, nothing otherwise.

    Args:
        total: how many steps there are.
        what: stands before the bar.
    """
    if not on_terminal():
        yield Bar(lambda _steps: None, say)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    text = [TextColumn("{task.description}")] if what else []
    count = TextColumn("{task.completed:.0f}/{task.total:.0f}") if total != 1 else TaskProgressColumn()
    with Progress(*text, BarColumn(), count, TimeRemainingColumn(), console=console, transient=True) as shown:
        task = shown.add_task(what, total=total)
        # `out` neither wraps nor reads markup.
        yield Bar(partial(shown.advance, task), lambda line: console.out(f"undim: {one_line(line)}", highlight=False))


class Shares:
    """Shares of several pictures in progress, added up to steps of a bar; from any thread."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance
        self._done: dict[int, float] = {}
        self._lock = threading.Lock()

    def reach(self, index: int, share: float) -> None:
        """A picture is done to this share, 0 to 1; less than before changes nothing."""
        with self._lock:
            step = share - self._done.get(index, 0.0)
            if step <= 0:
                return
            self._done[index] = share
        self._advance(step)


def on_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar of counted steps; yields what to call after each."""
    with bar(total, what) as shown:
        yield partial(shown.advance, 1.0)
