"""Files, streams and bytes to pictures."""

from __future__ import annotations

import io
import os
import stat
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from undim.errors import PictureError
from undim.images.exif import ORIENTATION, make_upright, read_orientation, strip_prefix, upright_xmp
from undim.images.formats import FORMATS, HEADER_BYTES, READ_ONLY, READABLE, foreign, sniff, suffix_of, webp_size
from undim.images.picture import Bytes, Metadata, Picture, scale_to_8_bit, split_alpha

MAX_PIXELS = 200_000_000
"""Default limit of width times height, against files that unpack to more than fits in memory."""

_PILLOW_LIMIT = threading.Lock()
_NEVER_TWICE = (TiffImagePlugin, WebPImagePlugin)  # imported so that Image.open finds them without loading every codec
_BASE = ExifTags.Base
_TIFF_KEPT = (
    *(_BASE.ImageDescription, _BASE.Make, _BASE.Model, _BASE.Software, _BASE.DateTime, _BASE.Artist),
    *(_BASE.HostComputer, _BASE.Rating, _BASE.Copyright),
)
"""Tags of a TIFF file that describe the picture; the others describe how it is stored."""
_TIFF_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_REDUCED = 1
"""Bit of NewSubfileType that marks a smaller copy of another page."""
_PNG_GREY_ALPHA = 4
"""Colour type (PNG 1.2, section 4.1.1)."""


