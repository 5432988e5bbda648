"""EXIF blocks, changed in place: only the orientation and the thumbnail differ afterwards.

A block is not parsed and written anew: maker notes hold offsets that would then point nowhere.
Layout: TIFF 6.0 and EXIF 2.32 (CIPA DC-008); a directory is a count, 12-byte entries and the next one's offset.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ORIENTATION = 0x0112
_RESOLUTION = 0x011A
_COLOUR_SPACE, _INTEROPERABILITY, _INDEX = 0xA001, 0xA005, 0x0001
_SRGB, _UNCALIBRATED = 1, 0xFFFF
_EXIF_DIRECTORY = 0x8769
_THUMBNAIL_START, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_SIZES = ((0x0100, 0x0101), (_RESOLUTION, 0x011B))
_INNER_SIZES = ((0xA002, 0xA003), (0xA20E, 0xA20F))
"""Pairs of horizontal and vertical tags, sizes and resolutions: of the file, and of the EXIF directory."""
_SHORT, _LONG = 3, 4
_PREFIX = b"Exif\0\0"


@dataclass(frozen=True)
class _Directory:
    entries: dict[int, int]
    """Tag -> offset of its 12-byte entry."""
    link: int
    """Offset of the 4 bytes that point at the next directory."""


def strip_prefix(block: bytes) -> bytes:
    """The block from its TIFF header on. JPEG puts `Exif` and two zero bytes before it, PNG and WebP should not."""
    return block[len(_PREFIX) :] if block.startswith(_PREFIX) else block


def with_prefix(block: bytes) -> bytes:
    """The block as Pillow's writers expect it."""
    return _PREFIX + block


def read_orientation(block: bytes) -> int:
    """The orientation tag, 1 to 8. A block without it, or that is damaged, counts as 1: upright."""
    try:
        order, first = _header(block)
        entry = _directory(block, order, first).entries.get(ORIENTATION)
        if entry is None:
            return 1
        value = _integer(block, order, entry)
    except (struct.error, ValueError):
        return 1
    return value if 1 <= value <= 8 else 1


def make_upright(block: bytes, *, transposed: bool) -> bytes:
    """The block for the turned picture: orientation 1 and no thumbnail, since that would show the old picture.

    Args:
        block: EXIF from its TIFF header on. A damaged one is returned unchanged.
        transposed: whether width and height changed places; the tags that name them, and resolutions, then do so too.
    """
    changed = bytearray(block)
    try:
        order, first = _header(block)
        main = _directory(block, order, first)
        if ORIENTATION in main.entries:
            entry = main.entries[ORIENTATION]
            struct.pack_into(f"{order}HIHH", changed, entry + 2, _SHORT, 1, 1, 0)
        if transposed:
            _swap(changed, main, _SIZES)
            if _EXIF_DIRECTORY in main.entries:
                inner = _directory(block, order, _integer(block, order, main.entries[_EXIF_DIRECTORY]))
                _swap(changed, inner, _INNER_SIZES)
    except (struct.error, ValueError):
        return bytes(changed)
    return _without_thumbnail(changed, order, main.link)


def has_resolution(block: bytes) -> bool:
    """Whether the block names a resolution."""
    try:
        order, first = _header(block)
        return _RESOLUTION in _directory(block, order, first).entries
    except (struct.error, ValueError):
        return False


def is_adobe_rgb(block: bytes) -> bool:
    """Whether the block names Adobe RGB: no colour space, and the index of DCF's option files (EXIF 2.32, 4.6.5)."""
    try:
        order, space, index = _colours(block)
        return _integer(block, order, space) == _UNCALIBRATED and block[index + 8 : index + 11] == b"R03"
    except (struct.error, ValueError, KeyError):
        return False


def name_srgb(block: bytes) -> bytes:
    """The block for a picture that became sRGB: where it names Adobe RGB, it names sRGB."""
    if not is_adobe_rgb(block):
        return block
    changed = bytearray(block)
    order, space, index = _colours(block)
    struct.pack_into(f"{order}HIHH", changed, space + 2, _SHORT, 1, _SRGB, 0)
    changed[index + 8 : index + 11] = b"R98"
    return bytes(changed)


def is_sound(block: bytes) -> bool:
    """Whether the block's first directory can be followed, so that it can be that of a TIFF file."""
    try:
        order, first = _header(block)
        return bool(_directory(block, order, first).entries)
    except (struct.error, ValueError):
        return False


def _header(block: bytes) -> tuple[str, int]:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        raise ValueError("not a TIFF header")
    return order, struct.unpack_from(f"{order}I", block, 4)[0]


def _directory(block: bytes, order: str, start: int) -> _Directory:
    (count,) = struct.unpack_from(f"{order}H", block, start)
    entries = {}
    for index in range(count):
        at = start + 2 + 12 * index
        struct.unpack_from(f"{order}HHII", block, at)  # the whole entry lies inside the block
        entries[struct.unpack_from(f"{order}H", block, at)[0]] = at
    return _Directory(entries, start + 2 + 12 * count)


def _colours(block: bytes) -> tuple[str, int, int]:
    """The byte order, and the entries of the colour space and of the interoperability index."""
    order, first = _header(block)
    main = _directory(block, order, first).entries
    inner = _directory(block, order, _integer(block, order, main[_EXIF_DIRECTORY])).entries
    beside = _directory(block, order, _integer(block, order, inner[_INTEROPERABILITY])).entries
    return order, inner[_COLOUR_SPACE], beside[_INDEX]


def _integer(block: bytes, order: str, entry: int) -> int:
    (kind,) = struct.unpack_from(f"{order}H", block, entry + 2)
    if kind not in (_SHORT, _LONG):
        raise ValueError("not an integer tag")
    value: int = struct.unpack_from(f"{order}{'H' if kind == _SHORT else 'I'}", block, entry + 8)[0]
    return value


def _swap(block: bytearray, directory: _Directory, pairs: tuple[tuple[int, int], ...]) -> None:
    for width, height in pairs:
        if width in directory.entries and height in directory.entries:
            w, h = directory.entries[width] + 2, directory.entries[height] + 2
            block[w : w + 10], block[h : h + 10] = block[h : h + 10], block[w : w + 10]


def _without_thumbnail(block: bytearray, order: str, link: int) -> bytes:
    try:
        (second,) = struct.unpack_from(f"{order}I", block, link)
        if second == 0:
            return bytes(block)
        struct.pack_into(f"{order}I", block, link, 0)
        entries = _directory(bytes(block), order, second).entries
        if _THUMBNAIL_START not in entries or _THUMBNAIL_LENGTH not in entries:
            return bytes(block)
        start = _integer(bytes(block), order, entries[_THUMBNAIL_START])
        end = start + _integer(bytes(block), order, entries[_THUMBNAIL_LENGTH])
    except (struct.error, ValueError):
        return bytes(block)
    if not 8 <= start < end <= len(block) or bytes(block[start : start + 2]) != b"\xff\xd8":
        return bytes(block)
    if end == len(block):
        return bytes(block[:start])
    block[start:end] = bytes(end - start)
    return bytes(block)
