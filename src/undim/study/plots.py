"""Plots of a study: learning curves, DMR against PSNR, diversity of generated kernels over training.

Needs matplotlib, which is a development tool.
"""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from undim.atomic import replacing
from undim.results.study import CellDocument, StudyTable
from undim.study.cells import mean_distance


def draw_study(study: StudyTable, cells: Sequence[CellDocument], target: Path) -> None:
    """Draw one study as a WebP picture.

    Args:
        study: as `undim.study.report.merge_cells` makes it.
        cells: its finished cells.
        target: the file; it appears whole or not at all.
    """
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    curves, scatter, diverse = figure.subplots(1, 3)
    for name, colour, mine in _variants(study, cells):
        _draw_mean(curves, [dict(zip(c.curve.step, c.curve.psnr, strict=True)) for c in mine], colour)
        curves.plot([], [], color=colour, label=name)
    curves.set(title="learning curves, mean and range over seeds", xlabel="steps", ylabel="PSNR on val, dB")
    draw_ratios(scatter, study, cells)
    scatter.set_title("one dot a seed")
    draw_diversity(diverse, study, cells)
    diverse.set_title("diversity over training, mean and range over seeds")
    for axis in (curves, scatter, diverse):
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="small")
    picture = io.BytesIO()
    figure.savefig(picture, format="webp", dpi=80)
    with replacing(target) as stream:
        stream.write(picture.getvalue())


def draw_ratios(axis: Axes, study: StudyTable, cells: Sequence[CellDocument]) -> None:
    """DMR against PSNR on val, a dot a cell; arguments as in `draw_study`."""
    for name, colour, mine in _variants(study, cells):
        scores = [cell.scores.get("val") for cell in mine]
        psnr = [math.nan if one is None or one.psnr is None else one.psnr for one in scores]
        axis.plot(psnr, [cell.redundancy.dmr for cell in mine], "o", color=colour, label=name)
    axis.set(xlabel="PSNR on val, dB", ylabel="DMR, dB")


def draw_diversity(axis: Axes, study: StudyTable, cells: Sequence[CellDocument]) -> None:
    """Diversity of generated kernels over training, where there are some; arguments as in `draw_study`."""
    for name, colour, mine in _variants(study, cells):
        over_training = [{one.step: mean_distance(one.layers) for one in cell.diversity_over_training} for cell in mine]
        if any(over_training):
            _draw_mean(axis, over_training, colour)
            axis.plot([], [], color=colour, label=name)
    axis.set(xlabel="steps", ylabel="cosine distance between pictures' kernels")
    if axis.lines:
        axis.set_yscale("log")


def _variants(study: StudyTable, cells: Sequence[CellDocument]) -> Iterator[tuple[str, str, list[CellDocument]]]:
    """Name, colour and cells of each variant that has some."""
    for number, row in enumerate(study.rows):
        mine = [cell for cell in cells if cell.variant == row.variant and cell.seed in row.seeds]
        if mine:
            yield row.variant, f"C{number % 10}", mine


def _draw_mean(axis: Axes, curves: Sequence[Mapping[int, float]], colour: str) -> None:
    """The mean of curves where all have a value, and the range as a band."""
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    columns = [[curve[step] for curve in curves] for step in steps]
    axis.plot(steps, _each(statistics.fmean, columns), color=colour, marker=".")
    axis.fill_between(steps, _each(min, columns), _each(max, columns), color=colour, alpha=0.15, linewidth=0)


def _each(reduce: Callable[[Sequence[float]], float], columns: Sequence[Sequence[float]]) -> list[float]:
    return [reduce(column) for column in columns]
