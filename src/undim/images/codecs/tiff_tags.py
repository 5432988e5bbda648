"""The tags of a TIFF page besides those of its pixels: read into metadata, and written from it."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import BinaryIO

from undim.images import ifd, photoshop, xmp
from undim.images.exif import ORIENTATION, is_sound
from undim.images.picture import Metadata

SUBFILE, SUB_DIRECTORIES, DNG_VERSION = 254, 330, 0xC612
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 282, 283, 296
_PER_INCH = {2: 1.0, 3: 2.54}
_XMP, _IPTC, _PHOTOSHOP, _ICC, LAYERS = 700, 33723, 34377, 34675, 37724
EXIF_DIRECTORY, _GPS_DIRECTORY, _INTEROP_DIRECTORY = 34665, 34853, 40965
_MAKER_NOTE = 37500
_DESCRIBING = (
    *(270, 271, 272, 305, 306, 315, 316, 0x4746, 0x4749, 33432),
    *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F, 0xC4A5),
)
"""From the description to the copyright, and Windows' title to subject: what an EXIF block has too."""
_GEOGRAPHY = (33550, 33920, 33922, 34264, 34735, 34736, 34737, 50844)
"""GeoTIFF 1.1: scale, tie points, transformation, keys; and the coefficients of RPC."""
GDAL = (42112, 42113)
"""Statistics and the value of pixels without data: of the pixels as they were."""
_STORAGE = frozenset(
    (
        *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281, 284, 288, 289, 290),
        *(291, 292, 293, 297, 317, 320, 321, 322, 323, 324, 325, 326, 327, 328, 330, 332, 333, 334, 336, 337, 338, 339),
        *(340, 341, 342, 343, 344, 345, 346, 347, 351, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),
        *(559, 32932, 32995, 32996, 32997, 32998, 33421, 33422, 34016, 50674, 50838, 50839),
    )
)
"""Tags that say how the pixels lie in the file, or which pixels they are; those of another file would mislead.

The last two are ImageJ's, whose lengths belong to a stack of pages.
"""
_FARTHEST = 64_000
"""How far a maker note may stand in a block that a JPEG segment is to hold."""


def read_metadata(stream: BinaryIO, header: ifd.Header, page: ifd.Directory) -> Metadata:
    """What travels with the pixels, of the picture as it is stored."""
    resources = page.data(_PHOTOSHOP)
    if page.data(_IPTC) and not photoshop.iptc_of(resources):
        resources += photoshop.of_iptc(page.data(_IPTC))
    known = {*_STORAGE, *_DESCRIBING, *_GEOGRAPHY, *GDAL, _X_RESOLUTION, _Y_RESOLUTION, _UNIT}
    dpi, unitless = _read_resolution(page)
    square = unitless is not None and unitless[0] == unitless[1]
    if square:  # a scale that other tags tell the unit of, as ImageJ's do
        known -= {_X_RESOLUTION, _Y_RESOLUTION, _UNIT}
    known |= {_XMP, _IPTC, _PHOTOSHOP, _ICC, LAYERS, EXIF_DIRECTORY, _GPS_DIRECTORY, _INTEROP_DIRECTORY}
    return Metadata(
        exif=read_exif(stream, header, page),
        icc=page.data(_ICC) or None,
        xmp=xmp.without_pointers(page.data(_XMP)).rstrip(b"\0") or None,
        dpi=dpi,
        aspect=None if square else unitless,
        photoshop=photoshop.without_thumbnails(resources),
        geography=_part(page, {tag for tag in page.entries if tag in _GEOGRAPHY}),
        tags=_part(page, {tag for tag in page.entries if tag not in known}),
    )


