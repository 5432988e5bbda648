"""What is to be the same in all parts of a picture, or in all pictures of a series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from undim.enhance.convert import to_batch
from undim.enhance.runtime import Runtime, Tiling, WholePicture
from undim.enhance.tiling import (
    FEWER_PIXELS,
    SAMPLED_PIXELS,
    Floats,
    Span,
    find_traits,
    inner_cells,
    place_crops,
    shrink,
    spread_windows,
    weigh_crops,
    weigh_regions,
)
from undim.errors import UsageError
from undim.images.picture import Pixels

ROUNDS = ((0, 0), (1, 1), (0, 1), (1, 0))
"""Which windows go together: remainders of row and column by two."""
WINDOW = 512
"""Largest side of a window in pixels."""
MANY_WINDOWS = 32
"""From so many windows on, two rounds do, which are every second window as on a chessboard."""


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
    height, width = pixels.shape[:2]
    thumbnail = shrink(pixels, tiling.thumbnail)
    crops = place_crops(height, width, sampled)
    weights = weigh_crops(pixels, crops)
    rows, columns = inner_cells(height), inner_cells(width)
    (top, bottom), (left, right) = crops[0]
    batches = math.ceil(len(crops) * (bottom - top) * (right - left) / side**2)
    total = np.zeros((1, tiling.statistics), np.float32)
    for start in range(batches):  # each from all over the picture
        share = weights[start::batches].sum()
        if share > 0:
            parts = [to_batch(pixels[slice(*tall), slice(*wide)]) for tall, wide in crops[start::batches]]
            weighed = weights[start::batches] / share
            total += share * runtime.look(np.concatenate(parts), rows, columns, weighed, thumbnail)
    return WholePicture(thumbnail, total)


def look_at_all(runtime: Runtime, tiling: Tiling, pixels: Pixels, side: int) -> WholePicture:
    """Take what tiles are to be told from every pixel once, in windows; of large pictures from every second window.

    The statistics of a layer's input depend on what the layers before were told, which at first only crops tell. So a
    quarter of the windows, spread over the picture, goes with that, and each further quarter with what those before it
    have found: where all count, the first layer's statistics are exact, and the error of the others shrinks by a factor
    of five or so. Windows that stand for others too count as `weigh_regions` says.
    """
    whole = look_at_whole(runtime, tiling, pixels, side, FEWER_PIXELS)
    rows, columns = (spread_windows(length, min(side, WINDOW), tiling.overlap) for length in pixels.shape[:2])
    traits = find_traits(pixels)
    regions: list[tuple[Span, Span]] = []
    seen: list[Floats] = []
    for first_row, first_column in ROUNDS[:2] if len(rows) * len(columns) >= MANY_WINDOWS else ROUNDS:
        for tall, wide in product(rows[first_row::2], columns[first_column::2]):
            batch = to_batch(pixels[slice(*tall.pixels), slice(*wide.pixels)])
            told = (np.ones(1, np.float32), whole.thumbnail, whole.statistics)
            seen.append(runtime.look(batch, tall.cells, wide.cells, *told))
            regions.append((tall.region, wide.region))
        if regions:
            statistics = weigh_regions(traits, regions) @ np.concatenate(seen)
            whole = WholePicture(whole.thumbnail, statistics[None].astype(np.float32))
    return whole


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
