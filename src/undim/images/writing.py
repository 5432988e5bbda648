"""Pictures to files and streams. A file appears whole under its name or not at all."""

from __future__ import annotations

import os
import struct
import zlib
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin, TiffTags

from undim.atomic import replacing
from undim.errors import PictureError, UsageError
from undim.images.exif import with_prefix
from undim.images.formats import FORMATS
from undim.images.picture import Metadata, Picture
from undim.images.reading import profile_fits

QUALITY = 95
"""Default for JPEG and lossy WebP, of 100."""

_JPEG_MARKER = 65533
"""Most bytes of EXIF that one JPEG segment holds."""
_TIFF_STRIP = 1 << 18
"""Bytes of pixels that are compressed together."""
_TIFF_LARGEST = 2**32 - 2**24
_JPEG_SIDE, _WEBP_SIDE = 65535, 16383
_TIFF_STORAGE = (
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 317, 320, 322, 323),
    *(324, 325, 330, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532, 700, 34675),
)
"""TIFF tags that say how the pixels lie in the file; those of another file would make this one unreadable."""


def written_format(name: str) -> str:
    """The format that a picture read as `name` is written in: itself if it can be, else PNG."""
    return name if name in FORMATS else "png"


def encode_picture(
    picture: Picture,
    stream: BinaryIO,
    format: str | None = None,  # noqa: A002 - the word that Pillow and the command line use
    quality: int | None = None,
) -> tuple[str, ...]:
    """Encode a picture with its metadata into a seekable binary stream.

    JPEG is written without chroma subsampling, TIFF with lossless deflate, WebP without loss if it was read from a
    lossless WebP file and no quality is given. JPEG holds no alpha: the picture is laid on white.

    Args:
        picture: what to write.
        stream: open for reading and writing at position 0.
        format: one of `FORMATS`; without it the picture's own, or PNG where that cannot be written.
        quality: 1 to 100 for JPEG and WebP (95 if None); no other format has it.

    Returns:
        What the format could not hold, in words for the user; empty if nothing is lost.

    Raises:
        PictureError: if the codec fails, or the picture is too large for the format.
        UsageError: for an unknown format or a quality out of range.
    """
    name = written_format(picture.format) if format is None else format
    if name not in FORMATS:
        raise UsageError(f"There is no output format {name!r}; allowed: {', '.join(FORMATS)}.")
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"quality is {quality}; allowed: 1 to 100.")
    limit = {"jpg": _JPEG_SIDE, "webp": _WEBP_SIDE}.get(name, 2**31)
    if max(picture.size) > limit:
        width, height = picture.size
        raise PictureError(f"is {width} x {height}; {name} holds at most {limit} on a side: choose png (--format png)")
    picture, notes = _fit(picture, name)
    try:
        if name == "bmp" and picture.alpha is not None:
            _write_bmp_with_alpha(picture, stream)
        elif name == "tif":
            _write_tiff(picture, stream)
        else:
            picture.to_image().save(stream, FORMATS[name].pillow, **_options(picture, name, quality))
    except MemoryError as error:
        raise PictureError("does not fit in memory while it is written") from error
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, struct.error) as error:
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise PictureError(f"cannot be written as {name}: {detail}") from error
    return notes


def write_picture(
    picture: Picture,
    target: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002 - the word that Pillow and the command line use
    quality: int | None = None,
) -> tuple[str, ...]:
    """Write a picture to a file, replacing one of that name; folders on the way are made.

    Arguments, result and errors are those of `encode_picture`; without `format` the picture's own is taken,
    whatever the target's suffix. A failure leaves the old file, or none.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as stream:
            return encode_picture(picture, stream, format, quality)
    except OSError as error:
        raise PictureError(f"cannot be written: {error.strerror or error}") from error


def _fit(picture: Picture, name: str) -> tuple[Picture, tuple[str, ...]]:
    """The picture reduced to what the format holds, and what that cost."""
    form, meta, notes = FORMATS[name], picture.metadata, []
    pixels, alpha = picture.pixels, picture.alpha
    if alpha is not None and not form.alpha:
        if alpha.min() < 255:
            notes.append(f"{name} holds no transparency: it was laid on white")
        pixels, alpha = _on_white(picture), None
    exif, icc, xmp = meta.exif, meta.icc, meta.xmp
    if exif and not form.exif:
        exif = None
        notes.append(f"{name} holds no EXIF")
    if exif and name == "jpg" and len(with_prefix(exif)) > _JPEG_MARKER:
        exif = None
        notes.append("its EXIF is too long for jpg and was left out")
    if exif and name == "tif" and not _can_be_tiff_tags(exif):
        exif = None
        notes.append("its EXIF is damaged and was left out")
    if xmp and (not form.exif or (name == "jpg" and len(xmp) > _JPEG_MARKER - 29)):
        xmp = None
        notes.append(f"its XMP does not fit into {name} and was left out")
    if icc and not form.icc:
        icc = None
        notes.append(f"{name} holds no colour profile")
    if icc and not profile_fits(icc, grey=picture.grey and form.grey):
        icc = None
        notes.append(f"its grey colour profile does not fit {name}, which stores RGB, and was left out")
    fitted = Picture(pixels, alpha, Metadata(exif, icc, xmp, meta.dpi), picture.format, picture.lossless)
    return fitted, tuple(notes)


def _on_white(picture: Picture) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Encoded pixels blended with 255 by alpha, rounded, as viewers do it."""
    if picture.alpha is None:
        return picture.pixels
    alpha = picture.alpha.astype(np.uint16) if picture.grey else picture.alpha.astype(np.uint16)[..., None]
    blend = (picture.pixels * alpha + (255 - alpha) * 255 + 127) // 255
    return blend.astype(np.uint8)


