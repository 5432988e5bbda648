"""Figure 5's grid: kernels that one generator makes for several pictures, and how they differ from pair to pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from undim.arrays import Bytes

GRID = 8
"""Pictures of a grid at most."""
_NEGATIVE, _ZERO, _POSITIVE = (
    np.array(colour, np.float64) for colour in ((47, 111, 159), (247, 247, 246), (181, 72, 47))
)


def order_by_likeness(kernels: npt.NDArray[np.float64]) -> list[int]:
    """Rows of M x N in the order of their first principal component, so that neighbours are alike."""
    centred = kernels - kernels.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    order: list[int] = np.argsort(left[:, 0] * sizes[0], kind="stable").tolist()
    return order


def draw_cells(kernels: Sequence[Sequence[float]], scale: float | None = None) -> list[list[Bytes]]:
    """The cells of the grid.

    Args:
        kernels: M rows of N weights.
        scale: the difference that gets the full colour; by default the largest.

    Returns:
        M x M pictures, 8-bit RGB, a pixel a weight in rows of about equal length: on the diagonal a kernel minus the
        mean of all; elsewhere the row's kernel minus the column's. Blue is below zero, red above; one scale for all.
    """
    values = np.asarray(kernels, np.float64)
    own = values - values.mean(axis=0)
    count = len(values)
    differences = [
        [own[row] if row == column else own[row] - own[column] for column in range(count)] for row in range(count)
    ]
    full = scale or max(float(np.abs(each).max()) for line in differences for each in line) or 1.0
    return [[_colour(each / full) for each in line] for line in differences]


def brighten(pixels: Bytes, side: int = 96) -> Bytes:
    """A small square from the middle of a dark picture, its brightest hundredth made white, to be recognised."""
    height, width = pixels.shape[:2]
    size = min(height, width)
    top, left = (height - size) // 2, (width - size) // 2
    square = pixels[top : top + size, left : left + size]
    small = square[:: max(size // side, 1), :: max(size // side, 1)].astype(np.float64)
    top_level = max(float(np.percentile(small, 99)), 1.0)
    shown: Bytes = np.clip(small * (255 / top_level), 0, 255).astype(np.uint8)
    return shown


def _colour(values: npt.NDArray[np.float64]) -> Bytes:
    """Weights in [-1, 1] as a picture, filled up with zeros to a rectangle."""
    columns = int(np.ceil(np.sqrt(values.size)))
    rows = -(-values.size // columns)
    filled = np.zeros(rows * columns)
    filled[: values.size] = values
    strength = np.abs(filled)[:, None] ** 0.5  # the square root shows small differences, too
    colours = _ZERO + strength * (np.where(filled[:, None] < 0, _NEGATIVE, _POSITIVE) - _ZERO)
    picture: Bytes = np.rint(colours).astype(np.uint8).reshape(rows, columns, 3)
    return picture
