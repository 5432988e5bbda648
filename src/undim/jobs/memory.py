"""How many pictures may be in memory at once: as many as fit, decoded, beside the network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from undim.cancellation import NEVER, Cancellation
from undim.errors import PictureError
from undim.machine import free_memory

BYTES_PER_PIXEL = 20
"""Peak of reading and writing one picture, besides the network: the decoder's copy, the picture, its result and the
encoder's copy. Measured at 6 megapixels of three channels, as the growth of the largest resident size: 12 for JPEG, 15
for PNG, 16 for TIFF of 16 bits; some is left for alpha."""
SHARE = 0.5
"""Of the free memory, what all decoded pictures may fill; the network takes from the rest."""


class PictureMemory:
    """Counts what pictures in work take, and lets the next one be decoded when there is room for it.

    One for all threads that decode in this process. A picture that would not fit beside others waits until it is alone.

    Args:
        limit: bytes that pictures in work may take together; None for a share of what is free when the first comes.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._changed = threading.Condition()
        self._limit = limit
        self._held = 0
        self._room = 0.0

    @contextmanager
    def held(self, width: int, height: int, cancellation: Cancellation = NEVER) -> Iterator[None]:
        """Wait until there is room for a picture of so many pixels, and keep it while in the block.

        Raises:
            PictureError: if it needs more memory than is free when nothing else is held (code "out-of-memory"), or
                than the limit (code "worker-memory").
            CancelledError: if the cancellation is asked meanwhile.
        """
        needed = width * height * BYTES_PER_PIXEL
        with cancellation.calling(self._wake), self._changed:
            while self._held and self._held + needed > self._room:
                cancellation.check()
                self._changed.wait(cancellation.left())
            if not self._held:
                self._begin(width, height, needed)
            self._held += needed
        try:
            yield
        finally:
            with self._changed:
                self._held -= needed
                self._changed.notify_all()

    def _begin(self, width: int, height: int, needed: int) -> None:
        """Look at what is free, while nothing is held."""
        free = free_memory()
        if self._limit is not None and needed > self._limit:
            raise PictureError(
                f"is {width} x {height} pixels, which needs about {needed / 1e9:.1f} GB of memory to be read and "
                f"written, and a worker may take {self._limit / 1e9:.1f} GB",
                code="worker-memory",
            )
        if free is not None and needed > free:
            raise PictureError(
                f"is {width} x {height} pixels, which needs about {needed / 1e9:.1f} GB of memory to be read and "
                f"written, and {free / 1e9:.1f} GB are free; make it smaller",
                code="out-of-memory",
            )
        room = float("inf") if free is None else SHARE * free
        self._room = room if self._limit is None else self._limit

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


MEMORY = PictureMemory()
"""Of this process."""
