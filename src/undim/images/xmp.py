"""XMP packets, changed in place: the orientation, and what they promise of parts that the file no longer has."""

from __future__ import annotations

import re

_POINTERS = (
    (rb"xmpNote", rb"HasExtendedXMP"),
    (rb"hdrgm", rb"[A-Za-z]+"),
    (rb"GCamera", rb"(?:MotionPhoto|MicroVideo)[A-Za-z]*"),
    (rb"Camera", rb"(?:MotionPhoto|MicroVideo)[A-Za-z]*"),
    (rb"apdi", rb"AuxiliaryImageType|AuxiliaryImageSubType|StoredFormat|NativeFormat"),
    (rb"HDRGainMap", rb"[A-Za-z]+"),
)
"""Prefixes and names of properties that tell of a second part of XMP, a gain map, or a motion photo's video."""
_EXTENSION = rb"xmpNote", rb"HasExtendedXMP"
_DIRECTORY = (rb"Container|GContainer", rb"Directory")
"""The list of what is appended to a JPEG or HEIC file, by lengths."""


def make_upright(packet: bytes) -> bytes:
    """The packet with `tiff:Orientation` set to 1, for a picture that was turned."""
    packet = re.sub(rb"(tiff:Orientation\s*=\s*[\"'])[2-8]", rb"\g<1>1", packet)
    return re.sub(rb"(<tiff:Orientation>\s*)[2-8]", rb"\g<1>1", packet)


def without_pointers(packet: bytes) -> bytes:
    """The packet without properties that promise a gain map, a motion photo's video, or a list of them.

    `xmpNote:HasExtendedXMP` stays: see `without_extension`.
    """
    for prefix, name in (*_POINTERS[1:], _DIRECTORY):
        packet = _without(packet, prefix, name)
    for prefix in (
        b"hdrgm",
        b"HDRGainMap",
        b"apdi",
        b"GCamera",
        b"Container",
        b"GContainer",
        b"Item",
        b"GContainerItem",
    ):
        if not re.search(rb"(?<!xmlns:)\b%s:" % prefix, packet):
            packet = re.sub(rb"\s+xmlns:%s\s*=\s*(?:\"[^\"]*\"|'[^']*')" % prefix, b"", packet)
    return packet


def without_extension(packet: bytes) -> bytes:
    """The packet without `xmpNote:HasExtendedXMP`, for a file that lacks the second part."""
    return _without(packet, *_EXTENSION)


def tells_gain_map(packet: bytes) -> bool:
    """Whether the packet promises a gain map (Adobe's and Android's, or Apple's)."""
    return bool(
        re.search(rb"hdrgm:Version|Semantic\s*=\s*[\"']GainMap|>\s*GainMap\s*<|hdrgainmap|HDRGainMapVersion", packet)
    )


def tells_motion(packet: bytes) -> bool:
    """Whether the packet says that a video is appended (Google's motion photos)."""
    return bool(
        re.search(rb"Camera:(?:MotionPhoto|MicroVideo)\s*(?:=\s*[\"']|>)\s*1|Semantic\s*=\s*[\"']MotionPhoto", packet)
    )


def _without(packet: bytes, prefix: bytes, name: bytes) -> bytes:
    full = rb"(?:%s):(?:%s)" % (prefix, name)
    packet = re.sub(rb"\s+%s\s*=\s*(?:\"[^\"]*\"|'[^']*')" % full, b"", packet)
    packet = re.sub(rb"<(%s)(?:\s[^>]*)?/>\s*" % full, b"", packet)
    return re.sub(rb"(?s)<(%s)(?:\s[^>]*)?>.*?</\1\s*>\s*" % full, b"", packet)
