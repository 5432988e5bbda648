"""Decoded pictures within a memory budget: in memory as far as it reaches, beyond it in a file mapped into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from undim.arrays import Bytes


class PixelStore(Sequence[Bytes]):
    """Pictures, decoded once.

    Args:
        loaders: one function a picture.
        budget: bytes to hold in memory; later pictures go to a nameless file in the folder for temporary files, which
            vanishes with the process.
    """

    def __init__(self, loaders: Sequence[Callable[[], Bytes]], budget: float) -> None:
        self._pictures: list[Bytes] = []
        self._file = None
        held, end = 0, 0
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(loaders), 64):  # decoded pictures wait in line 64 at a time
                for pixels in pool.map(lambda load: load(), loaders[start : start + 64]):
                    if held + pixels.nbytes <= budget:
                        held += pixels.nbytes
                        self._pictures.append(pixels)
                        continue
                    if self._file is None:
                        self._file = tempfile.TemporaryFile(prefix="undim-")  # noqa: SIM115 - as long as the store
                    self._file.write(np.ascontiguousarray(pixels).data)
                    self._file.flush()
                    self._pictures.append(np.memmap(self._file, np.uint8, "r", end, pixels.shape))
                    end += pixels.nbytes
        self.held, self.mapped = held, end
        """Bytes in memory and in the file."""

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Bytes:  # type: ignore[override]  # no slices are taken
        return self._pictures[index]
