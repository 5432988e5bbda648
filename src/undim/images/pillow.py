"""Through Pillow: files of 8 bits per sample, and what all but TIFF files say besides their pixels."""

from __future__ import annotations

import importlib
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from undim.arrays import Pixels
from undim.errors import PictureError
from undim.images.exif import strip_prefix
from undim.images.formats import FORMATS, PNG_CHUNK_FRAME, READ_ONLY
from undim.images.picture import Metadata, scale, split_alpha

CheckSize = Callable[[tuple[int, int]], None]
"""Raises PictureError for a width and height that are not to be decoded."""

_LIMIT = threading.Lock()
_NEVER_TWICE = (TiffImagePlugin, WebPImagePlugin)  # imported so that Image.open finds them without loading every codec


@contextmanager
def opened(stream: BinaryIO, name: str, check_size: CheckSize) -> Iterator[tuple[Image.Image, tuple[str, ...]]]:
    """A Pillow image whose header alone was read, with notes for the user.

    Raises:
        PictureError: if it is too large, animated, or not of the format.
    """
    codec = FORMATS[name].pillow if name in FORMATS else READ_ONLY[name].pillow
    if name == "avif":
        importlib.import_module("PIL.AvifImagePlugin")  # as above, but the codec is large
    with _LIMIT:
        # Pillow's own limit warns and raises at fixed sizes; `check_size` takes its place while the header is read.
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            stream.seek(0)
            image = Image.open(stream, formats=(codec,))
            check_size(image.size)
        except UnidentifiedImageError as error:
            raise PictureError(f"is damaged, or a {name.upper()} picture of a kind that is not read") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image, _check_frames(image)


def decode(image: Image.Image, stream: BinaryIO) -> tuple[Pixels, Pixels | None]:
    """Pixels and alpha as they are stored, which for TIFF files means turned upright."""
    image.load()
    if image.format == "PNG":
        _scale_transparent_colour(image, png_depth(stream))
    return split_alpha(image)


def decode_grey_tiff(image: Image.Image, bits: int, *, white_is_zero: bool) -> Pixels:
    """Grey of 9 to 15 bits per sample, which Pillow leaves as it is stored, as uint16 up to 65535."""
    image.load()
    pixels = scale(np.asarray(image), 2**bits - 1, 65535)
    return 65535 - pixels if white_is_zero else pixels


def read_exif(image: Image.Image) -> bytes:
    """EXIF from its TIFF header on; empty if there is none."""
    return strip_prefix(image.info.get("exif") or _text_exif(image))


def read_metadata(image: Image.Image, exif: bytes) -> Metadata:
    """What travels with the pixels, of the picture as it is stored."""
    xmp, dpi = image.info.get("xmp"), image.info.get("dpi")
    return Metadata(
        exif=exif or None,
        icc=image.info.get("icc_profile") or None,
        xmp=xmp if isinstance(xmp, bytes) else None,
        dpi=(float(dpi[0]), float(dpi[1])) if isinstance(dpi, tuple) and len(dpi) == 2 else None,
    )


def png_depth(stream: BinaryIO) -> int:
    """Bits per sample, from the header chunk that begins every PNG; 0 if it is cut off."""
    stream.seek(24)
    return int.from_bytes(stream.read(1))


def late_png_exif(stream: BinaryIO) -> bytes:
    """EXIF that stands behind the pixels of a PNG, where Pillow finds it only by decoding them; empty if none does."""
    at = 8
    while True:
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return b""
        (length,) = struct.unpack(">I", head[:4])
        if head[4:] == b"eXIf":
            return strip_prefix(stream.read(length))
        at += length + PNG_CHUNK_FRAME


def is_lossless_webp(stream: BinaryIO) -> bool:
    """Whether the picture is in a VP8L chunk: chunks are a name, a length and data padded to even length."""
    at = 12
    while True:
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8 or head[:4] == b"VP8 ":
            return False
        if head[:4] == b"VP8L":
            return True
        length = int.from_bytes(head[4:], "little")
        at += 8 + length + length % 2


def _check_frames(image: Image.Image) -> tuple[str, ...]:
    count = getattr(image, "n_frames", 1)
    if count == 1 or image.format == "TIFF":
        return ()
    if image.format == "MPO":
        return (f"holds {count} pictures (a preview, depth or gain map); only the first is kept",)
    raise PictureError(f"is animated ({count} frames); Undim enhances still pictures")


def _scale_transparent_colour(image: Image.Image, depth: int) -> None:
    """Bring a PNG's transparent grey of 2 or 4 bits to the 8 bits of the pixels, as Pillow does not."""
    key = image.info.get("transparency")
    if image.mode == "L" and depth in (2, 4) and isinstance(key, int) and key < 2**depth:
        image.info["transparency"] = key * (255 // (2**depth - 1))


def _text_exif(image: Image.Image) -> bytes:
    """EXIF that older PNG writers left in a text chunk as hexadecimal."""
    return image.getexif().tobytes() if "Raw profile type exif" in image.info else b""
