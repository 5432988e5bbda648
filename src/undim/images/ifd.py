"""Image file directories (TIFF 6.0, section 2): the tags of TIFF files and of EXIF blocks, as raw bytes.

A directory is a count, entries of 12 bytes (20 in BigTIFF) and the offset of the next one. Values are kept in the
byte order of their file, so that what is not understood can be copied as it is.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
_LETTERS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d"}
_LETTERS |= {13: "I", 16: "Q", 17: "q", 18: "Q"}
"""Types of values as `struct` writes them; 2 is text, 13 the offset of a directory, 16 to 18 are BigTIFF's."""
SIZES = {kind: struct.calcsize(f"={letters}") for kind, letters in _LETTERS.items()}
"""Bytes of one value of each type."""

_MOST_ENTRIES, _MOST_PAGES = 4096, 10_000
_MOST_BYTES = 1 << 28
"""Of one tag's values: a picture's list of strips, a profile or a packet of XMP is far smaller."""


@dataclass(frozen=True)
class Entry:
    """The values of one tag."""

    kind: int
    """Type: 1 to 13, or 16 to 18."""
    count: int
    data: bytes
    """As they stand in the file, without filling."""
    offset: int = 0
    """Where they stand; 0 for those inside the directory itself."""

    def numbers(self, order: str) -> tuple[float, ...]:
        """Integers, floats, or fractions as floats (NaN for one over 0); of text and bytes, the bytes."""
        letters = _LETTERS[self.kind]
        if letters == "s":
            return tuple(self.data)
        values = struct.unpack(f"{order}{self.count * len(letters)}{letters[0]}", self.data)
        if len(letters) == 1:
            return values
        pairs = zip(values[::2], values[1::2], strict=True)
        return tuple(above / below if below else float("nan") for above, below in pairs)


