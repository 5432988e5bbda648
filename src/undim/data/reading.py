"""A data set's picture as training and measuring want it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from undim.arrays import Bytes
from undim.errors import DataError, PictureError
from undim.images import read_picture
from undim.images.picture import to_8_bit


def read_rgb(path: Path) -> Bytes:
    """Decode a picture to H x W x 3, 8 bit; 16 bits are rounded, grey fills all three channels, alpha is left out.

    Raises:
        DataError: naming the file and the reason, if it cannot be read.
    """
    try:
        pixels = to_8_bit(read_picture(path).pixels)
    except PictureError as error:
        raise DataError(f"{path} {error}.") from error
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
