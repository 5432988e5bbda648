"""Files, streams and bytes to pictures: the one door, behind which each format's codec decodes."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from undim.arrays import Pixels
from undim.errors import PictureError
from undim.images import carried, colour, formats, xmp
from undim.images.codec import CheckSize, Codec, Stored
from undim.images.exif import make_upright
from undim.images.formats import HEADER_BYTES, suffix_of
from undim.images.picture import Picture, to_16_bit, to_rgb

MAX_PIXELS = 200_000_000
"""Default limit of width times height, against files that unpack to more than fits in memory."""

_MOST_DPI = 1e5


def read_picture(
    source: str | os.PathLike[str] | bytes | BinaryIO,
    *,
    max_pixels: int = MAX_PIXELS,
    on_size: Callable[[int, int], None] = lambda _width, _height: None,
    suffix: str = "",
) -> Picture:
    """Read one picture by its content; the name decides nothing except for camera raw files.

    The EXIF orientation is applied to the pixels. 16 bits per sample stay, 9 to 15 become 16, and floating-point TIFFs
    from 0 to 1 do too. What becomes of colour profiles is said in `undim.images.colour`, of everything else that a file
    carries in `undim.images.carried`; `Picture.notes` names what is not there. Pixels that cannot be decoded are an
    error, but for a JPEG with a part damaged inside, which comes with a note.

    While a header is read, `PIL.Image.MAX_IMAGE_PIXELS` is None for the whole process, and then as it was before:
    what other threads open through Pillow in that moment is not limited.

    Args:
        source: a path, a file's content, or a binary stream.
        max_pixels: largest width times height, compared before anything is decoded.
        on_size: called with width and height before anything is decoded, perhaps more than once; may wait, or raise.
        suffix: of the name that content without a path had, lower case with its dot; "" if that is not known.

    Raises:
        PictureError: for a file that is missing, empty, truncated, damaged, over `max_pixels`, animated, of several
            pages, not a picture (code "not-a-picture"), or that another process changes meanwhile. The message is the
            reason without the name.

    Examples:
        >>> import io
        >>> from PIL import Image
        >>> from undim.images import read_picture
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (4, 2), (9, 8, 7)).save(file, "PNG")
        >>> _ = file.seek(0)
        >>> read_picture(file).pixels[0, 0].tolist()
        [9, 8, 7]
    """

    def check(size: tuple[int, int]) -> None:
        _check_size(size, max_pixels)
        on_size(*size)

    if isinstance(source, bytes):
        return _read_stream(io.BytesIO(source), suffix, check)
    if not isinstance(source, str | os.PathLike):
        return _read_stream(io.BytesIO(source.read()), suffix, check)
    try:
        with Path(source).open("rb") as stream:
            before = os.fstat(stream.fileno())
            regular = stat.S_ISREG(before.st_mode)
            try:
                return _read_stream(stream if regular else io.BytesIO(stream.read()), suffix_of(Path(source)), check)
            finally:
                after = os.fstat(stream.fileno())
                if regular and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                    raise PictureError("changed while it was read; try again when it is complete")
    except OSError as error:
        raise PictureError(f"cannot be opened: {error.strerror or error}") from error


def read_format(path: str | os.PathLike[str]) -> str | None:
    """Name of the format from a regular file's first bytes; None if it cannot be told or is not read."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return None
        with Path(path).open("rb") as stream:
            return format_of(stream.read(HEADER_BYTES), suffix_of(Path(path)))
    except OSError:
        return None


def format_of(header: bytes, suffix: str = "") -> str | None:
    """Name of the format that a content has whose first `HEADER_BYTES` are given; None as `read_format`."""
    codec = formats.codec_of(header[:HEADER_BYTES], suffix)
    return codec.name if codec is not None and codec.readable else None


def _read_stream(stream: BinaryIO, suffix: str, check_size: CheckSize) -> Picture:
    header = stream.read(HEADER_BYTES)
    if not header:
        raise PictureError("is empty (0 bytes)")
    codec = formats.codec_of(header, suffix)
    if codec is None:
        raise PictureError(f"is not a picture that Undim reads ({_readable(formats.CODECS)})", code="not-a-picture")
    try:
        return _finish(codec.decode(stream, check_size))
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError("does not fit in memory", code="out-of-memory") from error
    except Exception as error:  # on damaged files codecs raise almost every built-in exception
        reason = str(error).strip().splitlines()
        raise PictureError(f"is damaged or truncated: {reason[0] if reason else type(error).__name__}") from error


def _readable(codecs: tuple[Codec, ...]) -> str:
    titles = sorted((codec.title for codec in codecs if codec.readable), key=str.islower)  # names first
    return f"{', '.join(titles[:-1])} or {titles[-1]}"


def _finish(stored: Stored) -> Picture:
    """Turn a stored picture upright and give it colours that a network can take."""
    picture, turn = stored.picture, 1 if stored.turned else stored.orientation
    icc = picture.metadata.icc
    if stored.palette and icc and colour.profile_fits(icc, grey=False):
        picture = replace(picture, pixels=to_rgb(picture.pixels))
    meta, notes = picture.metadata, (*picture.notes, *carried.notes_on(stored.lost))
    if meta.icc and not colour.profile_fits(meta.icc, grey=picture.grey):
        if not colour.is_cmyk(meta.icc):
            notes = (*notes, "the colour profile is not kept: it is for another colour model")
        meta = replace(meta, icc=None, colour_chunks=())
    pixels = turn_upright(picture.pixels, turn)
    alpha = None if picture.alpha is None else turn_upright(picture.alpha, turn)
    curves = colour.tone_curves(meta.icc) if meta.icc else None
    if curves is not None:
        pixels, alpha = colour.give_srgb_tones(pixels, curves), None if alpha is None else to_16_bit(alpha)
    transposed = stored.orientation >= 5
    meta = replace(
        meta,
        exif=make_upright(meta.exif, transposed=transposed) if meta.exif else None,
        xmp=xmp.make_upright(meta.xmp) if meta.xmp and stored.orientation != 1 else meta.xmp,
        dpi=_resolution(meta.dpi, _MOST_DPI, transposed=transposed),
        aspect=_resolution(meta.aspect, 2**32, transposed=transposed),
    )
    return replace(
        picture,
        pixels=pixels,
        alpha=alpha,
        metadata=meta,
        notes=notes,
        toned=curves is not None,
        bits=picture.exact_bits,
    )


def _resolution(dots: tuple[float, float] | None, most: float, *, transposed: bool) -> tuple[float, float] | None:
    """Of the upright picture; None for numbers that mean nothing."""
    if dots is None or not all(0 < value < most for value in dots):
        return None
    return dots[::-1] if transposed else dots


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation, 1 to 8, to H x W or H x W x C pixels: row 0 becomes the visual top."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PictureError(
            f"has {width} x {height} = {width * height} pixels, more than the limit max_pixels of {max_pixels}",
            code="too-large",
        )
    if width * height == 0:
        raise PictureError(f"has no pixels ({width} x {height})")
