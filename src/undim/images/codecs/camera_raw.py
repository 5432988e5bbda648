"""Camera raw files through rawpy (LibRaw), which the extra `raw` installs."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from undim.arrays import Pixels
from undim.errors import PictureError
from undim.images import ifd
from undim.images.codec import CheckSize, Codec, Stored
from undim.images.codecs import isobmff
from undim.images.codecs.tiff_tags import read_metadata
from undim.images.exif import ORIENTATION, name_srgb
from undim.images.picture import Metadata, Picture
from undim.installed import add_extra


class CameraRaw(Codec):
    """Camera raw files. Most are TIFFs whose first page is a thumbnail, so for them the suffix decides."""

    name, title = "raw", "camera raw"
    suffixes = (
        *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2"),
        *(".pef", ".srw", ".x3f", ".raw", ".3fr", ".erf", ".kdc", ".mrw", ".iiq"),
    )

    def sniff(self, header: bytes, suffix: str) -> bool:
        """The brand of CR3, or the suffix."""
        brands = isobmff.brands(header)
        return isobmff.RAW_BRAND in brands if brands else suffix in self.suffixes

    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """See `decode_raw`."""
        return decode_raw(stream, check_size)


def decode_raw(stream: BinaryIO, check_size: CheckSize) -> Stored:
    """Develop a raw file to upright sRGB of 16 bits, with the camera's white balance and its own exposure.

    Raises:
        PictureError: if rawpy is not installed, or the file is damaged, too large or of an unknown camera.
    """
    pixels = _develop(stream, check_size)
    metadata, turn = Metadata(), 1
    with suppress(Exception):  # not every raw file is a TIFF
        header, pages = ifd.read_directories(stream)
        found = read_metadata(stream, header, pages[0])
        exif = name_srgb(found.exif) if found.exif else None
        metadata = Metadata(exif=exif, xmp=found.xmp, photoshop=found.photoshop)
        turn = pages[0].integer(ORIENTATION, 1)
        turn = turn if turn in range(1, 9) else 1
    notes = () if metadata != Metadata() else ("its metadata was not read",)
    return Stored(Picture(pixels, None, metadata, "raw", notes=notes), turn, turned=True)


def _develop(stream: BinaryIO, check_size: CheckSize) -> Pixels:
    """H x W x 3 uint16. LibRaw's automatic brightness is off: it would burn out what an enhancer is to raise."""
    try:
        import rawpy
    except ImportError as error:
        raise PictureError(f"is a camera raw file, which needs rawpy: {add_extra('raw')}") from error
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
