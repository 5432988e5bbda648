"""Pictures to files and streams. A file appears whole under its name or not at all."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from undim.arrays import Bytes, Pixels
from undim.atomic import replacing
from undim.errors import PictureError, UsageError
from undim.images import colour
from undim.images.exif import with_prefix
from undim.images.formats import FORMATS, Format
from undim.images.libvips import write_deep_avif, write_deep_png
from undim.images.picture import Metadata, Picture, full_scale, to_8_bit
from undim.images.tiff import can_be_tags, write_tiff

_JPEG_MARKER = 65533
"""Most bytes of EXIF that one JPEG segment holds."""
_XMP_NAME = 29
"""Bytes that a JPEG segment's XMP begins with."""
_AVIF_SPEED = 8
"""Of 10. Speed 6, Pillow's choice, takes ten times as long for 0.2 dB."""


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

    JPEG and AVIF are written without chroma subsampling, TIFF with lossless deflate, WebP without loss if it was read
    from a lossless WebP file and no quality is given. PNG and TIFF hold 16 bits per sample, AVIF 12, others 8. JPEG
    holds no alpha: the picture is laid on white. A picture whose profile the format does not hold becomes sRGB.

    Args:
        picture: what to write.
        stream: open for reading and writing at position 0.
        format: one of `FORMATS`; without it the picture's own, or PNG where that cannot be written.
        quality: 1 to 100 for JPEG and WebP (95 if None) and AVIF (90); no other format has it.

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
    form = FORMATS[name]
    if max(picture.size) > form.side:
        width, height = picture.size
        raise PictureError(
            f"is {width} x {height}; {name} holds at most {form.side} on a side: choose png (--format png)"
        )
    try:
        picture, notes = _fit(picture, form)
        _write(picture, stream, form, quality)
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


def _write(picture: Picture, stream: BinaryIO, form: Format, quality: int | None) -> None:
    deep = picture.pixels.dtype == np.uint16
    if form.name == "bmp" and picture.alpha is not None:
        _write_bmp_with_alpha(picture, stream)
    elif form.name == "tif":
        write_tiff(picture, stream)
    elif deep and form.name == "png":
        write_deep_png(picture, stream)
    elif deep:
        write_deep_avif(picture, stream, quality or form.quality or 0)
    else:
        picture.to_image().save(stream, form.pillow, **_options(picture, form, quality))


def _fit(picture: Picture, form: Format) -> tuple[Picture, tuple[str, ...]]:
    """The picture as the format holds it, in the colours of its profile, and what that cost."""
    metadata, notes = _fit_metadata(picture, form)
    pixels, alpha, bits = _restore_tones(picture), picture.alpha, picture.depth
    icc = metadata.icc
    if icc and not (form.icc and colour.profile_fits(icc, grey=picture.grey and form.grey)):
        pixels, note = _without_profile(picture, pixels, icc)
        kind = "colour profile" if not form.icc else "grey colour profile"
        notes = (*notes, f"{form.name} holds no {kind}{note}")
        metadata = replace(metadata, icc=None)
    if bits > form.depth:
        notes = (*notes, f"{form.name} holds {form.depth} bits per sample: its {bits} were rounded")
    if min(bits, form.depth) == 8:
        pixels, alpha = to_8_bit(pixels), None if alpha is None else to_8_bit(alpha)
    if alpha is not None and not form.alpha:
        if alpha.min() < full_scale(alpha):
            notes = (*notes, f"{form.name} holds no transparency: it was laid on white")
        pixels, alpha = _on_white(pixels, alpha), None
    return Picture(pixels, alpha, metadata, picture.format, picture.lossless), notes


def _without_profile(picture: Picture, pixels: Pixels, profile: bytes) -> tuple[Pixels, str]:
    """The picture in sRGB, whose `pixels` have this profile, and the end of a note that says so."""
    became = ": the picture became sRGB"
    if picture.grey:  # has no other primaries
        return picture.pixels, became if picture.toned else ""
    if colour.is_srgb(profile):
        return pixels, ""
    try:
        return colour.to_srgb(pixels, profile), became
    except ValueError:
        return pixels, ", and this one is damaged"


def _restore_tones(picture: Picture) -> Pixels:
    curves = colour.tone_curves(picture.metadata.icc) if picture.toned and picture.metadata.icc else None
    return picture.pixels if curves is None else colour.take_srgb_tones(picture.pixels, curves)


def _fit_metadata(picture: Picture, form: Format) -> tuple[Metadata, tuple[str, ...]]:
    """EXIF and XMP as far as the format holds them."""
    metadata, notes, name = picture.metadata, [], form.name
    exif, xmp = metadata.exif, metadata.xmp
    if exif and not form.exif:
        exif = None
        notes.append(f"{name} holds no EXIF")
    if exif and name == "jpg" and len(with_prefix(exif)) > _JPEG_MARKER:
        exif = None
        notes.append("its EXIF is too long for jpg and was left out")
    if exif and name == "tif" and not can_be_tags(exif):
        exif = None
        notes.append("its EXIF is damaged and was left out")
    if xmp and (not form.exif or (name == "jpg" and len(xmp) > _JPEG_MARKER - _XMP_NAME)):
        xmp = None
        notes.append(f"its XMP does not fit into {name} and was left out")
    return replace(metadata, exif=exif, xmp=xmp), tuple(notes)


def _on_white(pixels: Pixels, alpha: Pixels) -> Bytes:
    """Encoded 8-bit pixels blended with 255 by alpha, rounded, as viewers do it."""
    share = alpha.astype(np.uint16) if pixels.ndim == 2 else alpha.astype(np.uint16)[..., None]
    return ((pixels * share + (255 - share) * 255 + 127) // 255).astype(np.uint8)


def _options(picture: Picture, form: Format, quality: int | None) -> dict[str, Any]:
    """What Pillow's writer of the format is told."""
    meta, name = picture.metadata, form.name
    options: dict[str, Any] = {}
    if meta.icc:
        options["icc_profile"] = meta.icc
    if meta.dpi and name not in ("webp", "avif"):
        options["dpi"] = meta.dpi
    if meta.exif:
        options["exif"] = with_prefix(meta.exif)
    if meta.xmp and name in ("jpg", "webp", "avif"):
        options["xmp"] = meta.xmp
    if form.quality is not None:
        options["quality"] = form.quality if quality is None else quality
    if name == "jpg":
        options["subsampling"] = 0
    elif name == "avif":
        options |= {"subsampling": "4:0:0" if picture.grey else "4:4:4", "speed": _AVIF_SPEED}
    elif name == "webp":
        lossless = picture.lossless and quality is None
        # Exact keeps the colours of transparent pixels; the quality of a lossless file is the effort.
        options |= {"lossless": lossless, "exact": True, "alpha_quality": 100, "method": 4}
        options["quality"] = 75 if lossless else options["quality"]
    elif name == "png" and meta.xmp:
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", meta.xmp.decode("utf-8", "replace"))
        options["pnginfo"] = text
    return options


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
