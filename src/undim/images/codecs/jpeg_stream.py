"""The compressed data of JPEG (ITU-T T.81): decoding that tells of every warning, and markers as they stand."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from undim.arrays import Bytes

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
_START, _END = b"\xff\xd8", b"\xff\xd9"
_STANDALONE = (0x01, *range(0xD0, 0xD8))
"""Markers without content."""
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame (SOF)."""
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""The first marker behind entropy-coded data, in which FF is followed by 00 or by the number of a restart."""


@dataclass(frozen=True)
class Segment:
    """One marker and what it holds."""

    marker: int
    """Its second byte."""
    start: int
    """Offset of its first byte, FF."""
    content: bytes
    """Without the length; empty for markers that have none."""


def decode(data: bytes) -> Bytes:
    """H x W x 1, 3 (RGB) or 4 (CMYK as stored) samples of a JPEG stream that has no fault at all.

    Raises:
        ValueError: with libjpeg's words, for the slightest fault.
    """
    import simplejpeg

    colours = simplejpeg.decode_jpeg_header(data, strict=False)[2]
    kind = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(colours, "RGB")
    pixels: Bytes = simplejpeg.decode_jpeg(data, colorspace=kind, strict=True)
    return pixels


def join_tables(tables: bytes, data: bytes, transform: int | None) -> bytes:
    """A whole stream of an abbreviated one and its tables.

    Args:
        tables: a stream of tables alone, or nothing.
        data: a stream that may lack tables.
        transform: Adobe's number of the colour transform (0 none, 1 YCbCr), which decoders else guess; None for none.
    """
    marker = b"" if transform is None else b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes((transform,))
    middle = tables[2:-2] if tables.startswith(_START) and tables.endswith(_END) else b""
    return _START + marker + middle + data[2:] if data.startswith(_START) else data


def walk(data: bytes) -> Iterator[Segment]:
    """The segments from the start, through all scans, to the end marker; it ends early where the stream does.

    Entropy-coded data are passed over.
    """
    at = 2
    while 0 <= at < len(data) - 1:
        if data[at] != 0xFF:  # garbage between segments: decoders look for the next marker, and so do we
            found = _AFTER_SCAN.search(data, at)
            if found is None:
                return
            at = found.start()
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        if marker in _STANDALONE or marker == 0:
            at += 2
            continue
        if marker in (SOI, EOI):
            yield Segment(marker, at, b"")
            if marker == EOI:
                return
            at += 2
            continue
        if at + 4 > len(data):
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2 or at + 2 + length > len(data):
            return
        yield Segment(marker, at, data[at + 4 : at + 2 + length])
        at += 2 + length
        if marker == SOS:
            found = _AFTER_SCAN.search(data, at)
            if found is None:
                return
            at = found.start()


def lacks_scans(segments: list[Segment]) -> bool:
    """Whether a whole stream leaves out data that its frame promises: a colour, frequencies, or the last bits."""
    frame = next((item for item in segments if item.marker in FRAMES), None)
    if frame is None or len(frame.content) < 6:
        return False
    colours = [frame.content[6 + 3 * index] for index in range(frame.content[5]) if 6 + 3 * index < len(frame.content)]
    progressive, gap = frame.marker in PROGRESSIVE, False
    lowest = {colour: np.full(64, 255, np.uint8) for colour in colours}  # the lowest bit of each frequency so far
    for item in segments:
        body = item.content
        if item.marker != SOS or not body or len(body) < 4 + 2 * body[0]:
            continue
        first, last, bits = body[1 + 2 * body[0] :][:3] if progressive else (0, 63, 0)
        for colour in body[1 : 1 + 2 * body[0] : 2]:
            if colour in lowest:
                sent = lowest[colour][first : last + 1]
                gap = gap or bool(bits >> 4 and (sent != bits >> 4).any())
                sent[:] = bits & 15
    return gap or any(sent.any() for sent in lowest.values())
