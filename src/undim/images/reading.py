"""Files, streams and bytes to pictures: the one door, behind which a library per format decodes."""

from __future__ import annotations

import io
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from undim.arrays import Pixels
from undim.errors import PictureError
from undim.images import colour, pillow, tiff
from undim.images.camera_raw import decode_raw
from undim.images.exif import make_upright, read_orientation, upright_xmp
from undim.images.formats import (
    HEADER_BYTES,
    READABLE,
    coded_colours,
    foreign,
    is_deep_avif,
    sniff,
    suffix_of,
    webp_size,
)
from undim.images.heic import decode_heic
from undim.images.libvips import LazyPicture
from undim.images.picture import Metadata, Picture, split_channels, to_16_bit

MAX_PIXELS = 200_000_000
"""Default limit of width times height, against files that unpack to more than fits in memory."""

_PROPERTIES = 1 << 16
"""Bytes at the start of an AVIF, HEIC or PNG file that hold its properties."""
_SRGB_PRIMARIES, _SRGB_TRANSFERS = (1, 2), (1, 2, 6, 13, 14, 15)
"""Numbers in H.273 that viewers show as sRGB; 2 is unspecified."""
_MOST_DPI = 1e5


@dataclass(frozen=True)
class _Stored:
    """A picture as it is stored."""

    picture: Picture
    orientation: int
    """How a viewer would turn the stored picture: as in EXIF, 1 to 8."""
    turned: bool
    """Whether the library that decoded it has done so."""


