"""How much memory a picture needs on its way through the network, and what fits."""

from __future__ import annotations

from undim.errors import PictureError
from undim.machine import free_memory

BYTES_PER_PIXEL = 425
"""Peak of one run of the shipped architecture, float32 input and output included.

Measured as the growth of the largest resident size over one run on Linux: 399 bytes at 1.5, 397 at 3, 421 at 6, 416 at
12 and 384 at 18 megapixels; the number of threads does not change it.
"""

TILE_SIDES = (1024, 768, 512, 384, 256)
"""Sides in pixels that are tried, the largest first. Above 1024 little time is saved: overlaps cost 13 % there."""
WHOLE_PIXELS = 1_500_000
"""Pictures up to this size are not tiled while memory allows it."""
SPARED = 0.5
"""Share of the free memory that is left to the pictures themselves and to others."""


def choose_side(width: int, height: int) -> int:
    """The tile side for a picture that can be tiled, 0 for whole, as memory allows.

    The smallest side is returned even where it does not fit: `check_memory` then says so.
    """
    free = free_memory()
    room = float("inf") if free is None else free * (1 - SPARED)
    if width * height <= WHOLE_PIXELS and width * height * BYTES_PER_PIXEL <= room:
        return 0
    return next((side for side in TILE_SIDES if side**2 * BYTES_PER_PIXEL <= room), TILE_SIDES[-1])


def smaller_side(width: int, height: int, side: int) -> int | None:
    """The next tile side to try after memory ran out, 0 being the whole picture; `None` if there is none."""
    taken = side**2 if side else width * height
    return next((smaller for smaller in TILE_SIDES if smaller**2 < taken), None)


def check_memory(width: int, height: int, side: int = 0) -> None:
    """Raise PictureError if a run on that many pixels, or on tiles of that side, needs more memory than is free.

    The system would end the whole process instead, and with it every other picture. Where the free memory cannot be
    told, as on Windows and macOS, nothing is checked.
    """
    free, needed = free_memory(), (min(width * height, side**2) if side else width * height) * BYTES_PER_PIXEL
    if free is not None and needed > free:
        tiles = f" even in tiles of {side}" if side else ""
        raise PictureError(
            f"is {width} x {height} pixels, which needs about {needed / 1e9:.1f} GB of memory{tiles}, "
            f"and {free / 1e9:.1f} GB are free; make it smaller"
        )
