"""XMP packets, changed in place: the orientation, and what they promise of parts that the file no longer has."""

from __future__ import annotations

import re
from collections.abc import Iterator

_NOTE = rb"http://ns\.adobe\.com/xmp/note/"
_CAMERA = rb"http://ns\.google\.com/photos/1\.0/camera/"
_PROMISES = (
    (rb"http://ns\.adobe\.com/hdr-gain-map/1\.0/", rb"hdrgm", rb"[A-Za-z]+"),
    (rb"http://ns\.apple\.com/HDRGainMap/1\.0/", rb"HDRGainMap", rb"[A-Za-z]+"),
    (rb"http://ns\.apple\.com/pixeldatainfo/1\.0/", rb"apdi", rb"[A-Za-z]+"),
    (_CAMERA, rb"GCamera|Camera", rb"(?:MotionPhoto|MicroVideo)[A-Za-z]*"),
    (rb"http://ns\.google\.com/photos/1\.0/container/", rb"Container|GContainer", rb"Directory"),
)
"""Namespaces, their usual prefixes, and names of properties that tell of a gain map, a motion photo's video, or of what
is appended to a file, by lengths."""
_NAMESPACES = (*(space for space, _, _ in _PROMISES), rb"http://ns\.google\.com/photos/1\.0/container/item/", _NOTE)
_MOTION = re.compile(rb":(?:MotionPhoto|MicroVideo)(?:\s*=\s*[\"']|>)\s*1|Semantic\s*=\s*[\"']MotionPhoto")
_GAIN_MAP = re.compile(rb"hdr-gain-map/1\.0|Semantic\s*=\s*[\"']GainMap|>\s*GainMap\s*<|hdrgainmap|HDRGainMap/1\.0")


def make_upright(packet: bytes) -> bytes:
    """The packet with `tiff:Orientation` set to 1, for a picture that was turned."""
    packet = re.sub(rb"(tiff:Orientation\s*=\s*[\"'])[2-8]", rb"\g<1>1", packet)
    return re.sub(rb"(<tiff:Orientation>\s*)[2-8]", rb"\g<1>1", packet)


def without_pointers(packet: bytes) -> bytes:
    """The packet without properties that promise a gain map, a motion photo's video, or a list of them.

    `xmpNote:HasExtendedXMP` stays: see `without_extension`.
    """
    for space, usual, name in _PROMISES:
        packet = _without(packet, space, usual, name)
    return _without_idle_prefixes(packet)


def without_extension(packet: bytes) -> bytes:
    """The packet without `xmpNote:HasExtendedXMP`, for a file that lacks the second part."""
    return _without_idle_prefixes(_without(packet, _NOTE, rb"xmpNote", rb"HasExtendedXMP"))


def tells_gain_map(packet: bytes) -> bool:
    """Whether the packet promises a gain map (Adobe's and Android's, or Apple's), or is that of one."""
    return _GAIN_MAP.search(packet) is not None


def tells_motion(packet: bytes) -> bool:
    """Whether the packet says that a video is appended (Google's motion photos)."""
    return _MOTION.search(packet) is not None


def _prefixes(packet: bytes, space: bytes) -> Iterator[bytes]:
    for found in re.finditer(rb"xmlns:([\w.-]+)\s*=\s*[\"']%s[\"']" % space, packet):
        yield re.escape(found[1])


def _without(packet: bytes, space: bytes, usual: bytes, name: bytes) -> bytes:
    full = rb"(?:%s):(?:%s)" % (b"|".join((*_prefixes(packet, space), usual)), name)
    packet = re.sub(rb"\s+%s\s*=\s*(?:\"[^\"]*\"|'[^']*')" % full, b"", packet)
    packet = re.sub(rb"<(%s)(?:\s[^>]*)?/>\s*" % full, b"", packet)
    return re.sub(rb"(?s)<(%s)(?:\s[^>]*)?>.*?</\1\s*>\s*" % full, b"", packet)


def _without_idle_prefixes(packet: bytes) -> bytes:
    """The packet without declarations of prefixes that nothing uses any more."""
    for space in _NAMESPACES:
        for prefix in list(_prefixes(packet, space)):
            if not re.search(rb"(?<![\w:.-])%s:" % prefix, packet):
                packet = re.sub(rb"\s+xmlns:%s\s*=\s*(?:\"[^\"]*\"|'[^']*')" % prefix, b"", packet)
    return packet
