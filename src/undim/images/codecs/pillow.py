"""Through Pillow: files of 8 bits per sample."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from PIL import Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from undim.arrays import Pixels
from undim.errors import PictureError
from undim.images.codec import CheckSize
from undim.images.exif import strip_prefix
from undim.images.picture import Metadata, split_alpha

_LIMIT = threading.Lock()
_NEVER_TWICE = (TiffImagePlugin, WebPImagePlugin)  # imported so that Image.open finds them without loading every codec


@contextmanager
def opened(stream: BinaryIO, plugin: str, check_size: CheckSize) -> Iterator[Image.Image]:
    """A Pillow image whose header alone was read.

    Args:
        stream: of the file.
        plugin: Pillow's name of the format.
        check_size: raises for a size that is not to be decoded.

    Raises:
        PictureError: if it is too large, animated, or not of the format.
    """
    if plugin == "AVIF":
        importlib.import_module("PIL.AvifImagePlugin")  # as above, but the codec is large
    with _LIMIT:
        # Pillow's own limit warns and raises at fixed sizes; `check_size` takes its place while the header is read.
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            stream.seek(0)
            image = Image.open(stream, formats=(plugin,))
        except UnidentifiedImageError as error:
            raise PictureError(f"is damaged, or a {plugin} picture of a kind that is not read") from error
        except OSError as error:
            if str(error).startswith("Unsupported"):
                raise PictureError(
                    f"is a {plugin} picture of a kind that is not read ({error}); convert it to PNG first"
                ) from error
            raise
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        check_size(image.size)  # which may wait for another picture: not while others are kept from opening theirs
        count = getattr(image, "n_frames", 1)
        if count > 1 and plugin != "JPEG":
            raise PictureError(f"is animated ({count} frames); Undim enhances still pictures")
        yield image


def decode(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    """Pixels and alpha as they are stored."""
    image.load()
    return split_alpha(image)


def decode_turned_tiff(stream: BinaryIO) -> tuple[Pixels, Pixels | None]:
    """Pixels and alpha of a TIFF's first page, turned upright, which Pillow does with TIFFs alone."""
    stream.seek(0)
    with TiffImagePlugin.TiffImageFile(stream) as image:
        return decode(image)


def read_metadata(image: Image.Image) -> Metadata:
    """What travels with the pixels, of the picture as it is stored."""
    info: Any = image.info
    packet, dots = info.get("xmp"), info.get("dpi")
    return Metadata(
        exif=strip_prefix(info.get("exif") or b"") or None,
        icc=info.get("icc_profile") or None,
        xmp=packet if isinstance(packet, bytes) else None,
        dpi=(float(dots[0]), float(dots[1])) if isinstance(dots, tuple) and len(dots) == 2 else None,
    )
