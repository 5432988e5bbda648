"""TIFF (TIFF 6.0, BigTIFF): one page of grey, RGB, palette or CMYK of 1 to 16 bits or floating point."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from typing import BinaryIO

import numpy as np

from undim.arrays import Pixels
from undim.errors import PictureError
from undim.images import ifd
from undim.images.codec import CheckSize, Codec, Format, Stored
from undim.images.codecs import pillow, tiff_blocks
from undim.images.codecs.camera_raw import decode_raw
from undim.images.codecs.tiff_blocks import FLOATING, Layout, Samples
from undim.images.codecs.tiff_tags import (
    DNG_VERSION,
    EXIF_DIRECTORY,
    GDAL,
    LAYERS,
    SUB_DIRECTORIES,
    SUBFILE,
    read_metadata,
    write_tags,
)
from undim.images.colour import from_cmyk, named_by_exif
from undim.images.exif import ORIENTATION, is_sound
from undim.images.picture import Metadata, Picture, divide_by_alpha, full_scale, join_channels, scale

_EXTRA, _INK_SET, _COLOUR_MAP, _DEPTH = 338, 332, 320, 32997
_COEFFICIENTS, _SUBSAMPLING, _REFERENCES = 529, 530, 532
_MAKER = 271
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType: a smaller copy of another page, and a transparency mask."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _MASK_COLOURS, _CMYK, _YCBCR = range(7)
_SENSOR = (32803, 34892)
"""Photometric interpretations of camera raw files: cells of a sensor, and its linear light."""
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _MASK_COLOURS: 1, _CMYK: 4, _YCBCR: 3}
_OTHER_COLOURS = {8: "CIELAB", 9: "CIELAB", 10: "CIELAB", 32844: "LogLuv", 32845: "LogLuv", 51177: "depth map"}
_CONVERTED = (7, 33003, 34712, 34927, 50001)
"""Compressions whose decoders give RGB for YCbCr."""
_PILLOWS = (2, 3, 4, 6, 32766, 32809)
"""Compressions of one bit per pixel, and two old ones, that libtiff reads by pages alone."""
_ASSOCIATED, _UNASSOCIATED = 1, 2
_STRIP = 1 << 18
"""Bytes of pixels that are compressed together."""
_LARGEST = 2**32 - 2**24


class Tiff(Codec):
    """TIFF files; those that are camera raw files by their tags are developed."""

    name, title, suffixes = "tif", "TIFF", (".tif", ".tiff")
    writes = Format(
        holds=frozenset(("exif", "icc", "xmp", "dpi", "photoshop", "geography", "tags", "aspect")),
        depth=16,
    )

    def sniff(self, header: bytes, suffix: str) -> bool:
        """The byte order and a version number."""
        return header[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """The one page that is neither a smaller copy nor a mask."""
        header, pages = ifd.read_directories(stream)
        page, lost = _choose(pages)
        if _is_camera_raw(stream, header, page):
            return decode_raw(stream, check_size)
        check_size((page.integer(tiff_blocks.WIDTH, 0), page.integer(tiff_blocks.HEIGHT, 0)))
        layout = tiff_blocks.read_layout(page)
        if page.integer(_DEPTH, 1) > 1:
            raise PictureError(f"has {page.integer(_DEPTH, 1)} layers in depth; split it and enhance them one by one")
        if layout.photometric in _OTHER_COLOURS:
            raise PictureError(
                f"has {_OTHER_COLOURS[layout.photometric]} colours, which are not read; convert it to RGB first"
            )
        if layout.compression == 1 and _is_read_by_page(page, layout):
            raise PictureError(
                "has YCbCr colours at less than full size without compression, which is not read; "
                "save it with deflate or LZW compression first"
            )
        tiff_blocks.check_places(layout, stream.seek(0, os.SEEK_END))
        metadata = read_metadata(stream, header, page)
        pixels, alpha, notes, more = _pixels(stream, page, layout, metadata.icc, single=len(pages) == 1)
        turn = page.integer(ORIENTATION, 1)
        turn = turn if turn in range(1, 9) else 1
        turned = _is_read_by_page(page, layout)
        bits = layout.bits if layout.kind != FLOATING and 8 < layout.bits < 16 else None
        if turn != 1 and metadata.geography is not None:
            metadata, more = replace(metadata, geography=None), (*more, "orientation")
        if SUB_DIRECTORIES in page:
            lost = (*lost, "copies")
        lost = (*lost, *more, *(("layers",) if LAYERS in page else ()), *_gdal(page))
        if pixels.ndim == 3 and layout.photometric != _CMYK:
            metadata = named_by_exif(metadata)
        picture = Picture(pixels, alpha, metadata, self.name, notes=notes, bits=bits)
        return Stored(picture, turn, turned, layout.photometric == _PALETTE, lost)

    def encode(self, picture: Picture, stream: BinaryIO, quality: int | None) -> None:
        """Strips of deflated horizontal differences (TIFF 6.0, section 14), of the bits that the pixels have."""
        samples = join_channels(picture.pixels, picture.alpha)
        height, width, channels = samples.shape
        order, block, tags, placed = write_tags(picture.metadata)
        rows = max(1, _STRIP // (width * channels * samples.itemsize))
        strips = list(_deflate(samples, rows, order))
        lengths = [len(strip) for strip in strips]
        tags |= {
            tiff_blocks.WIDTH: ifd.longs(order, width),
            tiff_blocks.HEIGHT: ifd.longs(order, height),
            tiff_blocks.BITS: ifd.shorts(order, *(8 * samples.itemsize,) * channels),
            tiff_blocks.COMPRESSION: ifd.shorts(order, 8),
            tiff_blocks.PHOTOMETRIC: ifd.shorts(order, _BLACK_IS_ZERO if picture.grey else _RGB),
            tiff_blocks.SAMPLES: ifd.shorts(order, channels),
            tiff_blocks.ROWS: ifd.longs(order, rows),
            tiff_blocks.PLANAR: ifd.shorts(order, 1),
            tiff_blocks.PREDICTOR: ifd.shorts(order, 2),
            tiff_blocks.STRIPS: ifd.longs(order, *lengths),
            tiff_blocks.STRIP_BYTES: ifd.longs(order, *lengths),
        }
        if picture.alpha is not None:
            tags[_EXTRA] = ifd.shorts(order, _UNASSOCIATED)
        placed = {tag: offset for tag, offset in placed.items() if tag in tags and tags[tag].offset == offset}
        start = len(block) + len(block) % 2
        behind = start + len(ifd.pack_directory(order, tags, start, placed))
        if behind + sum(lengths) > _LARGEST:
            raise ValueError("it is over 4 GB; choose PNG")
        tags[tiff_blocks.STRIPS] = ifd.longs(order, *accumulate(lengths[:-1], initial=behind))
        stream.write(block[:4] + struct.pack(f"{order}I", start) + block[8:] + bytes(len(block) % 2))
        stream.write(ifd.pack_directory(order, tags, start, placed))
        stream.writelines(strips)

    def fit(self, metadata: Metadata) -> tuple[Metadata, tuple[str, ...]]:
        """EXIF becomes tags, which a damaged block cannot."""
        if metadata.exif and not is_sound(metadata.exif):
            return replace(metadata, exif=None), ("the EXIF data are damaged and not kept",)
        return metadata, ()


def _choose(pages: list[ifd.Directory]) -> tuple[ifd.Directory, tuple[str, ...]]:
    """The one page that is a picture of its own, and what else there is."""
    if len(pages) == 1:
        return pages[0], ()
    kinds = [page.integer(SUBFILE, 0) for page in pages]
    whole = [page for page, kind in zip(pages, kinds, strict=True) if not kind & (_REDUCED | _MASK)]
    if len(whole) > 1:
        raise PictureError(f"has {len(whole)} pages; split it and enhance the pages one by one")
    mask = ("mask",) if any(kind & _MASK for kind in kinds) else ()
    copies = ("copies",) if sum(bool(kind & _REDUCED) for kind in kinds) > (not whole) else ()
    return (whole or pages)[0], (*copies, *mask)


def _is_camera_raw(stream: BinaryIO, header: ifd.Header, page: ifd.Directory) -> bool:
    """Whether the page or a directory below it holds a sensor's cells, or a raw file's number is there.

    Most raw files begin with a small page and have the sensor's in sub-directories.
    """
    if DNG_VERSION in page or page.integer(tiff_blocks.PHOTOMETRIC, 1) in _SENSOR:
        return True
    for offset in page.integers(SUB_DIRECTORIES)[:16]:
        try:
            below = ifd.read_directory(stream, header, offset)
        except ValueError:
            continue
        if below.integer(tiff_blocks.PHOTOMETRIC, 1) in _SENSOR:
            return True
    # Some makers' sensors have no number of their own; their small page is marked, and names the camera.
    small = bool(page.integer(SUBFILE, 0) & _REDUCED) and SUB_DIRECTORIES in page
    return small and _MAKER in page and EXIF_DIRECTORY in page


def _gdal(page: ifd.Directory) -> tuple[str, ...]:
    return ("gdal",) if any(tag in page for tag in GDAL) else ()


def _pixels(
    stream: BinaryIO, page: ifd.Directory, layout: Layout, profile: bytes | None, *, single: bool
) -> tuple[Pixels, Pixels | None, tuple[str, ...], tuple[str, ...]]:
    """Pixels, alpha, notes, and rows of what is lost."""
    if _is_read_by_page(page, layout):
        return _by_pages(stream, layout, single=single)
    colours = _COLOURS.get(layout.photometric)
    if colours is None:
        raise PictureError(f"has photometric interpretation {layout.photometric}, which is not read; convert it to RGB")
    if layout.samples < colours:
        raise PictureError(f"is damaged: it names {layout.samples} of {colours} samples per pixel")
    if layout.photometric == _CMYK and page.integer(_INK_SET, 1) != 1:
        raise PictureError("has inks that are not those of CMYK, which are not read; convert it to RGB")
    extra = page.integers(_EXTRA)
    kind = extra[0] if extra and layout.samples > colours else 0
    alpha_there = kind in (_ASSOCIATED, _UNASSOCIATED)
    wanted = colours + alpha_there
    samples = tiff_blocks.read_samples(stream, layout, wanted)
    notes: tuple[str, ...] = ()
    if layout.kind == FLOATING:
        samples, notes = _from_float(samples), ("floating point was rounded to 16 bits per sample",)
    deep = layout.kind == FLOATING or layout.bits > 8
    top = 65535 if layout.kind == FLOATING else 2**layout.bits - 1
    alpha = _scaled(samples[..., colours], top, deep=deep) if alpha_there else None
    if layout.photometric == _PALETTE:
        pixels = _from_palette(samples[..., 0], page, layout)
        alpha = None if alpha is None else _scaled(alpha, full_scale(alpha), deep=False)
    else:
        pixels, more = _from_colours(_scaled(samples[..., :colours], top, deep=deep), page, layout, profile)
        notes = (*notes, *more)
    if kind == _ASSOCIATED and alpha is not None and layout.photometric != _CMYK:
        pixels = divide_by_alpha(pixels, alpha)
    return pixels, alpha, notes, ("samples",) if layout.samples > wanted else ()


def _from_colours(
    samples: Pixels, page: ifd.Directory, layout: Layout, profile: bytes | None
) -> tuple[Pixels, tuple[str, ...]]:
    """Pixels of samples over the whole range of their type."""
    if layout.photometric == _CMYK:
        return from_cmyk(samples, profile)
    if layout.photometric == _YCBCR and layout.compression not in _CONVERTED:
        return _from_ycbcr(samples, page, 2**layout.bits - 1), ()
    pixels = np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    # A pixel of 1 bit in a mask is 1 inside it, as in black is zero.
    return (full_scale(pixels) - pixels if layout.photometric == _WHITE_IS_ZERO else pixels), ()


def _scaled(samples: Samples, top: int, *, deep: bool) -> Pixels:
    target = 65535 if deep else 255
    if top == target:
        return np.ascontiguousarray(samples, samples.dtype.newbyteorder("="))
    return scale(samples, top, target)


def _from_palette(indexes: Samples, page: ifd.Directory, layout: Layout) -> Pixels:
    count = 2**layout.bits
    values = np.array(page.integers(_COLOUR_MAP), np.uint16)
    if len(values) != 3 * count or layout.kind == FLOATING:
        raise PictureError(f"is damaged: its palette has {len(values)} of {3 * count} values")
    colours = values.reshape(3, count).T
    # Some writers leave the values of 8 bits as they are.
    palette = colours.astype(np.uint8) if values.max() < 256 else (colours >> 8).astype(np.uint8)
    if (palette == palette[:, :1]).all():
        palette = np.ascontiguousarray(palette[:, 0])
    return palette[indexes]


def _from_float(samples: Samples) -> Pixels:
    finite = np.isfinite(samples)
    if not finite.all():
        bad = samples.size - np.count_nonzero(finite)
        raise PictureError(f"has {bad} values that are not finite (NaN or infinite); replace them first")
    low, high = samples.min(), samples.max()
    if low < 0 or high > 1:
        raise PictureError(f"has floating-point values from {low:g} to {high:g}; only 0 to 1 is read: scale them first")
    rounded: Pixels = np.rint(samples * samples.dtype.type(65535)).astype(np.uint16)
    return rounded


def _is_read_by_page(page: ifd.Directory, layout: Layout) -> bool:
    """Whether it takes libtiff's way of reading a whole page, as colours at less than full size do."""
    stored = layout.photometric == _YCBCR and layout.compression not in _CONVERTED
    return layout.compression in _PILLOWS or (stored and page.integers(_SUBSAMPLING, 2, 2) != (1, 1))


