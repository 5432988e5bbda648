"""The figures of a run: rows of metrics.csv, and the same rows as TensorBoard events."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from undim.atomic import write_text
from undim.training.validation import FIGURES

COLUMNS = ("step", "loss", "rate", "seconds", "images_per_second", *FIGURES, "best_step")
EVERY = 50
"""Steps from one row to the next, validations apart."""


@dataclass(frozen=True)
class Progress:
    """What one step reports."""

    step: int
    """Steps done."""
    steps: int
    loss: float
    """Mean over the step's pictures, on all processes."""
    rate: float
    """Learning rate."""
    seconds: float
    """Since the beginning, resumed sessions added up."""
    step_seconds: float
    """Of this step alone, loading its crops included, validation not."""
    pictures: int
    """Crops in this step, on all processes."""
    share: float
    """0..1 of the run, or of its time budget if that ends sooner."""
    validation: dict[str, float] | None = None
    """By the names in `undim.training.validation.FIGURES`."""
    best_step: int | None = None
    """The step of the best validation so far."""


class MetricsFile:
    """metrics.csv: a row for each step that was validated or is a multiple of 50, with the mean loss since the last.

    Args:
        path: the file; a folder tensorboard/ beside it receives the same figures.
        resume_at: keep the rows up to this step and append; `None` starts anew.
        losses: of the steps up to there that no row holds yet.
    """

    def __init__(self, path: Path, *, resume_at: int | None = None, losses: Sequence[float] = ()) -> None:
        self.path = path
        self.losses = list(losses)
        self._pictures, self._seconds = 0, 0.0
        self.rows: list[dict[str, str]] = []
        if resume_at is not None and path.is_file():
            with path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= resume_at]
        self._events = EventFile(path.parent / "tensorboard", self.rows)

    def add(self, progress: Progress) -> None:
        """Note one step."""
        if math.isfinite(progress.loss):  # a step on a device that was not left the weights as they were
            self.losses.append(progress.loss)
        self._pictures += progress.pictures
        self._seconds += progress.step_seconds
        if progress.validation is None and progress.step % EVERY:
            return
        row = {
            "step": str(progress.step),
            "loss": f"{np.mean(self.losses) if self.losses else math.nan:.7g}",
            "rate": f"{progress.rate:.4g}",
            "seconds": f"{progress.seconds:.1f}",
            "images_per_second": f"{self._pictures / max(self._seconds, 1e-9):.4g}",
        }
        if progress.validation is not None:
            row |= {name: f"{value:.4f}" for name, value in progress.validation.items()}
            row["best_step"] = str(progress.best_step)
        self.rows.append(row)
        self._events.add([row])
        self.losses.clear()
        self._pictures, self._seconds = 0, 0.0

    def flush(self) -> None:
        """Write the table anew and the events through.

        Raises:
            OSError: if that fails; the table that was there is intact.
        """
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore")
        table.writeheader()
        table.writerows(self.rows)
        write_text(self.path, text.getvalue())
        self._events.flush()

    def close(self) -> None:
        """Close the events' file."""
        self._events.close()


class EventFile:
    """One TensorBoard file of the whole run, written anew when it is resumed: no step is in it twice.

    Not torch's SummaryWriter: its thread would meet a full disk where nobody can catch the error.

    Args:
        folder: receives the file; older ones of its kind are removed.
        rows: what the run has noted so far.
    """

    def __init__(self, folder: Path, rows: Iterable[dict[str, str]]) -> None:
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
            values = [
                Summary.Value(tag=name, simple_value=float(row[name]))
                for name in COLUMNS
                if name not in ("step", "seconds", "best_step") and row.get(name)
            ]
            event = Event(wall_time=now, step=int(row["step"]), summary=Summary(value=values))
            self._records.write(event.SerializeToString())

    def flush(self) -> None:
        """Hand what was added to the system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
