"""Pictures as planes of floats: reduced, enlarged in parts, blurred, and one plane described by another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from undim.arrays import Floats, Pixels, Span
from undim.images.picture import full_scale
from undim.luma import REC601
from undim.machine import count_cores

BAND = 64
"""Rows that are taken at once, so that a picture never stands in memory as floats; few, for the processor's caches."""
_FEW = 2
"""Radius up to which a blur sums place by place."""


def to_planes(pixels: Pixels) -> Floats:
    """H x W x 3 or H x W integers to 3 x H x W float32 in [0, 1]; grey fills all three."""
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    np.multiply(
        pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1), np.float32(1 / full_scale(pixels)), out=planes
    )
    return planes


def luma(planes: Floats) -> Floats:
    """Rec. 601 luma: 3 x H x W to H x W."""
    red, green, blue = (np.float32(weight) for weight in REC601)
    mixed: Floats = red * planes[0] + green * planes[1] + blue * planes[2]
    return mixed


def reduce(pixels: Pixels, size: Span, threads: int | None = None) -> tuple[Floats, Floats]:
    """Average a picture over boxes.

    Args:
        pixels: H x W x 3 or H x W.
        size: h and w.
        threads: how many bands are in work at once; one per core if None.

    Returns:
        The reduced copy, 3 x h x w in [0, 1], and the variance of the luma within each box, h x w.
    """
    height, width = pixels.shape[:2]
    step = height / size[0]
    small = np.empty((3, *size), np.float32)
    squares = np.empty(size, np.float32)
    rows_at_once = max(1, round(BAND / step))

    def band(first: int) -> None:
        last = min(first + rows_at_once, size[0])
        top, bottom = math.floor(first * step), min(math.ceil(last * step), height)
        planes = to_planes(pixels[top:bottom])
        part = (0.0, first * step - top, float(width), min(last * step, height) - top)
        for target, plane in zip((*small, squares), (*planes, luma(planes) ** 2), strict=True):
            target[first:last] = _resize(plane, (last - first, size[1]), Image.Resampling.BOX, part)

    with ThreadPoolExecutor(threads or count_cores()) as pool:
        list(pool.map(band, range(0, size[0], rows_at_once)))
    return small, (squares - luma(small) ** 2).clip(0)


@dataclass(frozen=True)
class Cut:
    """The part of a small plane that a part of the enlarged one is made from."""

    place: tuple[slice, slice]
    """Of the small plane."""
    size: Span
    """Height and width of the enlarged part."""
    _box: tuple[float, float, float, float]

    def enlarge(self, part: Floats) -> Floats:
        """Bilinearly, what was cut from a plane at `place`."""
        return _resize(part, self.size, Image.Resampling.BILINEAR, self._box)


def find_cut(small: Sequence[int], size: Sequence[int], rows: Span, columns: Span) -> Cut:
    """What to cut from a plane of height and width `small` to make these rows and columns of one of `size`."""
    down, across = small[0] / size[0], small[1] / size[1]
    # Two places more on each side than the bilinear kernel reaches.
    top, bottom = max(0, int(rows[0] * down) - 2), math.ceil(rows[1] * down) + 2
    left, right = max(0, int(columns[0] * across) - 2), math.ceil(columns[1] * across) + 2
    box = (columns[0] * across - left, rows[0] * down - top, columns[1] * across - left, rows[1] * down - top)
    return Cut((slice(top, bottom), slice(left, right)), (rows[1] - rows[0], columns[1] - columns[0]), box)


def enlarge(plane: Floats, size: Sequence[int], rows: Span, columns: Span) -> Floats:
    """Enlarge h x w bilinearly to H x W (`size`), but only these rows and columns of it."""
    cut = find_cut(plane.shape, size, rows, columns)
    return cut.enlarge(plane[cut.place])


def blur(plane: Floats, radius: int) -> Floats:
    """Mean over (2 radius + 1) x (2 radius + 1) places of an H x W plane, the border repeated."""
    side = 2 * radius + 1
    padded = np.pad(plane, radius, mode="edge")
    if radius <= _FEW:
        high, wide = plane.shape
        rows = _add([padded[start : start + high] for start in range(side)])
        few = _add([rows[:, start : start + wide] for start in range(side)])
        few *= np.float32(1 / side**2)
        return few
    rows = np.insert(padded.cumsum(0, np.float64), 0, 0, 0)
    rows = rows[side:] - rows[:-side]
    both = np.insert(rows.cumsum(1), 0, 0, 1)
    blurred: Floats = ((both[:, side:] - both[:, :-side]) / side**2).astype(np.float32)
    return blurred


def _add(planes: Sequence[Floats]) -> Floats:
    """The sum of several planes, in their order. NumPy's own would copy them all into one array first."""
    total = planes[0].copy()
    for plane in planes[1:]:
        total += plane
    return total


def regress(guide: Floats, plane: Floats, radius: int, ridge: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Slope and offset, H x W each, of the regression of a plane on another around each place (He et al. 2013).

    Args:
        guide: H x W.
        plane: H x W.
        radius: of the square that counts around a place; slopes and offsets are blurred by it once more.
        ridge: variance of the guide, one number or H x W, below which slopes are drawn to zero.
    """
    mean_guide, mean_plane = blur(guide, radius), blur(plane, radius)
    variance = blur(guide * guide, radius) - mean_guide * mean_guide
    covariance = blur(guide * plane, radius) - mean_guide * mean_plane
    slope = covariance / (variance + np.asarray(ridge, np.float32))
    return blur(slope, radius), blur(mean_plane - slope * mean_guide, radius)


def _resize(
    plane: Floats, size: Span, how: Image.Resampling, part: tuple[float, float, float, float]
) -> npt.NDArray[np.float32]:
    image = Image.fromarray(np.ascontiguousarray(plane))
    # Rounding must not take the part beyond the picture.
    box = (part[0], part[1], min(part[2], float(image.width)), min(part[3], float(image.height)))
    return np.asarray(image.resize((size[1], size[0]), how, box=box))
