"""Where the tiles of a picture lie, how they are joined, and which crops stand for the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from undim.arrays import Floats, Pixels, Span
from undim.contract import CELL
from undim.errors import UsageError
from undim.images.picture import full_scale

Tile = Literal["auto"] | int
"""Side of the tiles in pixels, 0 for whole pictures always, or "auto"."""
SMALLEST_TILE = 256
"""Side in pixels under which tiles would consist of their overlap."""

CROP = 128
"""Side in pixels of the crops that stand for the whole picture."""
MARGIN = 24
"""Pixels along a crop's edges that do not count: there the network sees that it was cut."""
SAMPLED_PIXELS = 1_500_000
"""Pixels that all crops have together, as far as the picture has them."""
FEWER_PIXELS = 750_000
"""Likewise, for a first estimate, and with `fast`: twice as many bring it no nearer to the full run."""
CALIBRATION_RIDGE = 0.1
"""How strongly equal weights of the crops are preferred to weights that reproduce the picture's means exactly."""
_ROWS_AT_ONCE = 256


def check_tile(tile: Tile) -> None:
    """Raise UsageError unless tile is "auto", 0 or a side of at least `SMALLEST_TILE`."""
    whole_number = isinstance(tile, int) and not isinstance(tile, bool)
    if tile != "auto" and not (whole_number and (tile == 0 or tile >= SMALLEST_TILE)):
        raise UsageError(f"tile is {tile}; allowed: auto, 0 (never cut a picture), or a side from {SMALLEST_TILE} on.")