def _options(picture: Picture, name: str, quality: int | None) -> dict[str, Any]:
    """What Pillow's writer of the format is told."""
    meta = picture.metadata
    options: dict[str, Any] = {}
    if meta.icc:
        options["icc_profile"] = meta.icc
    if meta.dpi and name != "webp":
        options["dpi"] = meta.dpi
    if meta.exif:
        options["exif"] = with_prefix(meta.exif)
    if meta.xmp and name in ("jpg", "webp"):
        options["xmp"] = meta.xmp
    if name == "jpg":
        options |= {"quality": QUALITY if quality is None else quality, "subsampling": 0}
    elif name == "webp":
        lossless = picture.lossless and quality is None
        # Exact keeps the colours of transparent pixels; the quality of a lossless file is the effort.
        options |= {"lossless": lossless, "exact": True, "alpha_quality": 100, "method": 4}
        options["quality"] = 75 if lossless else QUALITY if quality is None else quality
    elif name == "png" and meta.xmp:
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", meta.xmp.decode("utf-8", "replace"))
        options["pnginfo"] = text
    return options


def _write_tiff(picture: Picture, stream: BinaryIO) -> None:
    """A TIFF in strips of deflated horizontal differences (TIFF 6.0, section 14).

    Pillow compresses TIFFs through libtiff, and there cannot write the EXIF directory.
    """
    meta = picture.metadata
    samples = picture.pixels if picture.pixels.ndim == 3 else picture.pixels[..., None]
    if picture.alpha is not None:
        samples = np.concatenate((samples, picture.alpha[..., None]), axis=2)
    height, width, channels = samples.shape
    rows = max(1, _TIFF_STRIP // (width * channels))
    strips = []
    for top in range(0, height, rows):
        strip = samples[top : top + rows].copy()
        strip[:, 1:] -= samples[top : top + rows, :-1]
        strips.append(zlib.compress(strip.tobytes(), 6))
    lengths = [len(strip) for strip in strips]

    tags = _tiff_tags(meta.exif or b"")
    if meta.dpi:
        tags[282], tags[283], tags[296] = meta.dpi[0], meta.dpi[1], 2
    for tag, kind, data in ((700, TiffTags.BYTE, meta.xmp), (34675, TiffTags.UNDEFINED, meta.icc)):
        if data:
            tags.tagtype[tag] = kind
            tags[tag] = data
    tags[256], tags[257], tags[258], tags[277] = width, height, (8,) * channels, channels
    tags[259], tags[317], tags[284] = 8, 2, 1  # deflate, differences, samples side by side
    tags[262] = 1 if picture.grey else 2  # black is zero, or RGB
    if picture.alpha is not None:
        tags[338] = 2  # alpha that is not multiplied in
    tags[278] = rows
    tags.tagtype[273] = tags.tagtype[279] = TiffTags.LONG
    tags[273] = tuple(accumulate(lengths[:-1], initial=0))  # from the end of the directory on; saving adds that
    tags[279] = tuple(lengths)
    if sum(lengths) + len(meta.icc or b"") + len(meta.xmp or b"") + len(meta.exif or b"") > _TIFF_LARGEST:
        raise ValueError("it is over 4 GB; choose png (--format png)")
    tags.save(stream)
    stream.writelines(strips)


def _tiff_tags(block: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    """A TIFF directory with what an EXIF block says of the picture, not of how its pixels are stored."""
    exif, tags = Image.Exif(), TiffImagePlugin.ImageFileDirectory_v2()
    exif.load(with_prefix(block) if block else b"")
    for tag in exif:
        if tag not in _TIFF_STORAGE:
            tags[tag] = exif.get_ifd(tag) if tag in TiffTags.TAGS_V2_GROUPS else exif[tag]
    return tags


def _can_be_tiff_tags(block: bytes) -> bool:
    try:
        _tiff_tags(block).tobytes(8)
    except Exception:  # on a damaged block Pillow raises almost every built-in exception
        return False
    return True


def _write_bmp_with_alpha(picture: Picture, stream: BinaryIO) -> None:
    """A 32-bit BMP with a version 4 header: only its masks tell readers of the alpha, and Pillow writes none."""
    image = picture.to_image().convert("RGBA")
    width, height = image.size
    start = 14 + 108
    dots = [round(value / 0.0254) for value in picture.metadata.dpi or (96, 96)]
    stream.write(struct.pack("<2sIHHI", b"BM", start + 4 * width * height, 0, 0, start))
    stream.write(struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, 4 * width * height, *dots, 0, 0))
    stream.write(struct.pack("<IIII4s48x", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, b"BGRs"))
    stream.write(image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA"))
