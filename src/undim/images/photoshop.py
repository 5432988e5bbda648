"""Photoshop's image resources, in which JPEG (APP13) and TIFF files keep IPTC data.

Each is a signature, a number, a name of even length, a length and data padded to even length (Adobe Photoshop file
formats specification). They are told apart, never parsed and written anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

IPTC = 0x0404
_THUMBNAILS = (0x0409, 0x040C)
_PATHS = range(2000, 2999)
_SIGNATURES = (b"8BIM", b"PHUT", b"AgHg", b"DCSR", b"MeSa")


@dataclass(frozen=True)
class _Resource:
    number: int
    data: bytes
    whole: bytes
    """From the signature to the padding."""


def without_thumbnails(block: bytes) -> bytes:
    """The resources but for the small previews, which show the old picture; a damaged block is returned as it is."""
    try:
        return b"".join(item.whole for item in _split(block) if item.number not in _THUMBNAILS)
    except (struct.error, ValueError):
        return block


def iptc_of(block: bytes) -> bytes:
    """The IPTC data sets (IIM); empty if there are none."""
    try:
        return b"".join(item.data for item in _split(block) if item.number == IPTC)
    except (struct.error, ValueError):
        return b""


def of_iptc(data: bytes) -> bytes:
    """IPTC data sets as the one resource."""
    return b"8BIM" + struct.pack(">HHI", IPTC, 0, len(data)) + data + bytes(len(data) % 2)


def is_minded(block: bytes) -> bool:
    """Whether there is more than settings: a caption or keywords, or a path drawn by hand."""
    try:
        return any(item.number in _PATHS or (item.number == IPTC and item.data) for item in _split(block))
    except (struct.error, ValueError):
        return True


def _split(block: bytes) -> Iterator[_Resource]:
    at = 0
    while at + 4 <= len(block) and block[at : at + 4] != bytes(4):
        if block[at : at + 4] not in _SIGNATURES:
            raise ValueError("not an image resource")
        (number,) = struct.unpack_from(">H", block, at + 4)
        name = 1 + block[at + 6]
        start = at + 6 + name + name % 2
        (length,) = struct.unpack_from(">I", block, start)
        end = start + 4 + length
        if end > len(block):
            raise ValueError("cut off")
        yield _Resource(
            number, block[start + 4 : end], block[at : end + length % 2].ljust(end + length % 2 - at, b"\0")
        )
        at = end + length % 2