def spread_tiles(length: int, side: int, overlap: int) -> list[Span]:
    """Cover `length` pixels by the fewest equal tiles of at most `side` that share at least `overlap` pixels.

    Tiles begin at multiples of `CELL`; all have one size, but that the last one ends with the picture, which takes less
    than a `CELL` off it: runtimes like to see shapes again. `side` is more than twice `overlap`, and a multiple of
    `CELL` as `overlap` is.
    """
    if length <= side:
        return [(0, length)]
    count = math.ceil((length - overlap) / (side - overlap))
    step = _up((length - overlap) / count)
    size, gaps = step + overlap, math.ceil((length - overlap) / step) - 1
    starts = [gap * (_up(length - size) // CELL) // gaps * CELL for gap in range(gaps + 1)]
    return [(start, min(start + size, length)) for start in starts]


@dataclass(frozen=True)
class Window:
    """A part of an axis that the network sees, and what of it is counted."""

    pixels: Span
    cells: npt.NDArray[np.int64]
    """Counted from the first of the pixels."""

    @property
    def region(self) -> Span:
        """The cells that count, as a part of the axis."""
        first = self.pixels[0] // CELL
        return first + int(self.cells[0]), first + int(self.cells[-1]) + 1


def spread_windows(length: int, side: int, overlap: int) -> list[Window]:
    """Count each whole cell of `length` pixels once, in windows of at most `side` with half of `overlap` around them.

    All windows have one size and one number of cells, but for the last: runtimes like to see shapes again.
    """
    cells = max(1, length // CELL)  # one that the edge cuts is left out: not all layers extend their features to it
    if length <= side:
        return [Window((0, length), np.arange(cells))]
    margin = overlap // 2
    count = math.ceil(cells / ((side - 2 * margin) // CELL))
    each = math.ceil(cells / count)
    size = each * CELL + 2 * margin
    windows = []
    for first in range(0, cells, each):
        start = min(max(0, first * CELL - margin), _up(max(0, length - size)))
        counted = np.arange(first, min(first + each, cells)) - start // CELL
        windows.append(Window((start, min(start + size, length)), counted))
    return windows


def ramp(length: int) -> Floats:
    """Weights of the later of two tiles over the pixels that they share; the earlier one has what is missing to one.

    The outer quarters belong to one tile alone: next to its edge a tile is least like the whole.
    """
    steps = (np.arange(length, dtype=np.float32) + 0.5) / length
    weights: Floats = (2 * steps - 0.5).clip(0, 1)
    return weights


def join_tiles(
    rows: Sequence[Span], columns: Sequence[Span], make: Callable[[Span, Span], Floats]
) -> Iterator[tuple[int, int, Floats]]:
    """Make the tiles one by one and yield the pieces of the blended picture as they become final.

    Args:
        rows: of `spread_tiles`.
        columns: likewise.
        make: gives the 3 x height x width of the tile that covers these rows and columns, which is then changed.

    Yields:
        Top row, left column and the values, 3 x h x w, of a piece; together they cover every pixel once.
    """
    above = np.zeros((3, 0, columns[-1][1]), np.float32)  # what the row of tiles before has of the rows shared with it
    for row, (top, bottom) in enumerate(rows):
        shared_below = bottom - rows[row + 1][0] if row + 1 < len(rows) else 0
        below = np.empty((3, shared_below, columns[-1][1]), np.float32)
        weights = ramp(above.shape[1])[:, None]
        beside = np.zeros((3, bottom - top, 0), np.float32)
        for column, (left, right) in enumerate(columns):
            tile = make((top, bottom), (left, right))
            _fade_in(tile[:, :, : beside.shape[2]], beside, ramp(beside.shape[2]))
            stop = columns[column + 1][0] if column + 1 < len(columns) else right
            beside = tile[:, :, stop - left :].copy()
            piece = tile[:, :, : stop - left]
            _fade_in(piece[:, : above.shape[1]], above[:, :, left:stop], weights)
            final = bottom - top - shared_below
            below[:, :, left:stop] = piece[:, final:]
            yield top, left, piece[:, :final]
        above = below


def place_crops(height: int, width: int, sampled: int = SAMPLED_PIXELS) -> list[tuple[Span, Span]]:
    """Crops that stand for the whole picture: one at a random place of each cell of a grid, the same every time.

    A regular grid could fall in with a pattern of the picture. `sampled` is how many pixels they have together.
    """
    tall, wide = crop_side(height), crop_side(width)
    wanted = min(sampled, height * width) / (tall * wide)
    down = max(1, min(round(math.sqrt(wanted * height * wide / (width * tall))), math.ceil(height / tall)))
    across = max(1, min(round(wanted / down), math.ceil(width / wide)))
    numbers = np.random.default_rng(0)
    return [
        (
            _within(row / down, (row + 1) / down, height, tall, numbers),
            _within(c / across, (c + 1) / across, width, wide, numbers),
        )
        for row in range(down)
        for c in range(across)
    ]


def crop_side(length: int) -> int:
    """Side of the crops along an axis of so many pixels, at least `CELL`."""
    return max(CELL, min(CROP, length // CELL * CELL))


def inner_cells(length: int) -> npt.NDArray[np.int64]:
    """Which cells count in a crop along an axis of so many pixels; where nothing was cut off, all do."""
    cells = np.arange(crop_side(length) // CELL)
    return cells[MARGIN // CELL : -MARGIN // CELL] if length >= CROP else cells


def weigh_crops(
    pixels: Pixels, crops: Sequence[tuple[Span, Span]], traits: npt.NDArray[np.float64] | None = None
) -> Floats:
    """How much each crop counts: `weigh_regions` of its inner cells; `traits` are the picture's, if known already."""
    height, width = pixels.shape[:2]
    rows, columns = inner_cells(height), inner_cells(width)
    regions = [
        (
            (top // CELL + int(rows[0]), top // CELL + int(rows[-1]) + 1),
            (left // CELL + int(columns[0]), left // CELL + int(columns[-1]) + 1),
        )
        for (top, _), (left, _) in crops
    ]
    return weigh_regions(find_traits(pixels) if traits is None else traits, regions)


def weigh_regions(traits: npt.NDArray[np.float64], regions: Sequence[tuple[Span, Span]]) -> Floats:
    """How much each part of a picture counts, N weights that sum to one, so that together they are like the whole.

    Survey calibration: of all weights near the parts' sizes, those that bring their means of the traits to the
    picture's (Deville and Saerndal 1992, by ridge regression, negative weights cut off). Parts that make up the whole
    count by their sizes.

    Args:
        traits: of the picture, see `find_traits`.
        regions: rows and columns of cells.
    """
    seen = np.stack([traits[:, slice(*rows), slice(*columns)].mean((1, 2)) for rows, columns in regions])
    sizes = np.array([(rows[1] - rows[0]) * (columns[1] - columns[0]) for rows, columns in regions], np.float64)
    sizes /= sizes.sum()
    spread = seen.std(0) + 1e-9
    off = (seen - traits.mean((1, 2))) / spread
    off[:, np.abs(sizes @ off) > 1] = 0  # no weights reach it, such as the contrast of an edge that no part has
    design = np.concatenate((off, np.ones((len(regions), 1))), 1)
    wanted = np.append(np.zeros(off.shape[1]), 1.0)
    weighed = sizes[:, None] * design
    kernel = design.T @ weighed + CALIBRATION_RIDGE * np.eye(len(wanted))
    weights = (sizes + weighed @ np.linalg.solve(kernel, wanted - design.T @ sizes)).clip(0)
    result: Floats = (weights / weights.sum()).astype(np.float32)
    return result


def find_traits(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Colours, their squares and products, and the contrast to neighbours, of each cell of 8 pixels."""
    return _traits(_cell_means(pixels))


def shrink(pixels: Pixels, size: Span) -> Floats:
    """Box-average H x W x 3 or H x W uint8 or uint16 to 1 x 3 x size float32 in [0, 1], as `undim.nets.thumbnail` does.

    Rows first, as whole numbers: that is once through the picture, which never stands in memory as floats.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    lines = pixels.reshape(height, width * channels)
    step, shares = height / size[0], _box(height, size[0])
    kind = np.uint32 if math.ceil(step + 1) * full_scale(pixels) < 2**32 else np.uint64
    means = np.empty((size[0], width * channels), np.float32)
    for row, share in enumerate(shares):
        first, last = int(row * step), min(math.ceil((row + 1) * step), height)
        most = share.max()  # of all lines but the two at the ends
        mean = np.add.reduce(lines[first:last], axis=0, dtype=kind) * most
        for end in (first, last - 1):
            if share[end] != most:
                mean += (share[end] - most) * lines[end]
        means[row] = mean
    lying = means.reshape(size[0], width, channels).transpose(2, 0, 1).reshape(-1, width)  # for one product, not many
    boxes = lying @ _box(width, size[1]).T / np.float32(full_scale(pixels))
    return np.ascontiguousarray(np.broadcast_to(boxes.reshape(channels, *size), (3, *size))[None])


def _cell_means(pixels: Pixels) -> Floats:
    """Means over cells of 8 x 8 pixels, 3 x H / 8 x W / 8 in [0, 1]; a rest at the edges is left out."""
    high, wide = (max(1, length // CELL) for length in pixels.shape[:2])
    tall, broad = min(CELL, pixels.shape[0]), min(CELL, pixels.shape[1])
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    means = np.empty((3, high, wide), np.float32)
    scale = np.float32(1 / (tall * broad * full_scale(pixels)))
    at_once = max(1, _ROWS_AT_ONCE // CELL)
    for row in range(0, high, at_once):
        count = min(at_once, high - row)
        band = planes[row * CELL : row * CELL + count * tall, : wide * broad].reshape(count, tall, -1)
        # Whole numbers, rows first: the sums are exact, and run along the memory.
        columns = np.add.reduce(band, axis=1, dtype=np.uint32).reshape(count, wide, broad, -1)
        means[:, row : row + count] = columns.sum(2, dtype=np.uint32).transpose(2, 0, 1) * scale
    return means


def _traits(means: Floats) -> npt.NDArray[np.float64]:
    """What of each cell is compared, F x H / 8 x W / 8."""
    roots = np.sqrt(means)
    light = roots.mean(0)
    steps = [np.abs(np.diff(light, axis=axis, append=light[-1:] if axis == 0 else light[:, -1:])) for axis in (0, 1)]
    products = roots[[0, 0, 1]] * roots[[1, 2, 2]]
    parts = (means, roots, means**2, products, np.stack([*steps, *(step**2 for step in steps)]))
    return np.concatenate(parts).astype(np.float64)


def _within(start: float, stop: float, length: int, side: int, numbers: np.random.Generator) -> Span:
    """A place for a crop whose centre lies at random in a part of an axis."""
    centre = numbers.uniform(start, stop) * length
    first = int(max(min(centre - side / 2, length - side), 0)) // CELL * CELL
    return first, first + side


def _fade_in(tile: Floats, before: Floats, weights: Floats) -> None:
    tile -= before
    tile *= weights
    tile += before


def _box(length: int, cells: int) -> Floats:
    """See `undim.nets.thumbnail.area_matrix`."""
    step = length / cells
    starts = np.arange(cells)[:, None] * step
    samples = np.arange(length)[None]
    overlap = np.minimum(starts + step, samples + 1) - np.maximum(starts, samples)
    shares: Floats = (overlap.clip(0) / step).astype(np.float32)
    return shares


def _up(length: float) -> int:
    return math.ceil(length / CELL) * CELL
