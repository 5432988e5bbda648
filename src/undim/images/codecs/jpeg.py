"""JPEG (ITU-T T.81) in JFIF, EXIF and multi-picture files: 8 bits, baseline and progressive."""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np
from PIL import Image

from undim.arrays import Bytes, Pixels
from undim.errors import PictureError
from undim.images import photoshop, xmp
from undim.images.codec import CheckSize, Codec, Format, Stored
from undim.images.codecs import jpeg_stream
from undim.images.codecs.jpeg_stream import EOI, FRAMES, PROGRESSIVE, SOS, Segment
from undim.images.colour import from_cmyk, named_by_exif
from undim.images.exif import read_orientation, strip_prefix, with_prefix
from undim.images.picture import Metadata, Picture, whole_aspect

_APP0, _COMMENT = 0xE0, 0xFE
_JFIF, _JFXX, _EXIF, _ICC, _MPF = b"JFIF\0", b"JFXX\0", b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0"
_XMP, _EXTENSION = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP, _ISO_GAIN_MAP, _BOXES = b"Photoshop 3.0\0", b"urn:iso:std:iso:ts:21496:-1\0", b"JP"
_OF_THE_STREAM = (_JFIF, _JFXX, b"Adobe\0", b"Adobe", b"Ducky", b"FPXR\0")
"""What describes how the old pixels were compressed, or holds a preview of them."""
_LARGEST = 65533
"""Most bytes that one segment holds."""
_UNREAD = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "a lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "a hierarchical JPEG"),
    0xF7: "a JPEG-LS picture",
}
_CORRUPT = re.compile("corrupt|premature|huffman|restart|RST|arithmetic", re.IGNORECASE)
"""libjpeg's warnings that cost pixels; the others are on headers."""
_DENSITY = {1: 1.0, 2: 2.54}
_UNIT_PLACE = 13
"""Where a JFIF file names the unit of its two resolutions, which follow."""
_SMALLER = (0x010001, 0x010002)
"""Types of multi-picture files' images that are the first one at the size of a screen."""
_VIDEO = re.compile(rb"ftyp(?:mp4|iso|qt|avc|M4V|3g|mmp4)")
_TRAILER = b"SEFT"
"""What ends Samsung's list of facts behind a picture."""


@dataclass
class _Parts:
    """What the segments before the picture say."""

    exif: bytes = b""
    xmp: bytes = b""
    extension: list[bytes] = field(default_factory=list)
    icc: dict[int, bytes] = field(default_factory=dict)
    icc_count: int = 0
    photoshop: bytes = b""
    comments: list[bytes] = field(default_factory=list)
    others: list[tuple[int, bytes]] = field(default_factory=list)
    dpi: tuple[float, float] | None = None
    aspect: tuple[float, float] | None = None
    multi: tuple[int, bytes] | None = None
    """Offset of the multi-picture header in the file, and what it holds."""
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Jpeg(Codec):
    """JPEG files."""

    name, title, suffixes = "jpg", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
    writes = Format(
        holds=frozenset(("exif", "icc", "xmp", "xmp_extension", "photoshop", "comments", "segments", "dpi", "aspect")),
        alpha=False,
        quality=95,
        side=65535,
    )

    def sniff(self, header: bytes, suffix: str) -> bool:
        """The start marker and that of a segment."""
        return header.startswith(b"\xff\xd8\xff")

    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """The first picture, whole; one that has lost a part inside comes with a note."""
        stream.seek(0)
        data = stream.read()
        segments = _until_scan(data)
        frame = next((item for item in segments if item.marker in FRAMES or item.marker in _UNREAD), None)
        if frame is None or len(frame.content) < 6 or segments[-1].marker != SOS:
            raise PictureError("is damaged or truncated: it has no picture data")
        _check_kind(frame)
        check_size((struct.unpack_from(">H", frame.content, 3)[0], struct.unpack_from(">H", frame.content, 1)[0]))
        colours = frame.content[5]
        scans = frame.marker in PROGRESSIVE or segments[-1].content[:1] != bytes((colours,))
        segments = list(jpeg_stream.walk(data)) if scans else segments
        end = _find_end(data, segments, several=scans)
        samples, notes = _decode_whole(data, end, segments if scans else [])
        parts = _read_parts(segments)
        _look_behind(parts, data, end)
        metadata = _metadata(parts)
        pixels: Pixels = samples
        if samples.shape[2] == 4:
            # As Adobe does it, and all decoders: 255 is no ink.
            pixels, more = from_cmyk(255 - samples, metadata.icc)
            notes = (*notes, *more)
        elif samples.shape[2] == 1:
            pixels = samples[..., 0]
        else:
            metadata = named_by_exif(metadata)
        picture = Picture(pixels, None, metadata, self.name, notes=(*parts.notes, *notes))
        return Stored(picture, read_orientation(parts.exif), lost=tuple(parts.lost))

    def encode(self, picture: Picture, stream: BinaryIO, quality: int | None) -> None:
        """Baseline with colours at full size, the segments before it."""
        meta, bare = picture.metadata, io.BytesIO()
        density = {"dpi": meta.dpi} if meta.dpi else {}
        best = quality or (self.writes.quality if self.writes else None) or 0
        picture.to_image().save(bare, "JPEG", quality=best, subsampling=0, **density)
        data = bare.getbuffer()
        behind_jfif = 4 + int.from_bytes(data[4:6])
        jfif = bytearray(data[:behind_jfif])
        if meta.aspect:
            struct.pack_into(">BHH", jfif, _UNIT_PLACE, 0, *whole_aspect(meta.aspect, 65535))
        stream.write(jfif)
        for marker, content in _segments(meta):
            stream.write(struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content)
        stream.write(data[behind_jfif:])

    def fit(self, metadata: Metadata) -> tuple[Metadata, tuple[str, ...]]:
        """A segment has 65533 bytes; only profiles and Photoshop's resources go into several."""
        notes = []
        if metadata.exif and len(with_prefix(metadata.exif)) > _LARGEST:
            metadata = replace(metadata, exif=None)
            notes.append("the EXIF data are not kept: they are too long for JPEG files")
        if metadata.xmp and len(metadata.xmp) > _LARGEST - len(_XMP):
            metadata = replace(metadata, xmp=None, xmp_extension=())
            notes.append("the XMP data are not kept: they are too long for JPEG files")
        return metadata, tuple(notes)


