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

_MEMINFO = Path("/proc/meminfo")


def check_memory(width: int, height: int) -> None:
    """Raise PictureError if a run on that many pixels needs more memory than is free.

    The system would end the whole process instead, and with it every other picture. Where the free memory cannot be
    told, as on Windows and macOS, nothing is checked; a limit on a container is not seen either.
    """
    free, needed = free_memory(), width * height * BYTES_PER_PIXEL
    if free is not None and needed > free:
        raise PictureError(
            f"is {width} x {height} pixels, which needs about {needed / 1e9:.1f} GB of memory, "
            f"and {free / 1e9:.1f} GB are free; make it smaller"
        )


def free_memory() -> int | None:
    """Bytes that can be allocated without swapping; None if the system does not tell."""
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