@dataclass(frozen=True)
class Directory:
    """One directory of a file or block."""

    order: str
    """`<` for little-endian (II), `>` for big-endian (MM)."""
    entries: Mapping[int, Entry]
    next: int = 0
    """Offset of the next directory, 0 for none."""
    offset: int = 0
    """Where it stands."""

    def __contains__(self, tag: int) -> bool:
        return tag in self.entries

    def data(self, tag: int) -> bytes:
        """The bytes of a tag; empty where it is not there."""
        entry = self.entries.get(tag)
        return b"" if entry is None else entry.data

    def integers(self, tag: int, *missing: int) -> tuple[int, ...]:
        """The integers of a tag; `missing` where it is not there or holds something else."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in (1, 3, 4, 6, 8, 9, 13, 16, 17, 18) or not entry.count:
            return missing
        return tuple(int(number) for number in entry.numbers(self.order))

    def integer(self, tag: int, missing: int) -> int:
        """The first integer of a tag; `missing` as above."""
        return self.integers(tag, missing)[0]

    def numbers(self, tag: int) -> tuple[float, ...]:
        """The numbers of a tag; none where it is not there."""
        entry = self.entries.get(tag)
        return () if entry is None or entry.kind in (ASCII, UNDEFINED) else entry.numbers(self.order)


@dataclass(frozen=True)
class Header:
    """What a TIFF file or EXIF block begins with."""

    order: str
    big: bool
    """BigTIFF: offsets of 8 bytes."""
    first: int
    """Offset of the first directory."""


def read_header(start: bytes) -> Header:
    """From the first 8 bytes, or 16 of BigTIFF.

    Raises:
        ValueError: if they are not a TIFF's.
        struct.error: if there are too few.
    """
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    version = struct.unpack_from(f"{order or '<'}H", start, 2)[0]
    if order is None or version not in (42, 43):
        raise ValueError("not a TIFF header")
    big = version == 43
    return Header(order, big, struct.unpack_from(order + ("Q" if big else "I"), start, 8 if big else 4)[0])


def read_directory(stream: BinaryIO, header: Header, start: int) -> Directory:
    """The directory at an offset of a seekable stream.

    An entry of an unknown type, or whose values lie outside the file, is left out.

    Raises:
        ValueError: if the directory itself is cut off, or too long.
    """
    end = stream.seek(0, os.SEEK_END)
    order = header.order
    count_format, entry_format, offset = ("Q", "HHQ8s", "Q") if header.big else ("H", "HHI4s", "I")
    stream.seek(start)
    head = stream.read(struct.calcsize(f"={count_format}"))
    size, link = struct.calcsize(f"={entry_format}"), struct.calcsize(f"={offset}")
    if not 8 <= start < end or len(head) < struct.calcsize(f"={count_format}"):
        raise ValueError("it has no page: the list of its tags lies behind its end")
    (count,) = struct.unpack(order + count_format, head)
    body = stream.read(min(count, _MOST_ENTRIES) * size + link)
    if count > _MOST_ENTRIES or len(body) < count * size:
        raise ValueError("the list of its tags is cut off")
    entries: dict[int, Entry] = {}
    for at in range(0, count * size, size):
        tag, kind, number, inline = struct.unpack_from(order + entry_format, body, at)
        length = SIZES.get(kind, 0) * number
        if not length:
            continue
        data, where = inline[:length], 0
        if length > len(inline):
            (where,) = struct.unpack(order + offset, inline)
            if length > _MOST_BYTES or where + length > end:
                continue
            stream.seek(where)
            data = stream.read(length)
        entries.setdefault(tag, Entry(kind, number, data, where))
    tail = body[count * size :]
    following = struct.unpack(order + offset, tail)[0] if len(tail) == link else 0
    return Directory(order, entries, following, start)


def read_directories(stream: BinaryIO) -> tuple[Header, list[Directory]]:
    """The header and all pages' directories, the first one first; a damaged later one ends the list.

    Raises:
        ValueError: if there is no first one.
        struct.error: if the header is cut off.
    """
    stream.seek(0)
    header = read_header(stream.read(16).ljust(8, b"\0"))
    at, seen, pages = header.first, set[int](), list[Directory]()
    while at and at not in seen and len(pages) < _MOST_PAGES:
        seen.add(at)
        try:
            page = read_directory(stream, header, at)
        except ValueError:
            if not pages:
                raise
            break
        pages.append(page)
        at = page.next
    if not pages:
        raise ValueError("it has no page")
    return header, pages


def pack_directory(
    order: str, entries: Mapping[int, Entry], start: int, placed: Mapping[int, int] | None = None
) -> bytes:
    """A classic directory without a next one, to stand at the even offset `start`, with its longer values behind it.

    Args:
        order: `<` or `>`, that of the entries' data.
        entries: by tag.
        start: where it will stand in its file.
        placed: offsets of longer values that stand elsewhere in the file already, by tag.
    """
    table, values = struct.pack(f"{order}H", len(entries)), b""
    behind = start + 2 + 12 * len(entries) + 4
    placed = placed or {}
    for tag, entry in sorted(entries.items()):
        inline = entry.data.ljust(4, b"\0")
        if len(entry.data) > 4 and tag in placed:
            inline = struct.pack(f"{order}I", placed[tag])
        elif len(entry.data) > 4:
            inline = struct.pack(f"{order}I", behind + len(values))
            values += entry.data + bytes(len(entry.data) % 2)
        table += struct.pack(f"{order}HHI4s", tag, entry.kind, entry.count, inline)
    return table + bytes(4) + values


def reordered(entry: Entry, old: str, new: str) -> Entry:
    """An entry with its values in another byte order."""
    letters = _LETTERS[entry.kind]
    if old == new or letters in "sBb":
        return entry
    shape = f"{entry.count * len(letters)}{letters[0]}"
    return Entry(entry.kind, entry.count, struct.pack(new + shape, *struct.unpack(old + shape, entry.data)))


def shorts(order: str, *values: int) -> Entry:
    """An entry of 16-bit integers."""
    return Entry(SHORT, len(values), struct.pack(f"{order}{len(values)}H", *values))


def longs(order: str, *values: int) -> Entry:
    """An entry of 32-bit integers."""
    return Entry(LONG, len(values), struct.pack(f"{order}{len(values)}I", *values))


def rational(order: str, value: float) -> Entry:
    """An entry of one positive fraction."""
    closest = Fraction(value).limit_denominator(max(1, (1 << 31) // (int(value) + 1)))
    return Entry(RATIONAL, 1, struct.pack(f"{order}II", closest.numerator, closest.denominator))


def octets(data: bytes, kind: int = UNDEFINED) -> Entry:
    """An entry of bytes."""
    return Entry(kind, len(data), data)
