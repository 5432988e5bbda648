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
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from undim.arrays import Floats, Pixels, Span
from undim.enhance.planes import BAND, blur, enlarge, find_cut, luma, regress, to_planes
from undim.enhance.tiling import CROP
from undim.machine import count_cores

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
LEVELS = 4095
"""Steps of the tables that stand for the corrections."""
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

        at_once = threads or count_cores()
        with ThreadPoolExecutor(at_once) as pool:
            coming: deque[tuple[int, Future[Floats]]] = deque()
            for top in range(0, height, BAND):
                coming.append((top, pool.submit(band, top)))
                if len(coming) > at_once:  # one more in memory than are made at once, which is in use meanwhile
                    first, made = coming.popleft()
                    yield first, made.result()
            while coming:
                first, made = coming.popleft()
                yield first, made.result()


def reduced_size(height: int, width: int) -> Span | None:
    """Height and width of the reduced copy; `None` for a picture that is not large enough for one."""
    factor = math.sqrt(height * width / REDUCED_PIXELS)
    if factor < SMALLEST_REDUCTION or min(height, width) < CROP:
        return None
    return int(height / factor), int(width / factor)


def fit_model(
    pixels: Pixels,
    small: Floats,
    texture: Floats,
    enhanced: Floats,
    crops: Sequence[Crop],
    threads: int | None = None,
) -> LocalModel:
    """The local models of a picture.

    Args:
        pixels: H x W x 3 or H x W.
        small: its reduced copy, 3 x h x w.
        texture: the variance within each of its boxes, h x w.
        enhanced: what the network made of the reduced copy, 3 x h x w, told of the whole picture as the crops were.
        crops: parts of the picture that it saw at full size.
        threads: how many colours are in work at once; one per core if None.
    """
    tone, brightness = luma(enhanced).clip(0, 1), luma(small)
    kind = _texture_kind(brightness, texture)
    slopes, offsets = np.empty_like(small), np.empty_like(small)

    def describe(colour: int) -> None:
        mean = blur(small[colour], 1)
        slope, _ = regress(small[colour], enhanced[colour], 1, SLOPE_RIDGE * (mean * mean + np.float32(_BLACK)))
        facts = _Facts(small[colour], enhanced[colour], slope, brightness, tone, kind)
        slopes[colour], offsets[colour] = facts.combine(_fit(pixels, colour, facts, crops))

    with ThreadPoolExecutor(threads or count_cores()) as pool:
        list(pool.map(describe, range(3)))
    return LocalModel(slopes, offsets)


@dataclass(frozen=True)
class _Facts:
    """What the model of one colour is made from, h x w each, of the reduced copy or of a part of it."""

    small: Floats
    enhanced: Floats
    slope: Floats
    """Of the regression of `enhanced` on `small`."""
    brightness: Floats
    tone: Floats
    """Luma of the output, in [0, 1]."""
    kind: Floats
    """How rich in detail, in [0, 1]."""

    def cut(self, place: tuple[slice, slice]) -> _Facts:
        return _Facts(*(getattr(self, field.name)[place] for field in fields(self)))

    def terms(self) -> list[Term]:
        """The model without correction, and what may be added to it, in the order in which `combine` has it."""
        tones, kinds = _hats(self.tone, TONES), _hats(self.kind, TEXTURES)
        terms: list[Term] = [(self.slope, self.enhanced - self.slope * self.small)]
        terms += [(None, self.enhanced * tone) for tone in tones]
        terms += [(None, tone) for tone in tones]
        terms += [(None, self.brightness)]
        factors = (self.slope, np.float32(1))
        terms += [(factor * kind, -factor * kind * self.small) for factor in factors for kind in kinds]
        return terms

    def combine(self, shares: npt.NDArray[np.float64]) -> tuple[Floats, Floats]:
        """Slope and offset of the sum of all terms, each times its share; the first share is one.

        Tables in place of sums over the knots, since this is for the whole of the reduced copy.
        """
        ends = np.cumsum((1, TONES, TONES, 1, TEXTURES))
        _, gains, lifts, (light,), sharper, plain = np.split(shares.astype(np.float32), ends)
        tone, kind = _levels(self.tone), _levels(self.kind)
        slope = self.slope * _look_up(1 + sharper, kind)
        slope += _look_up(plain, kind)
        offset = self.enhanced * _look_up(1 + gains, tone)
        offset += _look_up(lifts, tone)
        offset += light * self.brightness
        offset -= slope * self.small
        return slope, offset


def _texture_kind(brightness: Floats, texture: Floats) -> Floats:
    """From the smooth, 0, over the middling to what is rich in detail, 1: h x w."""
    relative = np.log(blur(texture, 1) / (brightness * brightness + np.float32(_BLACK)) + np.float32(1e-6))
    marks = np.quantile(relative[::2, ::2], (0.1, 0.5, 0.9))
    kind: Floats = np.interp(relative, marks, np.linspace(0, 1, len(marks))).astype(np.float32)
    return kind


def _fit(pixels: Pixels, colour: int, facts: _Facts, crops: Sequence[Crop]) -> npt.NDArray[np.float64]:
    """The share of each term, that of the first being one, with which they come nearest to the crops."""
    count = 2 * TONES + 1 + 2 * TEXTURES
    gram, towards = np.zeros((count, count)), np.zeros(count)
    for crop in crops:
        seen = to_planes(pixels[slice(*crop.rows), slice(*crop.columns)])[colour]
        cut = find_cut(facts.small.shape, pixels.shape[:2], crop.rows, crop.columns)
        values = []
        for slope, offset in facts.cut(cut.place).terms():
            value = cut.enlarge(offset)
            if slope is not None:
                value = value + seen * cut.enlarge(slope)
            values.append(value.ravel())
        design = np.stack(values[1:])
        gram += design @ design.T
        towards += design @ (crop.enhanced[colour].ravel() - values[0])
    ridge = np.diag(FIT_RIDGE * np.diag(gram) + 1e-6 * max(1.0, np.trace(gram)))
    return np.concatenate(([1.0], np.linalg.solve(gram + ridge, towards)))


def _levels(values: Floats) -> npt.NDArray[np.uint16]:
    """[0, 1] to whole numbers up to `LEVELS`."""
    return (values * np.float32(LEVELS) + np.float32(0.5)).astype(np.uint16)


def _look_up(knots: Floats, levels: npt.NDArray[np.uint16]) -> Floats:
    """The linear spline through these values at equal distances, at each of the levels."""
    table = np.interp(np.linspace(0, 1, LEVELS + 1), np.linspace(0, 1, len(knots)), knots).astype(np.float32)
    found: Floats = table.take(levels)
    return found


def _hats(values: Floats, count: int) -> list[Floats]:
    """Linear B-splines over [0, 1], which sum to one: `count` of the shape of the values."""
    return [(1 - np.abs(values * (count - 1) - knot)).clip(0, 1).astype(np.float32) for knot in range(count)]