def read_picture(source: str | os.PathLike[str] | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read one picture by its content; the name decides nothing except for camera raw files.

    The EXIF orientation is applied to the pixels. 16 bits per sample stay, 9 to 15 become 16, and floating-point TIFFs
    from 0 to 1 do too. What becomes of colour profiles is said in `undim.images.colour`; CMYK becomes RGB. Of a file
    with further pictures behind the first (previews, gain maps) the first is taken and `Picture.notes` says so.

    While a header is read, `PIL.Image.MAX_IMAGE_PIXELS` is None for the whole process, and then as it was before:
    what other threads open through Pillow in that moment is not limited.

    Args:
        source: a path, a file's content, or a binary stream.
        max_pixels: largest width times height, compared before anything is decoded.

    Raises:
        PictureError: for a file that is missing, empty, truncated, damaged, over `max_pixels`, animated, of several
            pages, not a picture, or that another process changes meanwhile. The message is the reason without the name.
    """
    if isinstance(source, bytes):
        return _read_stream(io.BytesIO(source), "", max_pixels)
    if not isinstance(source, str | os.PathLike):
        return _read_stream(io.BytesIO(source.read()), "", max_pixels)
    try:
        with Path(source).open("rb") as stream:
            before = os.fstat(stream.fileno())
            regular = stat.S_ISREG(before.st_mode)
            try:
                return _read_stream(
                    stream if regular else io.BytesIO(stream.read()), suffix_of(Path(source)), max_pixels
                )
            finally:
                after = os.fstat(stream.fileno())
                if regular and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                    raise PictureError("changed while it was read; try again when it is complete")
    except OSError as error:
        raise PictureError(f"cannot be opened: {error.strerror or error}") from error


def read_format(path: str | os.PathLike[str]) -> str | None:
    """Name of the format from a regular file's first bytes; None if it cannot be told."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return None
        with Path(path).open("rb") as stream:
            return sniff(stream.read(HEADER_BYTES), suffix_of(Path(path)))
    except OSError:
        return None


def _read_stream(stream: BinaryIO, suffix: str, max_pixels: int) -> Picture:
    header = stream.read(HEADER_BYTES)
    if not header:
        raise PictureError("is empty (0 bytes)")
    name = sniff(header, suffix)
    unread = foreign(header)
    if unread:
        raise PictureError(f"is a {unread} picture, which this version does not read; convert it to TIFF or PNG first")
    if name is None:
        raise PictureError(f"is not a picture that Undim reads ({READABLE})")
    check_size = partial(_check_size, max_pixels=max_pixels)
    if name == "webp":
        # Pillow allocates the whole canvas when it opens a WebP file, so its size is looked up before that.
        check_size(webp_size(header) or (1, 1))
    try:
        picture = _finish(_decode(stream, name, check_size))
        told = None if picture.metadata.icc or name not in ("avif", "heic", "png") else _first(stream, _PROPERTIES)
        return picture if told is None else replace(picture, notes=(*picture.notes, *_note_colours(told)))
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError("does not fit in memory") from error
    except Exception as error:  # on damaged files Pillow's codecs raise almost every built-in exception
        raise PictureError(f"is damaged or truncated: {str(error).strip() or type(error).__name__}") from error


def _decode(stream: BinaryIO, name: str, check_size: pillow.CheckSize) -> _Stored:
    if name == "raw":
        return _decode_raw(stream, check_size)
    if name == "heic":
        pixels, alpha, metadata, notes = decode_heic(stream, check_size)
        return _Stored(Picture(pixels, alpha, metadata, name, notes=notes), _orientation(metadata), turned=True)
    if name == "tif":
        return _decode_tiff(stream, check_size)
    with pillow.opened(stream, name, check_size) as (image, notes):
        loader: Literal["png", "heif"] | None = None
        if name == "png" and pillow.png_depth(stream) == 16:
            loader, exif = "png", pillow.read_exif(image) or pillow.late_png_exif(stream)
        elif name == "avif" and is_deep_avif(_first(stream, _PROPERTIES)):
            loader, exif = "heif", pillow.read_exif(image)
        if loader is None:
            pixels, alpha, more = _decode_image(image, stream)
            exif = pillow.read_exif(image)  # after decoding, since PNG may keep it behind the pixels
        else:
            (pixels, alpha), more = split_channels(LazyPicture(stream, loader).decode()), ()
        metadata = pillow.read_metadata(image, exif)
    lossless = name == "webp" and pillow.is_lossless_webp(stream)
    picture = Picture(pixels, alpha, metadata, name, lossless, (*notes, *more))
    return _Stored(picture, _orientation(metadata), turned=loader == "heif")


def _decode_image(image: Image.Image, stream: BinaryIO) -> tuple[Pixels, Pixels | None, tuple[str, ...]]:
    pixels, alpha = pillow.decode(image, stream)
    if image.mode != "CMYK":
        return pixels, alpha, ()
    return _from_cmyk(np.asarray(image), image.info.get("icc_profile"), pixels)


def _decode_tiff(stream: BinaryIO, check_size: pillow.CheckSize) -> _Stored:
    pages = tiff.read_directories(stream)
    if not pages:
        raise PictureError("is damaged or truncated: it has no page")
    page, facts = pages[0], tiff.read_facts(pages[0])
    if facts.camera_raw:
        return _decode_raw(stream, check_size)
    notes = tiff.check_pages(pages)
    metadata = tiff.read_metadata(stream, page)
    bits = max(facts.bits)
    if facts.kind == tiff.SIGNED or (facts.kind == tiff.UNSIGNED and bits > 16):
        kind = "signed or 32-bit integer"
        raise PictureError(f"{kind} pictures are not read; convert it to 8 or 16 bit grey or RGB first")
    deep = bits == 16 or facts.kind == tiff.FLOATING
    if deep:
        lazy = LazyPicture(stream, "tiff")
        check_size(lazy.size)
        pixels, alpha, more = _from_deep_tiff(lazy.decode(), facts, metadata.icc)
    else:
        with pillow.opened(stream, "tif", check_size) as (image, _):
            if bits > 8:
                pixels, alpha, more = pillow.decode_grey_tiff(image, bits, white_is_zero=facts.white_is_zero), None, ()
            else:
                pixels, alpha, more = _decode_image(image, stream)
    picture = Picture(pixels, alpha, metadata, "tif", notes=(*notes, *more))
    return _Stored(picture, facts.orientation, turned=not deep)  # Pillow turns TIFFs upright itself


def _from_deep_tiff(
    samples: npt.NDArray[Any], facts: tiff.TiffFacts, profile: bytes | None
) -> tuple[Pixels, Pixels | None, tuple[str, ...]]:
    rounded: tuple[str, ...] = ()
    if facts.kind == tiff.FLOATING:
        samples, rounded = _from_float(samples), ("floating point was rounded to 16 bits per sample",)
    if facts.cmyk:
        inks = samples[..., :4]
        plain = (65535 - inks[..., :3].astype(np.uint32)) * (65535 - inks[..., 3:].astype(np.uint32)) // 65535
        pixels, alpha, notes = _from_cmyk(inks, profile, plain.astype(np.uint16))
        return pixels, alpha, (*rounded, *notes)
    colours = 3 if samples.shape[2] >= 3 else 1
    return *split_channels(samples[..., : colours + facts.alpha]), rounded


def _from_float(samples: npt.NDArray[np.float32]) -> Pixels:
    if not np.isfinite(samples).all():
        bad = samples.size - np.count_nonzero(np.isfinite(samples))
        raise PictureError(f"has {bad} values that are not finite (NaN or infinite); replace them first")
    low, high = samples.min(), samples.max()
    if low < 0 or high > 1:
        raise PictureError(f"has floating-point values from {low:g} to {high:g}; only 0 to 1 is read: scale them first")
    rounded: Pixels = np.rint(samples * np.float32(65535)).astype(np.uint16)
    return rounded


def _from_cmyk(inks: Pixels, profile: bytes | None, plain: Pixels) -> tuple[Pixels, Pixels | None, tuple[str, ...]]:
    """RGB by the profile, or `plain`, what the formula without one gives."""
    if profile and colour.is_cmyk(profile):
        with suppress(ValueError):
            return colour.to_srgb(inks, profile), None, ("CMYK was converted to RGB (sRGB) by its colour profile",)
    return plain, None, ("CMYK was converted to RGB without a colour profile",)


def _decode_raw(stream: BinaryIO, check_size: pillow.CheckSize) -> _Stored:
    pixels = decode_raw(stream, check_size)
    metadata = Metadata()
    with suppress(Exception):  # not every raw file is a TIFF
        metadata = Metadata(exif=tiff.read_metadata(stream, tiff.read_directories(stream)[0]).exif)
    notes = () if metadata.exif else ("its metadata was not read",)
    return _Stored(Picture(pixels, None, metadata, "raw", notes=notes), 1, turned=True)


def _finish(stored: _Stored) -> Picture:
    """Turn a stored picture upright and give it colours that a network can take."""
    picture, turn = stored.picture, 1 if stored.turned else stored.orientation
    pixels = turn_upright(picture.pixels, turn)
    exif, xmp, dpi, profile = (getattr(picture.metadata, name) for name in ("exif", "xmp", "dpi", "icc"))
    notes = picture.notes
    if profile and not colour.profile_fits(profile, grey=picture.grey):
        if not colour.is_cmyk(profile):
            notes = (*notes, "its colour profile is for another colour model and was left out")
        profile = None
    alpha = None if picture.alpha is None else turn_upright(picture.alpha, turn)
    curves = colour.tone_curves(profile) if profile else None
    if curves is not None:
        pixels, alpha = colour.give_srgb_tones(pixels, curves), None if alpha is None else to_16_bit(alpha)
    return replace(
        picture,
        pixels=pixels,
        alpha=alpha,
        metadata=Metadata(
            exif=make_upright(exif, transposed=stored.orientation >= 5) if exif else None,
            icc=profile,
            xmp=upright_xmp(xmp) if xmp and stored.orientation != 1 else xmp,
            dpi=dpi if dpi and all(0 < dots < _MOST_DPI for dots in dpi) else None,
        ),
        notes=notes,
        toned=curves is not None,
        bits=picture.depth,
    )


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation, 1 to 8, to H x W or H x W x C pixels: row 0 becomes the visual top."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _note_colours(start: bytes) -> tuple[str, ...]:
    named = coded_colours(start)
    if named is None or (named[0] in _SRGB_PRIMARIES and named[1] in _SRGB_TRANSFERS):
        return ()
    kind = "HDR" if named[1] in (16, 18) else "wide-gamut"
    return (f"its colours, {kind} by numbers in place of a profile, were taken for sRGB",)


def _orientation(metadata: Metadata) -> int:
    return read_orientation(metadata.exif or b"")


def _first(stream: BinaryIO, count: int) -> bytes:
    stream.seek(0)
    return stream.read(count)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PictureError(
            f"has {width} x {height} = {width * height} pixels, "
            f"more than the limit max_pixels (--max-pixels) of {max_pixels}"
        )
    if width * height == 0:
        raise PictureError(f"has no pixels ({width} x {height})")
