"""What an enhancer is given: arrays, PIL images and numbers, checked and brought to one form."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from undim.arrays import Pixels
from undim.errors import PictureError, ShapeError, UsageError
from undim.images.picture import split_alpha, to_8_bit


def decode(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    """`split_alpha` of an image that Pillow may not have decoded yet; every failure is a PictureError.

    16-bit grey with a transparent colour becomes 8-bit grey with alpha: Pillow has no mode for more.
    """
    try:
        pixels, alpha = split_alpha(image)
        return (pixels, None) if alpha is None else (to_8_bit(pixels), to_8_bit(alpha))
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError("does not fit in memory", code="out-of-memory") from error
    except Exception as error:  # on damaged files Pillow's codecs raise almost every built-in exception
        raise PictureError(f"cannot be decoded: {str(error).strip() or type(error).__name__}") from error


def turn_upright(image: Image.Image) -> Image.Image:
    """The image as viewers show it: its EXIF orientation applied, and no longer told in its `info`.

    Raises:
        ShapeError: if it has no pixels.
        PictureError: if it cannot be decoded.
    """
    if 0 in image.size:
        raise ShapeError(f"Got an image of {image.width} x {image.height} pixels; give one that has some.")
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError as error:
        raise PictureError("does not fit in memory", code="out-of-memory") from error
    except Exception as error:  # as above
        raise PictureError(f"cannot be decoded: {str(error).strip() or type(error).__name__}") from error


def take_pixels(pixels: npt.ArrayLike) -> Pixels:
    """The array in the machine's own byte order, not copied where it has that.

    Raises:
        ShapeError: unless it is uint8 or uint16, H x W or H x W x 3, and not empty.
    """
    allowed = "a uint8 or uint16 array H x W x 3 (RGB) or H x W (grey), or a PIL image"
    if not isinstance(pixels, np.ndarray):
        raise ShapeError(f"Got {type(pixels).__name__}; give {allowed}.")
    if pixels.dtype.kind != "u" or pixels.dtype.itemsize > 2:
        raise ShapeError(f"Got an array of {pixels.dtype}; give {allowed}, with values from 0 to 255 or to 65535.")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or pixels.size == 0:
        alpha = " Pass image[..., :3] and put the alpha channel back." if pixels.shape[2:] == (4,) else ""
        raise ShapeError(f"Got an array of shape {pixels.shape}; give {allowed}.{alpha}")
    if isinstance(pixels, np.ma.MaskedArray) and np.ma.is_masked(pixels):
        raise ShapeError(f"Got an array with masked values; fill them, and give {allowed}.")
    plain: Pixels = np.asarray(pixels, pixels.dtype.newbyteorder("="))
    return plain


def check_strength(strength: float | Real) -> float:
    """How far to go from the input (0) to the network's output (1), as a plain number.

    Raises:
        UsageError: unless it is a number in [0, 1].
    """
    if isinstance(strength, Real) and 0 <= float(strength) <= 1:
        return float(strength)
    raise UsageError(
        f"strength is {strength}; allowed: 0 (the input) to 1 (fully enhanced).",
        code="option",
        subject="strength",
    )


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number, NumPy's included."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_count(name: str, count: int | None, least: int, most: int | None = None) -> int | None:
    """A count that may be left out, as a plain number.

    Raises:
        UsageError: unless it is None or a whole number from `least` to `most`.
    """
    if count is None:
        return None
    if is_whole(count) and count >= least and (most is None or count <= most):
        return int(count)
    allowed = f"whole numbers from {least} {'on' if most is None else f'to {most}'}, or None"
    raise UsageError(f"{name} is {count}; allowed: {allowed}.", code="option", subject=name)