def read_picture(source: str | os.PathLike[str] | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read one picture by its content; the name decides nothing except for camera raw files.

    The EXIF orientation is applied to the pixels. More than 8 bits per sample are reduced to 8, in grey by rounding,
    else to the upper 8, which is all that Pillow gives. CMYK becomes RGB without its profile. Of a JPEG with further
    pictures behind it (previews, gain maps) the first is taken and `Picture.notes` says so.

    While a header is read, `PIL.Image.MAX_IMAGE_PIXELS` is None for the whole process, and then as it was before:
    what other threads open through Pillow in that moment is not limited.

    Args:
        source: a path, a file's content, or a binary stream.
        max_pixels: largest width times height, compared before anything is decoded.

    Raises:
        PictureError: for a file that is missing, empty, truncated, damaged, over `max_pixels`, animated, of several
            pages or not a picture. The message is the reason without the name.
    """
    if isinstance(source, bytes):
        return _read_stream(io.BytesIO(source), "", max_pixels)
    if not isinstance(source, str | os.PathLike):
        return _read_stream(io.BytesIO(source.read()), "", max_pixels)
    try:
        with Path(source).open("rb") as stream:
            regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
            return _read_stream(stream if regular else io.BytesIO(stream.read()), suffix_of(Path(source)), max_pixels)
    except OSError as error:
        raise PictureError(f"cannot be opened: {error.strerror or error}") from error


def read_format(path: str | os.PathLike[str]) -> str | None:
    """Name of the format from a regular file's first bytes; None if it cannot be told."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return None
        with Path(path).open("rb") as stream:
            return sniff(stream.read(HEADER_BYTES))
    except OSError:
        return None


def _read_stream(stream: BinaryIO, suffix: str, max_pixels: int) -> Picture:
    header = stream.read(HEADER_BYTES)
    stream.seek(0)
    if not header:
        raise PictureError("is empty (0 bytes)")
    unread = foreign(header, suffix)
    if unread:
        raise PictureError(f"is a {unread} picture, which this version does not read; convert it to TIFF or PNG first")
    name = sniff(header)
    if name is None:
        raise PictureError(f"is not a picture that Undim reads ({READABLE})")
    if name == "webp":
        # Pillow allocates the whole canvas when it opens a WebP file, so its size is looked up before that.
        _check_size(webp_size(header) or (1, 1), max_pixels)
    try:
        return _decode(stream, name, max_pixels)
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError(f"is damaged, or a {name.upper()} picture of a kind that is not read") from error
    except MemoryError as error:
        raise PictureError("does not fit in memory") from error
    except Exception as error:  # on damaged files Pillow's codecs raise almost every built-in exception
        raise PictureError(f"is damaged or truncated: {str(error).strip() or type(error).__name__}") from error


def _decode(stream: BinaryIO, name: str, max_pixels: int) -> Picture:
    codec = FORMATS[name].pillow if name in FORMATS else READ_ONLY[name][0]
    depth, kind = _png_samples(stream) if name == "png" else (8, 0)
    with _PILLOW_LIMIT:
        # Pillow's own limit warns and raises at fixed sizes; `max_pixels` takes its place while the header is read.
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(stream, formats=(codec,))
            _check_size(image.size, max_pixels)
            notes = _check_pages(image)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        bits, white_is_zero = 16, False
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            exif = _tiff_exif(image)
            orientation, turn = image.getexif().get(ORIENTATION, 1), 1
            bits, white_is_zero = _tiff_samples(image)
            image.load()  # turns a TIFF upright as well
        else:
            image.load()  # first, since PNG may keep EXIF behind the pixels
            exif = strip_prefix(image.info.get("exif") or _text_exif(image))
            orientation = turn = read_orientation(exif)
        notes = (*notes, *_scale_transparent_colour(image, depth))
        # Of 16-bit grey with alpha Pillow makes RGBA.
        pixels, alpha = split_alpha(image.convert("LA") if (depth, kind) == (16, _PNG_GREY_ALPHA) else image)
        if image.mode.startswith("I;16") and (bits != 16 or white_is_zero):
            pixels = scale_to_8_bit(np.asarray(image), 2**bits - 1)
            pixels = 255 - pixels if white_is_zero else pixels
        if image.mode == "CMYK":
            notes = (*notes, "CMYK was converted to RGB without its colour profile")
        profile = image.info.get("icc_profile") or None
        if profile and not profile_fits(profile, grey=pixels.ndim == 2):
            profile = None
            if image.mode != "CMYK":
                notes = (*notes, "its colour profile is for another colour model and was left out")
        xmp = image.info.get("xmp")
        metadata = Metadata(
            exif=make_upright(exif, transposed=orientation in (5, 6, 7, 8)) if exif else None,
            icc=profile,
            xmp=upright_xmp(xmp) if isinstance(xmp, bytes) and turn != 1 else xmp,
            dpi=_dpi(image),
        )
    return Picture(
        pixels=turn_upright(pixels, turn),
        alpha=None if alpha is None else turn_upright(alpha, turn),
        metadata=metadata,
        format=name,
        lossless=name == "webp" and _is_lossless_webp(stream),
        notes=notes,
    )


def turn_upright(pixels: Bytes, orientation: int) -> Bytes:
    """Apply an EXIF orientation, 1 to 8, to H x W or H x W x C pixels: row 0 becomes the visual top."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def profile_fits(profile: bytes, *, grey: bool) -> bool:
    """Whether an ICC profile is for grey or RGB pixels: ICC.1 has the colour model in bytes 16 to 19."""
    return profile[16:20] == (b"GRAY" if grey else b"RGB ")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PictureError(
            f"has {width} x {height} = {width * height} pixels, "
            f"more than the limit max_pixels (--max-pixels) of {max_pixels}"
        )
    if width * height == 0:
        raise PictureError(f"has no pixels ({width} x {height})")


def _check_pages(image: Image.Image) -> tuple[str, ...]:
    if isinstance(image, TiffImagePlugin.TiffImageFile) and (
        0xC612 in image.tag_v2 or image.tag_v2.get(254, 0) & _REDUCED
    ):
        raise PictureError("is a camera raw file, which this version does not read; convert it to TIFF or PNG first")
    count = getattr(image, "n_frames", 1)
    if count == 1:
        return ()
    if image.format == "MPO":
        return (f"holds {count} pictures (a preview, depth or gain map); only the first is kept",)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        kinds = []
        for page in range(1, count):
            image.seek(page)
            kinds.append(image.tag_v2.get(254, 0) & _REDUCED)
        image.seek(0)
        if all(kinds):
            return ("holds a smaller copy of itself, which is not kept",)
        raise PictureError(f"has {count} pages; split it and enhance the pages one by one")
    raise PictureError(f"is animated ({count} frames); Undim enhances still pictures")


def _tiff_exif(image: TiffImagePlugin.TiffImageFile) -> bytes:
    source, kept = image.getexif(), Image.Exif()
    for tag in _TIFF_KEPT:
        if tag in source:
            kept[tag] = source[tag]
    for directory in _TIFF_DIRECTORIES:
        values = source.get_ifd(directory)
        if values:
            kept.get_ifd(directory).update(values)
            kept[directory] = values
    return strip_prefix(kept.tobytes()) if len(kept) else b""


def _tiff_samples(image: TiffImagePlugin.TiffImageFile) -> tuple[int, bool]:
    """Bits per sample, and whether 16-bit grey is stored as a negative, which Pillow leaves as it is."""
    bits = image.tag_v2.get(258, (16,))
    return int(bits[0] if isinstance(bits, tuple) else bits), image.tag_v2.get(262, 1) == 0


def _png_samples(stream: BinaryIO) -> tuple[int, int]:
    """Bits per sample and colour type, from the header chunk that begins every PNG; (0, 0) if it is cut off."""
    stream.seek(24)
    samples = stream.read(2)
    stream.seek(0)
    return (samples[0], samples[1]) if len(samples) == 2 else (0, 0)


def _scale_transparent_colour(image: Image.Image, depth: int) -> tuple[str, ...]:
    """Bring a PNG's transparent colour, of `depth` bits per sample, to the 8 bits of the pixels, as Pillow does not.

    Returns what is lost by it, in words for the user.
    """
    key = image.info.get("transparency")
    if image.mode == "L" and depth in (2, 4) and isinstance(key, int) and key < 2**depth:
        image.info["transparency"] = key * (255 // (2**depth - 1))
    elif image.mode == "RGB" and depth == 16 and isinstance(key, tuple):
        image.info["transparency"] = tuple(part >> 8 for part in key)
        return ("of its transparent colour only the upper 8 of 16 bits per sample were compared",)
    return ()


def _text_exif(image: Image.Image) -> bytes:
    """EXIF that older PNG writers left in a text chunk as hexadecimal."""
    return image.getexif().tobytes() if "Raw profile type exif" in image.info else b""


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    horizontal, vertical = float(dpi[0]), float(dpi[1])
    return (horizontal, vertical) if 0 < horizontal < 1e5 and 0 < vertical < 1e5 else None


def _is_lossless_webp(stream: BinaryIO) -> bool:
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
