"""The boxes that AVIF and HEIC files are made of (ISO/IEC 14496-12 and 23008-12), as far as their names tell."""

from __future__ import annotations

import struct
from typing import BinaryIO

_PROPERTIES = 1 << 18
"""Bytes at the start of a file that hold its properties."""
HEVC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
RAW_BRAND = b"crx "


def brands(header: bytes) -> set[bytes]:
    """Of the box that begins the file: its own brand, a version, then brands it is compatible with."""
    if header[4:8] != b"ftyp":
        return set()
    listed = header[8 : min(int.from_bytes(header[:4]), len(header))]
    return {listed[at : at + 4] for at in range(0, len(listed) - 3, 4)}


def read_properties(stream: BinaryIO) -> bytes:
    """The start of the file, in which its properties stand."""
    stream.seek(0)
    return stream.read(_PROPERTIES)


def is_deep(start: bytes) -> bool:
    """Whether an AVIF file has more than 8 bits per sample: `av1C` says so in its third byte (AV1-ISOBMFF, 2.3.3)."""
    at = start.find(b"av1C")
    return at >= 0 and bool(start[at + 6 : at + 7]) and bool(start[at + 6] & 0x40)


def is_grey(start: bytes) -> bool:
    """Whether an AVIF file has no colours, as `av1C` says in the same byte."""
    at = start.find(b"av1C")
    return at >= 0 and bool(start[at + 6 : at + 7]) and bool(start[at + 6] & 0x10)


def is_cropped(start: bytes) -> bool:
    """Whether a part of the picture alone is to be shown: `clap` names it (ISO/IEC 14496-12, 12.1.4)."""
    return b"\0\0\0\x28clap" in start


def has_exif(start: bytes) -> bool:
    """Whether there is an item of EXIF, or the list of items does not stand at the start."""
    return b"Exif" in start or b"iinf" not in start


def read_aspect(start: bytes) -> tuple[float, float] | None:
    """Resolution without a unit, horizontal and vertical, from `pasp`, which has a pixel's width and height.

    None for square pixels.
    """
    at = start.find(b"\0\0\0\x10pasp")
    if at < 0 or len(start) < at + 16:
        return None
    width, height = struct.unpack_from(">II", start, at + 8)
    return None if width == height else (float(height), float(width))


def is_premultiplied(start: bytes) -> bool:
    """Whether colours are multiplied by alpha: a reference `prem` from the picture to its alpha says so."""
    at = start.find(b"iref")
    if at < 4:
        return False
    return b"prem" in start[at : at - 4 + int.from_bytes(start[at - 4 : at])]


def coded_colours(start: bytes) -> tuple[int, int] | None:
    """Primaries and transfer characteristics by their numbers in H.273, from a `colr` box; None without one."""
    at = start.find(b"colrnclx")
    if at < 0 or len(start) < at + 12:
        return None
    primaries, transfer = struct.unpack_from(">HH", start, at + 8)
    return primaries, transfer


def lost_parts(start: bytes) -> tuple[str, ...]:
    """Rows of what a file holds besides its picture and no output takes."""
    lost = []
    if b"hdrgainmap" in start or b"tmap" in start[:64] or (b"infe" in start and b"\0\0tmap" in start):
        lost.append("gain map")
    if b"mpvd" in start or b"MotionPhoto_Data" in start:
        lost.append("motion")
    return tuple(lost)
