"""How much memory a picture needs on its way through the network, and how much the machine has."""

from __future__ import annotations

import os
from pathlib import Path

from undim.errors import PictureError

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

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


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


def free_memory() -> int | None:
    """Bytes that can be had without swapping, in this container if it is one; None if the system does not tell."""
    known = [free for free in (_machine_memory(), _container_memory()) if free is not None]
    return min(known, default=None)


def _machine_memory() -> int | None:
    try:
        lines = _MEMINFO.read_bytes().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(b"MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        pass
    try:
        # Without the file cache, which could be given up: the safe side.
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _container_memory() -> int | None:
    """What the second version of Linux's control groups leaves, the file cache that can be given up included."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())  # the word "max" where there is no limit
        used = int((_CGROUP / "memory.current").read_text())
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
        cache = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
    except (OSError, ValueError, IndexError):
        return None
    return max(0, limit - used + cache)
