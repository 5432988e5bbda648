"""Pictures to files and streams. A file appears whole under its name or not at all."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from undim.arrays import Bytes, Pixels
from undim.atomic import replacing
from undim.errors import PictureError, UsageError
from undim.images import carried, colour, formats
from undim.images.codec import Codec, Format
from undim.images.picture import Picture, full_scale, to_8_bit


def written_format(name: str) -> str:
    """The format that a picture read as `name` is written in: itself if it can be, else PNG."""
    return name if name in formats.FORMATS else "png"


def encode_picture(
    picture: Picture,
    stream: BinaryIO,
    format: str | None = None,  # noqa: A002 - the word that Pillow and the command line use
    quality: int | None = None,
) -> tuple[str, ...]:
    """Encode a picture with its metadata into a seekable binary stream.

    JPEG and AVIF are written without chroma subsampling, TIFF with lossless deflate, WebP without loss if it was read
    from a lossless WebP file and no quality is given. PNG and TIFF hold 16 bits per sample, AVIF 12, others 8. JPEG
    holds no alpha: the picture is laid on white. A picture whose profile the format does not hold becomes sRGB. Which
    format takes what else is said in `undim.images.carried`.

    Args:
        picture: what to write.
        stream: open for reading and writing at position 0.
        format: one of `FORMATS`; without it the picture's own, or PNG where that cannot be written.
        quality: 1 to 100 for JPEG and WebP (95 if None) and AVIF (90); no other format has it.

    Returns:
        What the format could not hold, one note for each thing, in words for the user; empty if nothing is lost.

    Raises:
        PictureError: if the codec fails, or the picture is too large for the format.
        UsageError: for an unknown format or a quality out of range.

    Examples:
        >>> import io
        >>> import numpy as np
        >>> from undim.images import Metadata, Picture, encode_picture
        >>> picture = Picture(np.zeros((2, 3, 3), np.uint8), None, Metadata(), "png")
        >>> file = io.BytesIO()
        >>> _ = encode_picture(picture, file, "png")  # notes on what was lost
        >>> file.getvalue()[1:4]
        b'PNG'
    """
    name = written_format(picture.format) if format is None else format
    if name not in formats.FORMATS:
        raise UsageError(f"There is no output format {name!r}; allowed: {', '.join(formats.FORMATS)}.")
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"quality is {quality}; allowed: 1 to 100.")
    codec, form = formats.named(name), formats.FORMATS[name]
    if max(picture.size) > form.side:
        width, height = picture.size
        raise PictureError(
            f"is {width} x {height}; {codec.title} files hold at most {form.side} pixels on a side: "
            "choose PNG as the output format"
        )
    try:
        picture, notes = _fit(picture, codec, form)
        codec.encode(picture, stream, quality)
    except PictureError:
        raise
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

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from undim.images import Metadata, Picture, read_picture, write_picture
        >>> picture = Picture(np.full((2, 3, 3), 7, np.uint16), None, Metadata(), "png")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_picture(picture, Path(folder, "deep.png"))
        ...     read_picture(Path(folder, "deep.png")).pixels.dtype.name
        'uint16'
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as stream:
            return encode_picture(picture, stream, format, quality)
    except OSError as error:
        raise PictureError(f"cannot be written: {error.strerror or error}") from error


def _fit(picture: Picture, codec: Codec, form: Format) -> tuple[Picture, tuple[str, ...]]:
    """The picture as the format holds it, in the colours of its profile, and what that cost."""
    metadata, notes = carried.fit(picture.metadata, codec)
    pixels, alpha, bits = _restore_tones(picture), picture.alpha, picture.depth
    icc = metadata.icc
    if icc and not _holds_profile(icc, form, grey=picture.grey):
        pixels, note = _without_profile(picture, pixels, icc)
        kind = "grey colour profile" if "icc" in form.holds and picture.grey else "colour profile"
        if note:
            notes = (*notes, f"the {kind} is not kept: {codec.title} files do not take it, {note}")
        metadata = replace(metadata, icc=None, colour_chunks=())
    if picture.exact_bits > form.depth:
        notes = (
            *notes,
            f"its {picture.exact_bits} bits per sample were rounded to {form.depth}: {codec.title} files hold no more",
        )
    if min(bits, form.depth) == 8:
        pixels, alpha = to_8_bit(pixels), None if alpha is None else to_8_bit(alpha)
    if alpha is not None and not form.alpha:
        if alpha.min() < full_scale(alpha):
            notes = (*notes, f"its transparency is not kept: {codec.title} files do not take it, it was laid on white")
        pixels, alpha = _on_white(pixels, alpha), None
    return Picture(pixels, alpha, metadata, picture.format, picture.lossless), notes


def _holds_profile(profile: bytes, form: Format, *, grey: bool) -> bool:
    if "icc" not in form.holds or (grey and form.grey and not form.grey_profile):
        return False
    return colour.profile_fits(profile, grey=grey and form.grey)


def _without_profile(picture: Picture, pixels: Pixels, profile: bytes) -> tuple[Pixels, str]:
    """The picture in sRGB, whose `pixels` have this profile, and the end of a note; empty where nothing changes."""
    became = "the picture became sRGB"
    if picture.grey:  # has no other primaries
        return picture.pixels, became if picture.toned else ""
    if colour.is_srgb(profile):
        return pixels, ""
    try:
        return colour.to_srgb(pixels, profile), became
    except ValueError:
        return pixels, "and this one is damaged"


def _restore_tones(picture: Picture) -> Pixels:
    curves = colour.tone_curves(picture.metadata.icc) if picture.toned and picture.metadata.icc else None
    return picture.pixels if curves is None else colour.take_srgb_tones(picture.pixels, curves)


def _on_white(pixels: Pixels, alpha: Pixels) -> Bytes:
    """Encoded 8-bit pixels blended with 255 by alpha, rounded, as viewers do it."""
    share = alpha.astype(np.uint16) if pixels.ndim == 2 else alpha.astype(np.uint16)[..., None]
    return ((pixels * share + (255 - share) * 255 + 127) // 255).astype(np.uint8)