def _until_scan(data: bytes) -> list[Segment]:
    segments = []
    for item in jpeg_stream.walk(data):
        segments.append(item)
        if item.marker == SOS:
            break
    return segments or [Segment(0, 0, b"")]


def _check_kind(frame: Segment) -> None:
    if frame.marker in _UNREAD:
        raise PictureError(f"is {_UNREAD[frame.marker]}, which is not read; convert it to TIFF or PNG first")
    bits, height = frame.content[0], struct.unpack_from(">H", frame.content, 1)[0]
    if bits != 8:
        raise PictureError(f"is a JPEG of {bits} bits per sample, which is not read; convert it to TIFF or PNG first")
    if height == 0:
        raise PictureError("is a JPEG that names its height behind the picture, which is not read; save it anew first")


def _find_end(data: bytes, segments: list[Segment], *, several: bool) -> int:
    """Offset of the end marker, -1 where there is none."""
    if several:
        return segments[-1].start if segments[-1].marker == EOI else -1
    return data.find(b"\xff\xd9", segments[-1].start + 2 + len(segments[-1].content))


def _decode_whole(data: bytes, end: int, scans: list[Segment]) -> tuple[Bytes, tuple[str, ...]]:
    """Samples and notes; `scans` are all segments of a stream of several scans, none for others."""
    notes: tuple[str, ...] = ()
    if end < 0:
        if scans and jpeg_stream.lacks_scans(scans):
            raise PictureError("is damaged or truncated: the file ends before the last scan of the picture")
        notes = ("its end marker is missing, but all of the picture is there",)
        try:
            return jpeg_stream.decode(data + b"\xff\xd9"), notes
        except ValueError as error:
            if _is_header_warning(error):
                return _decode_leniently(data + b"\xff\xd9"), notes
            raise PictureError(f"is damaged or truncated: the file ends before the last row ({error})") from error
    if scans and jpeg_stream.lacks_scans(scans):
        notes = ("part of the picture is missing: the file holds only some of its scans",)
    try:
        return jpeg_stream.decode(data), notes
    except ValueError as error:
        if _is_header_warning(error) or _is_padded(data, end):
            return _decode_leniently(data), notes
        return _decode_leniently(data), (*notes, f"part of the picture is damaged ({str(error).strip()})")


def _is_header_warning(error: ValueError) -> bool:
    return _CORRUPT.search(str(error)) is None or "ICC" in str(error)


def _is_padded(data: bytes, end: int) -> bool:
    """Whether nothing is wrong but zeros, or filling, before the end marker."""
    rest = data[:end].rstrip(b"\0")
    if rest.endswith(b"\xff"):
        rest += b"\0"
    if len(rest) == end:
        return False
    try:
        jpeg_stream.decode(rest + data[end:])
    except ValueError:
        return False
    return True


