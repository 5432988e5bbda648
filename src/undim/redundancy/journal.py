"""Results as they come, one line of JSON each, so that a run that was killed continues."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from undim.errors import UsageError

FORMAT = 1


class Journal:
    """A file of records; the first line holds the facts of the run. A context manager.

    Args:
        path: begun where it is not there, else continued.
        facts: what the records depend on, in values that JSON can hold.

    Raises:
        UsageError: if the file holds records of other facts, or is none of ours.
        OSError: if it cannot be written.
    """

    def __init__(self, path: Path, facts: Mapping[str, object]) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        """Those that were there, and those appended since."""
        head = json.loads(json.dumps({"format": FORMAT, **facts}))
        lines = _whole_lines(path)
        if lines:
            there, *self.records = (_parse(line, path) for line in lines)
            differing = [key for key in head | there if there.get(key) != head.get(key)]
            if differing and not self.records and "format" in there:
                lines = []  # of a run that ended before its first result: there is nothing to lose
            elif differing:
                key = differing[0]
                raise UsageError(
                    f"{path} holds results with {key} = {_short(there.get(key))}, and this run has"
                    f" {_short(head.get(key))}: give another folder, or delete the file to begin anew."
                )
        self._stream = path.open("ab")
        self._stream.truncate(sum(map(len, lines)))
        if not lines:
            self._write(head)

    def append(self, record: dict[str, Any]) -> None:
        """Add a record; it is on disk when this returns."""
        self._write(record)
        self.records.append(record)

    def find(self, **keys: object) -> dict[str, Any] | None:
        """The first record that has these values."""
        return next((one for one in self.records if all(one.get(key) == value for key, value in keys.items())), None)

    def _write(self, record: Mapping[str, object]) -> None:
        self._stream.write(json.dumps(record).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def _whole_lines(path: Path) -> Sequence[bytes]:
    """The lines that were written to their end; a last one that was not is dropped."""
    if not path.is_file():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _parse(line: bytes, path: Path) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{path} holds a line that is no JSON: delete the file to begin anew.") from error
    if not isinstance(record, dict):
        raise UsageError(f"{path} is not a file of results: give another folder.")
    return record


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else f"{text[:77]}..."
