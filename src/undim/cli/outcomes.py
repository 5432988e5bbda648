"""How many tasks ended how, of pictures and of videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Ended(Protocol):
    """What became of a task."""

    @property
    def status(self) -> str:
        """How it ended: "done", "skipped" or "failed"."""


def count(outcomes: Sequence[Ended]) -> dict[str, int]:
    """The number of each status, as `--json` prints it."""
    return {status: sum(one.status == status for one in outcomes) for status in ("done", "skipped", "failed")}


def summary(outcomes: Sequence[Ended]) -> str:
    """The counts in words."""
    counts = count(outcomes)
    kept = " (their outputs exist; --overwrite replaces them)" if counts["skipped"] else ""
    return f"{counts['done']} done, {counts['skipped']} skipped{kept}, {counts['failed']} failed"
