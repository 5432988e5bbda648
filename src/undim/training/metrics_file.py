"""The figures of a run: rows of metrics.csv, and the same rows as TensorBoard events."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from undim.atomic import write_text
from undim.errors import CheckpointError
from undim.training.validation import FIGURES

COLUMNS = ("step", "loss", "rate", "seconds", "images_per_second", *FIGURES, "best_step")
PLOTTED = tuple(name for name in COLUMNS if name not in ("step", "seconds", "best_step"))
"""Those that TensorBoard receives."""
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
        rows: what the run has noted so far, see `read_rows`.
        losses: of the steps up to there that no row holds yet.
    """

    def __init__(self, path: Path, *, rows: Iterable[dict[str, str]] = (), losses: Sequence[float] = ()) -> None:
        self.path = path
        self.losses = list(losses)
        self._pictures, self._seconds = 0, 0.0
        self.rows = list(rows)
        from undim.training.event_file import EventFile  # TensorBoard, which no help page waits for

        self._events = EventFile(path.parent / "tensorboard", PLOTTED, self.rows)

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


def read_rows(path: Path, last: int) -> list[dict[str, str]]:
    """The rows of a metrics.csv up to a step; none where there is no such file.

    Raises:
        CheckpointError: if it cannot be read or is damaged, naming the line.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    rows: list[dict[str, str]] = []
    table = csv.DictReader(io.StringIO(text))
    try:
        for row in table:
            if int(row["step"]) <= last:
                for name in PLOTTED:
                    float(row.get(name) or 0)
                rows.append(row)
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged in line {table.line_num}: remove that line, or the file.") from error
    return rows
