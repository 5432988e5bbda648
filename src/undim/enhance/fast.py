"""Large pictures from a small run: local affine models, calibrated on crops that the network saw at full size.

The network runs on a reduced copy. What it did there is described, at each place and for each colour, as
output = slope * input + offset (He et al., "Guided Image Filtering", 2013, and "Fast Guided Filter", 2015); slopes and
offsets are smooth, so they can be enlarged, and the picture's own edges stay sharp.

A reduced copy is less noisy and finer drawn, which the network answers with other tones. So it also runs on some crops
of full size, and the models are corrected to agree with it there: by tone, and by how much of the fine detail is kept,
which depends on how much there is (noise is smoothed, texture is not). The correction is linear in a few terms: a
least-squares fit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from undim.enhance.planes import BAND, blur, enlarge, luma, regress, to_planes
from undim.enhance.tiling import CROP, Floats, Span
from undim.images.picture import Pixels

REDUCED_PIXELS = 1_350_000
"""What the reduced copy has at most: a third of each side of a 12-megapixel picture."""
SMALLEST_REDUCTION = 1.5
"""Sides are reduced by this factor at least: below, little time would be saved."""
CROPS = 16
"""Crops of full size that the network sees."""
SLOPE_RIDGE = 0.01
"""Contrast, relative to the brightness and squared, below which slopes are drawn to zero."""
TONES, TEXTURES = 5, 3
"""Knots of the corrections that depend on the output's tone and on the amount of fine detail."""
FIT_RIDGE = 1e-3
"""How strongly no correction is preferred, relative to what each term contributes."""
_BLACK = 1e-4
"""Square of the brightness that contrasts in black are relative to."""

Term = tuple[Floats | None, Floats]
"""Slope (`None` for zero) and offset of one colour, h x w each."""


@dataclass(frozen=True)
class Crop:
    """A part of the picture that the network saw at full size."""

    rows: Span
    columns: Span
    enhanced: Floats
    """3 x height x width, not clamped."""


@dataclass(frozen=True)
class LocalModel:
    """What each place's colours become: output = slope * input + offset, with values in [0, 1]."""

    slopes: Floats
    """3 x h x w, on the grid of the reduced copy."""
    offsets: Floats
    """3 x h x w."""

    def apply(self, pixels: Pixels, threads: int | None = None) -> Iterator[tuple[int, Floats]]:
        """Yield the top row and the output, 3 x rows x W, not clamped, of one band of the picture after the other.

        Args:
            pixels: H x W x 3 or H x W, of the picture that the model was made for.
            threads: how many bands are made at once; one per core if None.
        """
        height, width = pixels.shape[:2]

        def band(top: int) -> Floats:
            rows, columns = (top, min(top + BAND, height)), (0, width)
            output = to_planes(pixels[slice(*rows)])
            for colour in range(3):
                output[colour] *= enlarge(self.slopes[colour], (height, width), rows, columns)
                output[colour] += enlarge(self.offsets[colour], (height, width), rows, columns)
            return output

        at_once = threads or os.cpu_count() or 1
        with ThreadPoolExecutor(at_once) as pool:
            for first in range(0, height, at_once * BAND):  # no more bands in memory than are made at once
                tops = range(first, min(first + at_once * BAND, height), BAND)
                yield from zip(tops, pool.map(band, tops), strict=True)


def reduced_size(height: int, width: int) -> Span | None:
    """Height and width of the reduced copy; `None` for a picture that is not large enough for one."""
    factor = math.sqrt(height * width / REDUCED_PIXELS)
    if factor < SMALLEST_REDUCTION or min(height, width) < CROP:
        return None
    return int(height / factor), int(width / factor)


def fit_model(pixels: Pixels, small: Floats, texture: Floats, enhanced: Floats, crops: Sequence[Crop]) -> LocalModel:
    """The local models of a picture.

    Args:
        pixels: H x W x 3 or H x W.
        small: its reduced copy, 3 x h x w.
        texture: the variance within each of its boxes, h x w.
        enhanced: what the network made of the reduced copy, 3 x h x w, told of the whole picture as the crops were.
        crops: parts of the picture that it saw at full size.
    """
    slopes, offsets = np.empty_like(small), np.empty_like(small)
    tones = _hats(luma(enhanced).clip(0, 1), TONES)
    brightness = luma(small)
    kinds = _texture_kinds(brightness, texture)
    for colour in range(3):
        terms = _terms(small[colour], enhanced[colour], brightness, tones, kinds)
        shares = _fit(pixels, colour, terms, crops)
        slopes[colour] = sum(k * slope for k, (slope, _) in zip(shares, terms, strict=True) if slope is not None)
        offsets[colour] = sum(k * offset for k, (_, offset) in zip(shares, terms, strict=True))
    return LocalModel(slopes, offsets)


def _terms(
    small: Floats, enhanced: Floats, brightness: Floats, tones: Sequence[Floats], kinds: Sequence[Floats]
) -> list[Term]:
    """The model of one colour without correction, and what may be added to it."""
    mean = blur(small, 1)
    slope, _ = regress(small, enhanced, 1, SLOPE_RIDGE * (mean * mean + np.float32(_BLACK)))
    terms: list[Term] = [(slope, enhanced - slope * small)]
    terms += [(None, enhanced * tone) for tone in tones]
    terms += [(None, tone) for tone in tones]
    terms += [(None, brightness)]
    terms += [(factor * kind, -factor * kind * small) for factor in (slope, np.float32(1)) for kind in kinds]
    return terms


def _texture_kinds(brightness: Floats, texture: Floats) -> list[Floats]:
    """How much each place belongs to the smooth, the middling and the rich in detail, h x w each."""
    relative = np.log(blur(texture, 1) / (brightness**2 + np.float32(_BLACK)) + np.float32(1e-6))
    marks = np.quantile(relative, (0.1, 0.5, 0.9))
    return _hats(np.interp(relative, marks, np.linspace(0, 1, len(marks))).astype(np.float32), TEXTURES)


def _fit(pixels: Pixels, colour: int, terms: Sequence[Term], crops: Sequence[Crop]) -> npt.NDArray[np.float64]:
    """The factor of each term, that of the first being one, with which they come nearest to the crops."""
    size = pixels.shape[:2]
    count = len(terms) - 1
    gram, towards = np.zeros((count, count)), np.zeros(count)
    for crop in crops:
        seen = to_planes(pixels[slice(*crop.rows), slice(*crop.columns)])[colour]
        values = []
        for slope, offset in terms:
            value = enlarge(offset, size, crop.rows, crop.columns)
            if slope is not None:
                value = value + seen * enlarge(slope, size, crop.rows, crop.columns)
            values.append(value.ravel())
        design = np.stack(values[1:])
        gram += design @ design.T
        towards += design @ (crop.enhanced[colour].ravel() - values[0])
    ridge = np.diag(FIT_RIDGE * np.diag(gram) + 1e-6 * max(1.0, np.trace(gram)))
    return np.concatenate(([1.0], np.linalg.solve(gram + ridge, towards)))


def _hats(values: Floats, count: int) -> list[Floats]:
    """Linear B-splines over [0, 1], which sum to one: `count` of the shape of the values."""
    return [(1 - np.abs(values * (count - 1) - knot)).clip(0, 1).astype(np.float32) for knot in range(count)]