def _decode_leniently(data: bytes) -> Bytes:
    """Samples of a stream with faults, as libjpeg makes the best of them."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        image.load()
        samples = np.asarray(image)
        if image.mode == "CMYK":
            return 255 - samples
        return samples[..., None] if samples.ndim == 2 else samples


def _read_parts(segments: list[Segment]) -> _Parts:
    parts = _Parts()
    for item in segments:
        if item.marker == _COMMENT:
            parts.comments.append(item.content)
        elif _APP0 <= item.marker <= _APP0 + 15:
            _read_application(parts, item)
    return parts


def _read_application(parts: _Parts, item: Segment) -> None:
    number, content = item.marker - _APP0, item.content
    if number == 0 and content.startswith(_JFIF) and len(content) >= 12:
        unit, across, down = struct.unpack_from(">BHH", content, 7)
        parts.dpi = (across * _DENSITY[unit], down * _DENSITY[unit]) if unit in _DENSITY else None
        parts.aspect = (float(across), float(down)) if unit == 0 and across != down else None
    elif number == 1 and content.startswith(_EXIF):
        parts.exif += strip_prefix(content)
    elif number == 1 and content.startswith(_XMP):
        parts.xmp = parts.xmp or content[len(_XMP) :]
    elif number == 1 and content.startswith(_EXTENSION):
        parts.extension.append(content)
    elif number == 2 and content.startswith(_ICC) and len(content) > len(_ICC) + 2:
        parts.icc[content[len(_ICC)]] = content[len(_ICC) + 2 :]
        parts.icc_count = content[len(_ICC) + 1]
    elif number == 2 and content.startswith(_MPF):
        parts.multi = (item.start + 4 + len(_MPF), content[len(_MPF) :])
    elif number == 2 and content.startswith(_ISO_GAIN_MAP):
        parts.lost.append("gain map")
    elif number == 13 and content.startswith(_PHOTOSHOP):
        parts.photoshop += content[len(_PHOTOSHOP) :]
    elif number == 11 and content.startswith(_BOXES):
        parts.lost.append("credentials")
    elif not content.startswith(_OF_THE_STREAM):
        parts.others.append((item.marker, content))


def _metadata(parts: _Parts) -> Metadata:
    icc = b"".join(parts.icc[index] for index in sorted(parts.icc))
    if icc and len(parts.icc) != parts.icc_count:
        icc = b""
        parts.notes.append("the colour profile is not kept: parts of it are missing")
    if xmp.tells_gain_map(parts.xmp):
        parts.lost.append("gain map")
    return Metadata(
        exif=parts.exif or None,
        icc=icc or None,
        xmp=xmp.without_pointers(parts.xmp) or None,
        dpi=parts.dpi,
        aspect=parts.aspect,
        xmp_extension=tuple(parts.extension) if parts.xmp else (),
        photoshop=photoshop.without_thumbnails(parts.photoshop),
        comments=tuple(parts.comments),
        segments=tuple(parts.others),
    )


def _look_behind(parts: _Parts, data: bytes, end: int) -> None:
    """What stands behind the picture: further pictures, a video, or something else."""
    rest = data[end + 2 :].strip(b"\0\xff") if end >= 0 else b""
    if parts.multi is not None:
        parts.lost += _read_multi(*parts.multi, data)
    if not rest:
        return
    if xmp.tells_motion(parts.xmp) or b"MotionPhoto_Data" in rest[-4096:] or _VIDEO.search(rest[:4096]):
        parts.lost.append("motion")
    elif parts.multi is None and not rest.endswith(_TRAILER) and not xmp.tells_gain_map(parts.xmp):
        # Cameras put larger previews there.
        parts.lost.append("previews" if rest.startswith((b"\xd8\xff", b"\xff\xd8")) else "trailer")


def _read_multi(start: int, block: bytes, data: bytes) -> list[str]:
    """Rows of what is lost, from a multi-picture index (CIPA DC-007)."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    lost = []
    try:
        (first,) = struct.unpack_from(f"{order or '<'}I", block, 4)
        (count,) = struct.unpack_from(f"{order or '<'}H", block, first)
        entries, listed = 0, 0
        for index in range(min(count, 64)):
            tag, _, length, value = struct.unpack_from(f"{order or '<'}HHII", block, first + 2 + 12 * index)
            if tag == 0xB002:
                entries, listed = value, length // 16
        for index in range(1, listed):
            kind, size, offset, _ = struct.unpack_from(f"{order or '<'}IIIHH", block, entries + 16 * index)[:4]
            lost.append(_kind_of_picture(kind & 0xFFFFFF, data[start + offset :][: min(size, 1 << 16)]))
    except struct.error:
        return lost or ["pictures"]
    return lost


def _kind_of_picture(kind: int, head: bytes) -> str:
    if kind in _SMALLER:
        return "previews"
    if xmp.tells_gain_map(head) or _ISO_GAIN_MAP in head:
        return "gain map"
    return "depth" if re.search(rb"(?i)aux:(?:depth|disparity)|GDepth|Semantic=\"Depth", head) else "pictures"


def _segments(metadata: Metadata) -> list[tuple[int, bytes]]:
    """Markers and contents that stand before the picture."""
    made: list[tuple[int, bytes]] = []
    if metadata.exif:
        made.append((_APP0 + 1, with_prefix(metadata.exif)))
    if metadata.xmp:
        made.append((_APP0 + 1, _XMP + metadata.xmp))
        made += [(_APP0 + 1, content) for content in metadata.xmp_extension]
    pieces = _pieces(metadata.icc or b"", _LARGEST - len(_ICC) - 2)
    if len(pieces) > 255:
        raise ValueError("its colour profile is too long")
    made += [(_APP0 + 2, _ICC + bytes((at + 1, len(pieces))) + piece) for at, piece in enumerate(pieces)]
    made += [(_APP0 + 13, _PHOTOSHOP + piece) for piece in _pieces(metadata.photoshop, _LARGEST - len(_PHOTOSHOP))]
    made += metadata.segments
    made += [(_COMMENT, content) for content in metadata.comments]
    return made


def _pieces(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]
