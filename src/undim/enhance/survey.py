"""What is to be the same in all parts of a picture, or in all pictures of a series."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from undim.enhance.convert import to_batch
from undim.enhance.runtime import Runtime, Tiling, WholePicture
from undim.enhance.tiling import inner_cells, place_crops, shrink, spread_windows, weigh_crops
from undim.errors import UsageError
from undim.images.picture import Pixels


def look_at_whole(runtime: Runtime, tiling: Tiling, pixels: Pixels, side: int) -> WholePicture:
    """Take what tiles are to be told, from a thumbnail and from crops, no more of them at once than a tile holds."""
    height, width = pixels.shape[:2]
    thumbnail = shrink(pixels, tiling.thumbnail)
    crops = place_crops(height, width)
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
    """Take what tiles are to be told from every pixel once, in windows of at most `side`.

    The statistics of a layer's input depend on what the layers before were told, which at first only the crops of
    `look_at_whole` tell. So half of the windows go with that, like the black squares of a chessboard, and the others
    with what the first half has found: the first layer's statistics are exact, and the error of the others shrinks by
    a factor of some four. It costs about what the network costs without its last layers.
    """
    whole = look_at_whole(runtime, tiling, pixels, side)
    rows, columns = (spread_windows(length, side, tiling.overlap) for length in pixels.shape[:2])
    total, cells = np.zeros((1, tiling.statistics)), 0
    for colour in (0, 1):
        for down, tall in enumerate(rows):
            for wide in columns[(down + colour) % 2 :: 2]:
                batch = to_batch(pixels[slice(*tall.pixels), slice(*wide.pixels)])
                told = (np.ones(1, np.float32), whole.thumbnail, whole.statistics)
                counted = len(tall.cells) * len(wide.cells)
                total += counted * runtime.look(batch, tall.cells, wide.cells, *told)
                cells += counted
        whole = WholePicture(whole.thumbnail, (total / cells).astype(np.float32))
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
