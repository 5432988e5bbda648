"""The paper's figures 2 and 5 as pictures of what was measured here.

Needs matplotlib, which is a development tool.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from undim.atomic import replacing
from undim.redundancy.kernel_grid import GRID, draw_cells, order_by_likeness
from undim.results.study import CellDocument, StudyTable
from undim.study.plots import draw_diversity, draw_ratios

ENLARGED = 4
"""Pixels of the grid for one weight, along each side."""


@dataclass(frozen=True)
class KernelGrid:
    """Kernels that one generator made for several pictures."""

    title: str
    kernels: npt.NDArray[np.float64]
    """Pictures x weights."""


def draw_figure2(studies: Sequence[StudyTable], cells: Mapping[str, Sequence[CellDocument]], target: Path) -> None:
    """A column a study: diversity of generated kernels over training, and below DMR against PSNR.

    Args:
        studies: as `undim.study.report.merge_cells` makes them, at least one.
        cells: study -> its finished cells.
        target: a .webp file.
    """
    figure = Figure(figsize=(max(5.2 * len(studies), 7), 8), layout="constrained")
    axes = figure.subplots(2, len(studies), squeeze=False)
    for column, study in enumerate(studies):
        draw_diversity(axes[0, column], study, cells[study.name])
        draw_ratios(axes[1, column], study, cells[study.name])
        axes[0, column].set_title(study.name)
        for axis in axes[:, column]:
            axis.legend(fontsize="small")
            axis.grid(alpha=0.3)
    save_figure(figure, target)


def draw_figure5(grids: Sequence[KernelGrid], target: Path) -> None:
    """Grids side by side, all on one scale: differences relative to the size of the generator's mean kernel.

    On the diagonal a picture's kernel minus the mean of all, elsewhere the row's minus the column's; blue is below
    zero, red above, the colour's strength is the root of the difference.

    Args:
        grids: of at least two pictures each.
        target: a .webp file.
    """
    scaled = []
    for grid in grids:
        kernels = grid.kernels[:GRID] / max(float(np.sqrt(np.mean(grid.kernels.mean(axis=0) ** 2))), 1e-30)
        scaled.append(kernels[order_by_likeness(kernels)])
    scale = max(float(np.abs(kernels[:, None] - kernels[None]).max()) for kernels in scaled) or 1.0
    figure = Figure(figsize=(5 * len(grids), 5.6), layout="constrained")
    for axis, grid, kernels in zip(figure.subplots(1, len(grids), squeeze=False)[0], grids, scaled, strict=True):
        lines = [
            np.concatenate([np.pad(cell, ((0, 1), (0, 1), (0, 0)), constant_values=255) for cell in line], axis=1)
            for line in draw_cells(kernels.tolist(), scale)
        ]
        axis.imshow(np.concatenate(lines).repeat(ENLARGED, 0).repeat(ENLARGED, 1), interpolation="nearest")
        axis.set(xticks=[], yticks=[], title=grid.title, xlabel="pictures, likest beside each other")
    figure.suptitle(f"full colour: a difference of {scale:.2g} times the mean kernel's rms", fontsize="medium")
    save_figure(figure, target)


def save_figure(figure: Figure, target: Path) -> None:
    """Write a WebP picture, whole or not at all."""
    picture = io.BytesIO()
    figure.savefig(picture, format="webp", dpi=80)
    with replacing(target) as stream:
        stream.write(picture.getvalue())
