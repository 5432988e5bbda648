"""Training crops: pictures decoded once, crops and flips drawn by step number alone, so a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from undim.data.sets import Pair
from undim.errors import DataError, PictureError
from undim.images import read_picture
from undim.nets.thumbnail import make_thumbnail

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Batch:
    """Crops of pictures with the thumbnails of the whole pictures."""

    low: Tensor
    """N x 3 x S x S, float32 in [0, 1]."""
    high: Tensor
    """N x 3 x S x S, float32 in [0, 1]."""
    context: Tensor
    """N x 3 x 64 x 96, float32 in [0, 1], of the dark pictures."""


def read_rgb(path: Path) -> Pixels:
    """Decode a picture to H x W x 3, 8 bit; grey fills all three channels, alpha is left out.

    Raises:
        DataError: naming the file and the reason, if it cannot be read.
    """
    try:
        pixels = read_picture(path).pixels
    except PictureError as error:
        raise DataError(f"{path} {error}.") from error
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


class PairCrops:
    """Pairs held decoded in memory (about 1.4 MB a pair of 600x400), and random crops of them.

    What a step draws depends on the seed and the step's number only.

    Args:
        pairs: the pairs.
        seed: of all draws.
        identity: probability that a sample is the reference itself as input and as target, so that the network learns
            to leave well-lit pictures alone.

    Raises:
        DataError: if there is no pair, or the two pictures of one differ in size.
    """

    def __init__(self, pairs: Sequence[Pair], *, seed: int = 0, identity: float = 0.0) -> None:
        if not pairs:
            raise DataError("There is no picture to train on.")
        self.seed = seed
        self.identity = identity
        with ThreadPoolExecutor() as pool:
            self.lows = list(pool.map(read_rgb, [pair.low for pair in pairs]))
            self.highs = list(pool.map(read_rgb, [pair.high for pair in pairs]))
        for pair, low, high in zip(pairs, self.lows, self.highs, strict=True):
            if low.shape != high.shape:
                raise DataError(f"{pair.low} and {pair.high} differ in size: {low.shape[:2]} and {high.shape[:2]}.")
        self._thumbnails: dict[tuple[int, bool, bool], Tensor] = {}

    def __len__(self) -> int:
        return len(self.lows)

    def batch(self, step: int, size: int, crop: int) -> Batch:
        """The crops of one step.

        Args:
            step: the step's number, from 0.
            size: N, of the whole batch.
            crop: S in pixels.

        Raises:
            DataError: if a picture is smaller than the crop.
        """
        rng = np.random.default_rng((self.seed, step))
        samples = [self._sample(index, crop, rng) for index in self._indices(step, size)]
        lows, highs, contexts = zip(*samples, strict=True)
        return Batch(_to_tensor(lows), _to_tensor(highs), torch.stack(contexts))

    def _indices(self, step: int, size: int) -> list[int]:
        """Indices of one step when every picture is drawn once an epoch, in an order of the epoch's own."""
        count = len(self)
        places = [divmod(place, count) for place in range(step * size, (step + 1) * size)]
        orders = {epoch: np.random.default_rng((self.seed, epoch, 1)).permutation(count) for epoch, _ in places}
        return [int(orders[epoch][offset]) for epoch, offset in places]

    def _sample(self, index: int, crop: int, rng: np.random.Generator) -> tuple[Pixels, Pixels, Tensor]:
        keep = rng.random() < self.identity
        high = self.highs[index]
        low = high if keep else self.lows[index]
        height, width = high.shape[:2]
        if min(height, width) < crop:
            raise DataError(f"Crops of {crop} need larger pictures than {width} x {height}.")
        top, left = int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))
        turned, upside_down, mirrored = rng.random() < 0.25, rng.random() < 0.5, rng.random() < 0.5
        window = (slice(top, top + crop), slice(left, left + crop))
        low, high = low[window], high[window]
        context = self._thumbnail(index, keep, bool(turned))
        if turned:
            low, high = low.swapaxes(0, 1), high.swapaxes(0, 1)
        if upside_down:
            low, high, context = low[::-1], high[::-1], context.flip(1)
        if mirrored:
            low, high, context = low[:, ::-1], high[:, ::-1], context.flip(2)
        return low, high, context

    def _thumbnail(self, index: int, well_lit: bool, turned: bool) -> Tensor:
        key = (index, well_lit, turned)
        if key not in self._thumbnails:
            pixels = (self.highs if well_lit else self.lows)[index]
            image = _to_tensor([pixels.swapaxes(0, 1) if turned else pixels])
            self._thumbnails[key] = make_thumbnail(image)[0]
        return self._thumbnails[key]


def _to_tensor(pictures: Sequence[Pixels]) -> Tensor:
    stacked = torch.from_numpy(np.stack(pictures))
    return stacked.permute(0, 3, 1, 2).to(torch.float32).div_(255)  # channels-last in memory
