"""The figures of a run as TensorBoard events."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]


class EventFile:
    """One TensorBoard file of the whole run, written anew when it is resumed: no step is in it twice.

    Not torch's SummaryWriter: its thread would meet a full disk where nobody can catch the error.

    Args:
        folder: receives the file; older ones of its kind are removed.
        names: of the columns to plot.
        rows: what the run has noted so far.
    """

    def __init__(self, folder: Path, names: Sequence[str], rows: Iterable[dict[str, str]]) -> None:
        self._names = names
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        now = time.time()
        self._file = (folder / f"events.out.tfevents.{now:.0f}.undim").open("wb")
        self._records = RecordWriter(self._file)
        self._records.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        self.add(rows)

    def add(self, rows: Iterable[dict[str, str]]) -> None:
        """Append the numbers of some rows of metrics.csv."""
        now = time.time()
        for row in rows:
            values = [Summary.Value(tag=name, simple_value=float(row[name])) for name in self._names if row.get(name)]
            event = Event(wall_time=now, step=int(row["step"]), summary=Summary(value=values))
            self._records.write(event.SerializeToString())

    def flush(self) -> None:
        """Hand what was added to the system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
