"""Camera raw files through rawpy (LibRaw), which the extra `raw` installs."""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np

from undim.arrays import Pixels
from undim.errors import PictureError
from undim.images.pillow import CheckSize


def decode_raw(stream: BinaryIO, check_size: CheckSize) -> Pixels:
    """Develop a raw file to upright H x W x 3 uint16 sRGB, with the camera's white balance and its own exposure.

    LibRaw's automatic brightness is off: it would burn out what an enhancer is to raise.

    Raises:
        PictureError: if rawpy is not installed, or the file is damaged, too large or of an unknown camera.
    """
    try:
        import rawpy
    except ImportError as error:
        raise PictureError('is a camera raw file, which needs rawpy: pip install "undim[raw]"') from error
    stream.seek(0)
    try:
        with rawpy.imread(io.BytesIO(stream.read())) as raw:
            sizes = raw.sizes
            check_size((sizes.width, sizes.height))
            pixels: Pixels = raw.postprocess(
                output_color=rawpy.ColorSpace.sRGB,
                gamma=(2.4, 12.92),  # sRGB's curve
                output_bps=16,
                use_camera_wb=True,
                no_auto_bright=True,
            )
    except rawpy.LibRawError as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise PictureError(f"is a camera raw file that cannot be developed: {text}") from error
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
