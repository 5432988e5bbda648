"""What is to be the same in all parts of a picture, or in all pictures of a series."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from undim.arrays import Floats, Pixels, Span
from undim.enhance.convert import to_batch
from undim.enhance.tiling import (
    FEWER_PIXELS,
    SAMPLED_PIXELS,
    Window,
    find_traits,
    inner_cells,
    place_crops,
    shrink,
    spread_windows,
    weigh_crops,
    weigh_regions,
)
from undim.errors import UsageError
from undim.runtimes.base import Runtime, Tiling, WholePicture

ROUNDS = ((0, 0), (1, 1), (0, 1), (1, 0))
"""Which windows go together: remainders of row and column by two."""
WINDOW = 512
"""Largest side of a window in pixels, where all of the picture is seen."""
MANY_PIXELS = 7_000_000
"""From so many pixels on, a part of them does."""
SMALL_WINDOW = 256
"""Largest side of the windows there: many small ones tell more than a few large ones of as many pixels."""
LATTICE, SLANT = 8, 3
"""Of those, which go together: remainders by `LATTICE` of the column and `SLANT` times the row, so that each row and
column has some, and none lies beside another."""


def look_at_whole(
    runtime: Runtime, tiling: Tiling, pixels: Pixels, side: int, sampled: int = SAMPLED_PIXELS
) -> WholePicture:
    """Estimate what tiles are to be told, from a thumbnail and from crops, no more at once than a tile holds.

    Args:
        runtime: of a network that can be tiled.
        tiling: its.
        pixels: H x W x 3 or H x W.
        side: of a tile in pixels.
        sampled: how many pixels the crops have together.
    """
    return _look(runtime, tiling, pixels, _take_sample(tiling, pixels, sampled), side)


def look_and_see(
    runtime: Runtime, tiling: Tiling, pixels: Pixels, side: int, kept: int
) -> tuple[WholePicture, list[tuple[Span, Span]], Floats]:
    """What `look_at_whole` returns of a few pixels, and what the network makes of some of its crops when told that.

    Where a tile holds all crops, one run gives both.

    Args:
        runtime: of a network that can be tiled.
        tiling: its.
        pixels: H x W x 3 or H x W.
        side: of a tile in pixels.
        kept: about how many of the crops to return.

    Returns:
        The look, the places of N crops, and what became of them, N x 3 x h x w, not clamped.
    """
    sample = _take_sample(tiling, pixels, FEWER_PIXELS)
    if sample.batches(side) > 1:
        whole = _look(runtime, tiling, pixels, sample, side)
        return whole, *see(runtime, pixels, whole, kept)
    step = max(1, len(sample.crops) // kept)
    told = (sample.rows, sample.columns, sample.weights, sample.thumbnail)
    enhanced, statistics = runtime.look_and_run(_cut_batch(pixels, sample.crops), *told, more=True)
    return WholePicture(sample.thumbnail, statistics), sample.crops[::step], enhanced[::step].copy()


def see(runtime: Runtime, pixels: Pixels, whole: WholePicture, kept: int) -> tuple[list[tuple[Span, Span]], Floats]:
    """The places of about as many crops, and what the network makes of them when told this of the picture."""
    crops = place_crops(pixels.shape[0], pixels.shape[1], FEWER_PIXELS)
    crops = crops[:: max(1, len(crops) // kept)]
    return crops, runtime.run(_cut_batch(pixels, crops), whole, more=True)


def look_at_all(
    runtime: Runtime, tiling: Tiling, pixels: Pixels, side: int, done: Callable[[float], None] = lambda _: None
) -> WholePicture:
    """Take what tiles are to be told from every pixel once, in windows; of large pictures from every fourth window.

    The statistics of a layer's input depend on what the layers before were told, which at first only crops tell. So a
    part of the windows, spread over the picture, goes with that, and each further part with what those before it have
    found: where all count, the first layer's statistics are exact, and the error of the others shrinks by a factor
    of five or so. Windows that stand for others too count as `weigh_regions` says.

    Args:
        runtime: of a network that can be tiled.
        tiling: its.
        pixels: H x W x 3 or H x W.
        side: of a tile in pixels.
        done: called after each window with the share of them that were seen.
    """
    traits = find_traits(pixels)
    whole = _look(runtime, tiling, pixels, _take_sample(tiling, pixels, FEWER_PIXELS, traits), side)
    turns = _find_windows(pixels, side, tiling.overlap)
    regions: list[tuple[Span, Span]] = []
    seen: list[Floats] = []
    total = sum(map(len, turns))
    for windows in turns:
        for tall, wide in windows:
            batch = to_batch(pixels[slice(*tall.pixels), slice(*wide.pixels)])
            told = (np.ones(1, np.float32), whole.thumbnail, whole.statistics)
            seen.append(runtime.look(batch, tall.cells, wide.cells, *told))
            regions.append((tall.region, wide.region))
            done(len(regions) / total)
        statistics = weigh_regions(traits, regions) @ np.concatenate(seen)
        whole = WholePicture(whole.thumbnail, statistics[None].astype(np.float32))
    return whole


def _find_windows(pixels: Pixels, side: int, overlap: int) -> list[list[tuple[Window, Window]]]:
    """The windows of each round, as rows and columns."""
    height, width = pixels.shape[:2]
    many = height * width >= MANY_PIXELS
    largest = min(side, SMALL_WINDOW if many else WINDOW)
    rows, columns = (spread_windows(length, largest, overlap) for length in (height, width))
    if not many:
        return [list(product(rows[first_row::2], columns[first_column::2])) for first_row, first_column in ROUNDS]
    return [
        [
            (tall, wide)
            for row, tall in enumerate(rows)
            for column, wide in enumerate(columns)
            if (SLANT * row + column) % LATTICE == remainder
        ]
        for remainder in (0, LATTICE // 2)
    ]


@dataclass(frozen=True)
class _Sample:
    """Crops that stand for a picture, and what the network is told with them."""

    thumbnail: Floats
    crops: list[tuple[Span, Span]]
    weights: Floats
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]

    def batches(self, side: int) -> int:
        """In how many runs they go through the network if one has no more pixels than a tile of that side."""
        (top, bottom), (left, right) = self.crops[0]
        return math.ceil(len(self.crops) * (bottom - top) * (right - left) / side**2)


def _take_sample(
    tiling: Tiling, pixels: Pixels, sampled: int, traits: npt.NDArray[np.float64] | None = None
) -> _Sample:
    height, width = pixels.shape[:2]
    crops = place_crops(height, width, sampled)
    thumbnail, weights = shrink(pixels, tiling.thumbnail), weigh_crops(pixels, crops, traits)
    return _Sample(thumbnail, crops, weights, inner_cells(height), inner_cells(width))


def _look(runtime: Runtime, tiling: Tiling, pixels: Pixels, sample: _Sample, side: int) -> WholePicture:
    batches = sample.batches(side)
    total = np.zeros((1, tiling.statistics), np.float32)
    for start in range(batches):  # each from all over the picture
        share = sample.weights[start::batches].sum()
        if share > 0:
            batch = _cut_batch(pixels, sample.crops[start::batches])
            weighed = sample.weights[start::batches] / share
            total += share * runtime.look(batch, sample.rows, sample.columns, weighed, sample.thumbnail)
    return WholePicture(sample.thumbnail, total)


def _cut_batch(pixels: Pixels, crops: Sequence[tuple[Span, Span]]) -> Floats:
    return np.concatenate([to_batch(pixels[slice(*rows), slice(*columns)]) for rows, columns in crops])


def average(looks: Sequence[WholePicture]) -> WholePicture:
    """What a series of pictures has in common: the mean of what each would be told.

    Raises:
        UsageError: for none.
    """
    if not looks:
        raise UsageError("a series has no picture to take its look from.")
    return WholePicture(
        np.mean([look.thumbnail for look in looks], axis=0, dtype=np.float32),
        np.mean([look.statistics for look in looks], axis=0, dtype=np.float32),
    )
