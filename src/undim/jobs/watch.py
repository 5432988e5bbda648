"""Pictures that arrive in a folder: each is handed on once, when it has come to rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from undim.jobs.plan import Task

PAUSE = 1.0
"""Seconds between two looks into the folder."""

_Signature = tuple[int, int, int]
"""Size, time of change and number of a file: what changes while it is written."""


class Arrivals:
    """The pictures that became complete since the last look.

    A file counts as complete when it is not empty and was the same at two looks. One that changes afterwards, because
    it took longer to copy than it seemed, is handed on again.

    Args:
        look: gives the tasks for all pictures that are there.
    """

    def __init__(self, look: Callable[[], Iterable[Task]]) -> None:
        self._look = look
        self._seen: dict[str, _Signature] = {}
        self._handed_on: dict[str, _Signature] = {}
        self._there: dict[str, Task] = {}

    def ready(self) -> list[Task]:
        """Look now."""
        tasks = self._there = {task.source: task for task in self._look()}
        now = {source: signature for source in tasks if (signature := _sign(source)) is not None}
        rested = {source for source, signature in now.items() if self._seen.get(source) == signature}
        fresh = [source for source in tasks if source in rested and self._handed_on.get(source) != now[source]]
        self._seen = now
        self._handed_on.update((source, now[source]) for source in fresh)
        return [tasks[source] for source in fresh]

    def left(self) -> list[Task]:
        """What was there at the last look, is still, and cannot come to rest: empty files, links to nothing, pipes."""
        return [
            task
            for source, task in self._there.items()
            if source not in self._handed_on and _sign(source) is None and os.path.lexists(source)
        ]


def _sign(path: str) -> _Signature | None:
    """`None` for a file that is empty or gone again."""
    try:
        found = os.stat(path)  # noqa: PTH116 - the path may hold bytes that are not text
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ino) if found.st_size else None
