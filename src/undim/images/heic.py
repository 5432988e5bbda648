"""HEIC files through pi-heif (libheif and libde265), which the extra `heic` installs."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from undim.arrays import Pixels
from undim.errors import PictureError
from undim.images.exif import strip_prefix
from undim.images.picture import Metadata, scale, split_channels
from undim.images.pillow import CheckSize

_BYTE_DEPTH = 8


def decode_heic(stream: BinaryIO, check_size: CheckSize) -> tuple[Pixels, Pixels | None, Metadata, tuple[str, ...]]:
    """Upright pixels, alpha, metadata and notes of the main picture; libheif turns it as the file says.

    Raises:
        PictureError: if pi-heif is not installed or the file is too large.
        Exception: one of several kinds for a damaged file.
    """
    try:
        import pi_heif
    except ImportError as error:
        raise PictureError('is a HEIC picture, which needs pi-heif: pip install "undim[heic]"') from error
    stream.seek(0)
    file = pi_heif.open_heif(stream, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    image = file[file.primary_index]
    check_size(image.size)
    samples = np.array(image)  # a copy: the memory is gone with the file
    bits = image.info["bit_depth"]
    if samples.dtype != np.uint8:
        samples = scale(samples, 2**bits - 1, 65535)
    pixels, alpha = split_channels(samples[..., None] if samples.ndim == 2 else samples)
    if image.premultiplied_alpha:
        raise PictureError("has colours multiplied by its transparency; convert it to PNG first")
    metadata = Metadata(
        strip_prefix(image.info["exif"] or b"") or None, image.info.get("icc_profile"), image.info.get("xmp") or None
    )
    several = f"holds {len(file)} pictures; only the main one is kept"
    return pixels, alpha, metadata, (several,) if len(file) > 1 else ()
