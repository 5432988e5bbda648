"""Draw the learning curves of the shipped models into docs/curves.webp, from the metrics that their runs wrote.

    python docs/make_curves.py

docs/runs/NAME.csv is the metrics.csv of the run that made the model NAME.
"""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot

HERE = Path(__file__).parent
PANELS = (
    ("loss", "training loss"),
    ("psnr", "PSNR, dB"),
    ("psnr_gt_mean", "PSNR at matched brightness, dB"),
    ("brightness_error", "brightness error"),
)
VALIDATION = {
    "photo": "third run, half-lit val, 11 pictures",
    "photo_seed1": "third run, half-lit val, 11",
    "photo_first": "first run with the view, half-lit val, 11",
    "photo_second": "second run with the view, half-lit val, 11",
    "photo_dark": "second run for dark pictures, SICE val, 12",
    "photo_dark_first": "SICE val, 12",
    "lol": "second run, LOL-v1 val, 24",
    "lol_first": "without its pin, LOL-v1 val, 24",
    "tiny": "third run, half-lit val, 11",
    "tiny_seed1": "third run, half-lit val, 11",
    "tiny_dark": "LOL-v1 val, 24",
}


def read_column(path: Path, column: str) -> tuple[list[float], list[float]]:
    """Minutes and values of the rows that have one."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get(column)]
    return [float(row["seconds"]) / 60 for row in rows], [float(row[column]) for row in rows]


def smooth(values: list[float], decay: float = 0.9) -> list[float]:
    """Exponential moving average."""
    smoothed: list[float] = []
    for value in values:
        smoothed.append(value if not smoothed else decay * smoothed[-1] + (1 - decay) * value)
    return smoothed


def main() -> None:
    """Write docs/curves.webp."""
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(15, 3.4), layout="constrained")
    for path in sorted((HERE / "runs").glob("*.csv")):
        for axis, (column, title) in zip(axes, PANELS, strict=True):
            minutes, values = read_column(path, column)
            axis.plot(
                minutes,
                smooth(values) if column == "loss" else values,
                marker="" if column == "loss" else ".",
                label=f"{path.stem} ({VALIDATION.get(path.stem, 'validation')})",
            )
            axis.set(title=title, xlabel="minutes of training")
            axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[1].legend(fontsize="small")
    figure.savefig(HERE / "curves.webp", dpi=80)


if __name__ == "__main__":
    main()