def read_exif(stream: BinaryIO, header: ifd.Header, page: ifd.Directory) -> bytes | None:
    """What of a page describes the picture, as an EXIF block in the byte order of the file; None if nothing does.

    A maker note keeps its place, if a JPEG segment reaches so far: many hold offsets from the start of the file.
    """
    main = {tag: entry for tag, entry in page.entries.items() if tag in _DESCRIBING}
    inner, gps, interop = (dict[int, ifd.Entry](), dict[int, ifd.Entry](), dict[int, ifd.Entry]())
    with suppress(ValueError):
        if EXIF_DIRECTORY in page:
            exif = ifd.read_directory(stream, header, page.integer(EXIF_DIRECTORY, 0))
            inner = dict(exif.entries)
            if _INTEROP_DIRECTORY in exif:
                interop = dict(ifd.read_directory(stream, header, exif.integer(_INTEROP_DIRECTORY, 0)).entries)
                del inner[_INTEROP_DIRECTORY]
    with suppress(ValueError):
        if _GPS_DIRECTORY in page:
            gps = dict(ifd.read_directory(stream, header, page.integer(_GPS_DIRECTORY, 0)).entries)
    if not main and not inner and not gps:
        return None
    order, block, placed = page.order, bytearray(8), dict[int, int]()
    note = inner.get(_MAKER_NOTE)
    if note is not None and note.offset >= 8 and note.offset + len(note.data) <= _FARTHEST:
        block += bytes(note.offset - len(block)) + note.data
        placed[_MAKER_NOTE] = note.offset
    for entries, parent, tag in (
        (interop, inner, _INTEROP_DIRECTORY),
        (inner, main, EXIF_DIRECTORY),
        (gps, main, _GPS_DIRECTORY),
    ):
        if entries:
            parent[tag] = ifd.longs(order, _append(block, order, entries, placed))
    start = _append(block, order, main, {})
    block[:8] = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return bytes(block)


def _append(block: bytearray, order: str, entries: Mapping[int, ifd.Entry], placed: Mapping[int, int]) -> int:
    """A directory at the end of the block; its offset. Types that only BigTIFF knows are left out."""
    block += bytes(len(block) % 2)
    start = len(block)
    classic = {tag: entry for tag, entry in entries.items() if entry.kind <= 13}
    block += ifd.pack_directory(order, classic, start, placed)
    return start


def _read_resolution(page: ifd.Directory) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Dots per inch; and the resolution where it has no unit, but for 1 x 1, which says nothing."""
    across, down = page.numbers(_X_RESOLUTION), page.numbers(_Y_RESOLUTION)
    if not across or not down:
        return None, None
    per_inch = _PER_INCH.get(page.integer(_UNIT, 2))
    if per_inch is not None:
        return (across[0] * per_inch, down[0] * per_inch), None
    return None, (across[0], down[0]) if (across[0], down[0]) != (1, 1) else None


def _part(page: ifd.Directory, tags: set[int]) -> ifd.Directory | None:
    """The entries of these tags that a classic TIFF holds and that point nowhere."""
    entries = {tag: page.entries[tag] for tag in tags if page.entries[tag].kind <= 12}
    return ifd.Directory(page.order, entries) if entries else None


def write_tags(metadata: Metadata) -> tuple[str, bytes, dict[int, ifd.Entry], dict[int, int]]:
    """What a TIFF file begins with, and the tags of its directory besides those of its pixels.

    An EXIF block is a TIFF file without pixels: it becomes the beginning of the file as it is, and only its first
    directory is written anew, so that every offset in it stays true.

    Returns:
        The byte order, the bytes that begin the file, whose offset of the first directory is to be set, the tags, and
        the offsets of those whose values are in these bytes.
    """
    order, block, tags, placed = "<", b"II*\0" + bytes(4), dict[int, ifd.Entry](), dict[int, int]()
    if metadata.exif and is_sound(metadata.exif):
        block = metadata.exif
        header = ifd.read_header(block)
        order = header.order
        main = ifd.read_directory(io.BytesIO(block), header, header.first)
        tags = {tag: entry for tag, entry in main.entries.items() if tag not in (_STORAGE - {ORIENTATION})}
        placed = {tag: entry.offset for tag, entry in tags.items() if entry.offset}
    for part in (metadata.geography, metadata.tags):
        if part is not None:
            for tag, entry in part.entries.items():
                tags[tag] = ifd.reordered(entry, part.order, order)
                placed.pop(tag, None)
    resolution = metadata.dpi or metadata.aspect
    if resolution:
        for tag, dots in zip((_X_RESOLUTION, _Y_RESOLUTION), resolution, strict=True):
            tags[tag] = ifd.rational(order, dots)
            placed.pop(tag, None)
        tags[_UNIT] = ifd.shorts(order, 2 if metadata.dpi else 1)
    iptc = photoshop.iptc_of(metadata.photoshop)
    for tag, data, kind in (
        (_XMP, metadata.xmp, ifd.BYTE),
        (_ICC, metadata.icc, ifd.UNDEFINED),
        (_PHOTOSHOP, metadata.photoshop, ifd.BYTE),
        (_IPTC, iptc, ifd.UNDEFINED),
    ):
        if data:
            tags[tag] = ifd.octets(data, kind)
            placed.pop(tag, None)
    return order, block, tags, placed
