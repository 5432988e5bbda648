"""Through libvips, for what Pillow reduces to 8 bits: PNG and AVIF of more, and colours in 16 bits.

libvips is loaded with the first such picture.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from undim.arrays import Pixels
from undim.errors import PictureError
from undim.images.exif import with_prefix
from undim.images.picture import Picture, join_channels, scale
from undim.installed import add_package

if TYPE_CHECKING:
    import pyvips

Loader = Literal["png", "heif"]

_TYPES = {"uchar": np.uint8, "ushort": np.uint16}
_AVIF_BITS = 12
_AVIF_EFFORT = 1
"""As speed 8 of Pillow's writer: from 4 on, a picture of 12 megapixels takes minutes."""


@cache
def _library() -> ModuleType:
    try:
        import pyvips
    except (ImportError, OSError) as error:
        package = "pyvips" if isinstance(error, ModuleNotFoundError) else "pyvips-binary"
        raise PictureError(
            f"has more than 8 bits per sample, for which libvips cannot be loaded ({str(error).splitlines()[0]}): "
            f"{add_package(package)}"
        ) from error
    pyvips.cache_set_max(0)  # results are used once
    module: ModuleType = pyvips
    return module


class LazyPicture:
    """A file whose header was read: size, bits and samples are known, no pixel is decoded.

    Args:
        stream: of the whole file; its position is changed.
        loader: what the file is.

    Raises:
        PictureError: if it is damaged or of a kind that libvips does not read.
    """

    def __init__(self, stream: BinaryIO, loader: Loader) -> None:
        vips = _library()
        # Of a file the descriptor, so that it never stands in memory as a whole.
        try:
            descriptor = stream.fileno()
            os.lseek(descriptor, 0, os.SEEK_SET)
            source = vips.Source.new_from_descriptor(descriptor)
        except io.UnsupportedOperation:
            stream.seek(0)
            source = vips.Source.new_from_memory(stream.read())
        with _told():
            load = getattr(vips.Image, f"{loader}load_source")
            self._image = load(source, access="sequential", fail_on="error")
        self.size: tuple[int, int] = (self._image.width, self._image.height)
        self.bits: int = self._image.get("bits-per-sample") if loader == "heif" else 16
        self._shifted = loader == "heif"

    def decode(self) -> npt.NDArray[Any]:
        """H x W x C samples: uint8, or uint16 up to 65535.

        Raises:
            PictureError: if the file is damaged or truncated, or its samples are of another type.
        """
        image = self._image
        if image.format not in _TYPES:
            raise PictureError(f"has samples of type {image.format}; convert it to 8 or 16 bit grey or RGB first")
        with _told():
            memory = image.write_to_memory()
        samples = np.frombuffer(memory, _TYPES[image.format]).reshape(image.height, image.width, image.bands)
        if self._shifted and image.format == "ushort":
            # Of 10 or 12 bits libvips fills the upper ones, so that white would not be 65535.
            return scale(samples >> (16 - self.bits), 2**self.bits - 1, 65535)
        return samples


def convert_to_srgb(pixels: Pixels, profile: bytes) -> Pixels:
    """H x W x 1, 3 or 4 (CMYK) uint16 pixels with this profile as H x W x 3 sRGB.

    Raises:
        ValueError: if the profile cannot be used.
    """
    vips = _library()
    samples = join_channels(pixels, None)
    image = _to_image(samples, {1: "grey16", 3: "rgb16", 4: "cmyk"}[samples.shape[2]])
    image.set_type(vips.GValue.blob_type, "icc-profile-data", profile)
    with _failing():
        result = image.icc_transform("srgb", embedded=True, depth=16, intent="relative", black_point_compensation=True)
        memory = result.write_to_memory()
    return np.frombuffer(memory, np.uint16).reshape(result.height, result.width, result.bands)


def encode_png(picture: Picture) -> bytes:
    """A PNG of 16 bits per sample without metadata, which libvips would write anew.

    Raises:
        ValueError: if libvips fails.
    """
    with _failing():
        # Differences to the left neighbour: trying all filters takes twice as long and saves 1 %.
        data: bytes = _of_picture(picture).pngsave_buffer(compression=6, filter="sub", keep="none")
    return data


def write_deep_avif(picture: Picture, stream: BinaryIO, quality: int) -> None:
    """An AVIF of 12 bits per sample with full chroma. EXIF goes through libexif, which adds what it finds missing.

    Raises:
        ValueError: if libvips fails.
        OSError: if the stream does.
    """
    metadata = picture.metadata
    exif = with_prefix(metadata.exif) if metadata.exif else None
    image, kind = _of_picture(picture), _library().GValue.blob_type
    for name, content in (("exif", exif), ("xmp", metadata.xmp), ("icc-profile", metadata.icc)):
        if content:
            image.set_type(kind, f"{name}-data", content)
    with _failing():
        data = image.heifsave_buffer(
            compression="av1", Q=quality, bitdepth=_AVIF_BITS, subsample_mode="off", effort=_AVIF_EFFORT
        )
    stream.write(data)


def _of_picture(picture: Picture) -> pyvips.Image:
    return _to_image(join_channels(picture.pixels, picture.alpha), "grey16" if picture.grey else "rgb16")


def _to_image(samples: Pixels, interpretation: str) -> pyvips.Image:
    height, width, bands = samples.shape
    # The buffer is not copied; the image holds on to it.
    memory = np.ascontiguousarray(samples).data
    image = _library().Image.new_from_memory(memory, width, height, bands, "ushort")
    return image.copy(interpretation=interpretation)


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except _library().Error as error:
        raise ValueError(_line(error)) from error


@contextmanager
def _told() -> Iterator[None]:
    """Turns libvips' error, which has the lines of all its libraries, into one line."""
    try:
        yield
    except _library().Error as error:
        raise PictureError(f"is damaged or truncated: {_line(error)}") from error


def _line(error: Exception) -> str:
    """The first line that a library wrote: libvips' own, on what it was about to do, comes before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("unable to ")), "libvips does not say why")
