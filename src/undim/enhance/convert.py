"""From integers to what a network takes, from what it gives to integers, and mixtures of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from undim.arrays import Pixels
from undim.contract import MINIMUM_SIDE
from undim.enhance.exposure import expose, expose_pixels
from undim.errors import PictureError
from undim.images.picture import full_scale
from undim.luma import REC601


def to_batch(pixels: Pixels) -> npt.NDArray[np.float32]:
    """H x W x 3 or H x W uint8 or uint16 to 1 x 3 x H' x W' float32 in [0, 1].

    Grey fills all three channels. H' and W' are at least `MINIMUM_SIDE`: what is missing at the bottom and the right
    repeats the last row and column.
    """
    height, width = pixels.shape[:2]
    tall, wide = max(height, MINIMUM_SIDE), max(width, MINIMUM_SIDE)
    batch = np.empty((1, 3, tall, wide), np.float32)
    planes = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # (3, H, W); grey broadcasts over the channels
    np.divide(planes, np.float32(full_scale(pixels)), out=batch[0, :, :height, :width])
    batch[0, :, height:, :width] = batch[0, :, height - 1 : height, :width]
    batch[0, :, :, width:] = batch[0, :, :, width - 1 : width]
    return batch


def to_pixels(output: npt.NDArray[np.float32], kind: np.dtype[Any], *, grey: bool) -> Pixels:
    """3 x H x W float32 to H x W x 3 uint8 or uint16: clipped to [0, 1], times 255 or 65535, rounded.

    Grey: H x W of Rec. 601 luma. Works in the array it is given.

    Raises:
        PictureError: if a value is not finite.
    """
    if not np.isfinite(output).all():
        raise PictureError("could not be enhanced: the network returned values that are not finite")
    np.clip(output, 0, 1, out=output)
    output *= np.float32(np.iinfo(kind).max)
    if grey:
        luma: Pixels = np.rint(np.tensordot(np.asarray(REC601, np.float32), output, axes=1)).astype(kind)
        return luma
    np.rint(output, out=output)
    pixels: Pixels = np.empty((*output.shape[1:], 3), kind)
    for channel in range(3):  # twice as fast as turning the whole array
        pixels[..., channel] = output[channel]
    return pixels


def blend(image: Pixels, enhanced: Pixels, strength: float, exposure: float = 0.0) -> Pixels:
    """(1 - strength) * image + strength * enhanced, then the exposure curve, rounded once, halves to even.

    Args:
        image: H x W x 3 or H x W.
        enhanced: of the same shape and type.
        strength: in [0, 1].
        exposure: EV of `undim.enhance.exposure`; 0 changes nothing.
    """
    if strength == 1:
        return expose_pixels(enhanced, exposure) if exposure else enhanced
    if image.dtype == np.uint16:
        mixed = (1 - strength) * image.astype(np.float64)
        mixed += strength * enhanced
        return _settle(mixed, image.dtype, exposure)
    values = np.arange(256, dtype=np.float64)
    table = _settle((1 - strength) * values[:, None] + strength * values[None, :], image.dtype, exposure)
    result: Pixels = table[image, enhanced]
    return result


def _settle(mixed: npt.NDArray[Any], kind: np.dtype[Any], exposure: float) -> Pixels:
    """Floats up to 255 or 65535, exposed and rounded. Works in the array it is given."""
    if exposure:
        mixed = expose(mixed, exposure, np.iinfo(kind).max)
    settled: Pixels = np.rint(mixed, out=mixed).astype(kind)
    return settled