def _from_ycbcr(samples: Pixels, page: ifd.Directory, most: int) -> Pixels:
    """As TIFF 6.0 (sections 20 and 21) says, by the file's coefficients of luma and its values of black and white.

    Where it names none, they are those of Rec. 601 and the whole range.

    Args:
        samples: H x W x 3 of luma, blue and red, over the whole range of their type.
        page: whose tags they are.
        most: largest value of a sample in the file.
    """
    middle = (most + 1) // 2
    weights = page.numbers(_COEFFICIENTS) or (0.299, 0.587, 0.114)
    ends = page.numbers(_REFERENCES) or (0, most, middle, most, middle, most)
    if len(weights) != 3 or len(ends) != 6 or not np.isfinite((*weights, *ends)).all():
        raise PictureError("is damaged: what names its YCbCr colours means nothing")
    spans = [white - black for black, white in zip(ends[::2], ends[1::2], strict=True)]
    if min(weights) <= 0 or min(spans) <= 0:
        raise PictureError("is damaged: what names its YCbCr colours means nothing")
    ranges = (most, most // 2, most // 2)
    stored = samples * (most / full_scale(samples))
    luma, blue, red = (
        (stored[..., index] - ends[2 * index]) * (ranges[index] / spans[index] / most) for index in range(3)
    )
    red, blue = luma + (2 - 2 * weights[0]) * red, luma + (2 - 2 * weights[2]) * blue
    green = (luma - weights[0] * red - weights[2] * blue) / weights[1]
    rgb = np.stack((red, green, blue), axis=-1).clip(0, 1)
    pixels: Pixels = np.rint(rgb * full_scale(samples)).astype(samples.dtype)
    return pixels


def _by_pages(
    stream: BinaryIO, layout: Layout, *, single: bool
) -> tuple[Pixels, Pixels | None, tuple[str, ...], tuple[str, ...]]:
    """Through Pillow's libtiff as a whole, turned upright."""
    name = tiff_blocks.NAMES.get(layout.compression, str(layout.compression))
    if not single:
        raise PictureError(f"has several pages compressed by {name}, which are not read; save the one page alone")
    pixels, alpha = pillow.decode_turned_tiff(stream)
    return pixels, alpha, (), ()


def _deflate(samples: Pixels, rows: int, order: str) -> Iterator[bytes]:
    for top in range(0, len(samples), rows):
        strip = samples[top : top + rows].copy()
        strip[:, 1:] -= samples[top : top + rows, :-1]
        stored = strip.astype(f"{order}u{strip.itemsize}", copy=False)
        yield zlib.compress(stored.tobytes(), 6)
