"""The progress bar of every verb: on a terminal only, gone when the work is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from undim.cli.lines import one_line, say


@dataclass(frozen=True)
class Bar:
    """What moves a bar, and speaks beside it."""

    advance: Callable[[], None]
    """To be called after each step."""
    reach: Callable[[float], None]
    """To be called with how much of the total is done."""
    tell: Callable[[str], None]
    """Writes a line to standard error, above the bar where there is one."""


@contextmanager
def show_progress(total: float, what: str = "", *, counted: bool = True) -> Iterator[Bar]:
    """Show a bar with the time left, if standard error is a terminal.

    Args:
        total: the steps, or 1 where shares are told.
        what: stands before the bar.
        counted: whether steps are shown as n/N; else the percentage.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield Bar(lambda: None, lambda _done: None, say)
        return
    from rich.console import Console  # takes longer to load than a small picture takes
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        *([TextColumn("{task.description}", markup=False)] if what else []),
        BarColumn(),
        MofNCompleteColumn() if counted else TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield Bar(
            lambda: bar.advance(task),
            lambda done: bar.update(task, completed=done),
            # `out` neither wraps nor reads markup.
            lambda text: console.out(f"undim: {one_line(text)}", highlight=False),
        )


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar of counted steps; yields what to call after each."""
    with show_progress(total, what) as bar:
        yield bar.advance
