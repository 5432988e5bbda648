"""What is known of each file format: its suffixes, its first bytes and what it can hold."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True)
class Format:
    """One file format that Undim writes."""

    name: str
    """The word that `--format` takes, and the suffix of new names without its dot."""
    pillow: str
    """Pillow's name of the codec."""
    suffixes: tuple[str, ...]
    """Lower case, with the dot."""
    alpha: bool = True
    exif: bool = True
    icc: bool = True
    grey: bool = True
    """False where grey is stored as three equal channels."""
    depth: int = 8
    """Most bits per sample."""
    quality: int | None = None
    """Of 100, where none is asked for; None for formats without loss."""
    side: int = 2**31
    """Most pixels in width or height."""


FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format("jpg", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), alpha=False, quality=95, side=65535),
        Format("png", "PNG", (".png",), depth=16),
        Format("webp", "WEBP", (".webp",), grey=False, quality=95, side=16383),
        Format("avif", "AVIF", (".avif",), grey=False, depth=12, quality=90, side=65536),
        Format("tif", "TIFF", (".tif", ".tiff"), depth=16),
        Format("bmp", "BMP", (".bmp", ".dib"), exif=False, icc=False),
    )
}


@dataclass(frozen=True)
class ReadOnly:
    """One file format that is read, and written as PNG."""

    pillow: str
    """Pillow's name of the codec; empty where another library decodes it."""
    suffixes: tuple[str, ...]


READ_ONLY: dict[str, ReadOnly] = {
    "gif": ReadOnly("GIF", (".gif",)),
    "ppm": ReadOnly("PPM", (".ppm", ".pgm", ".pbm", ".pnm")),
    "heic": ReadOnly("", (".heic", ".heif", ".hif")),
    "raw": ReadOnly(
        "",
        (
            *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2"),
            *(".pef", ".srw", ".x3f", ".raw", ".3fr", ".erf", ".kdc", ".mrw", ".iiq"),
        ),
    ),
}

UNREAD: dict[str, tuple[str, ...]] = {
    "JPEG XL": (".jxl",),
    "JPEG 2000": (".jp2", ".j2k"),
}
"""Pictures that this version does not read. They are named as failures, never passed over."""

WRITTEN_SUFFIXES: dict[str, str] = {suffix: form.name for form in FORMATS.values() for suffix in form.suffixes}
"""Suffix -> name of the format that Undim writes under it."""

PICTURE_SUFFIXES: frozenset[str] = frozenset(
    [
        *WRITTEN_SUFFIXES,
        *(suffix for form in READ_ONLY.values() for suffix in form.suffixes),
        *(suffix for suffixes in UNREAD.values() for suffix in suffixes),
    ]
)
"""Suffixes, lower case with the dot, by which a picture is recognised in a folder."""

READABLE = "JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF, PNM, HEIC or camera raw"

HEADER_BYTES = 64
"""How many first bytes `sniff` and `foreign` look at."""

PNG_CHUNK_FRAME = 12
"""Bytes of a PNG chunk besides its content: length, name and checksum."""
_HEVC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis")
_RAW_BRAND = b"crx "


def suffix_of(name: str | PurePath) -> str:
    """The suffix in lower case with its dot; empty for a name such as `.jpg` that is nothing else."""
    return PurePath(name).suffix.lower()


def has_picture_suffix(name: str | PurePath) -> bool:
    """Whether a file of this name counts as a picture inside a folder."""
    return suffix_of(name) in PICTURE_SUFFIXES


def sniff(header: bytes, suffix: str = "") -> str | None:
    """The format's name from a file's first bytes, or None for one that Undim does not read.

    Most camera raw files are TIFFs whose first page is a thumbnail, so for them the suffix decides.
    """
    if header.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if header.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if header.startswith(b"RIFF") and header[8:12] == b"WEBP":
        return "webp"
    if header[4:8] == b"ftyp":
        return _sniff_brands(header)
    if suffix in READ_ONLY["raw"].suffixes:
        return "raw"
    if header[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tif"
    if header.startswith(b"BM"):
        return "bmp"
    if header.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if header[:1] == b"P" and header[1:2] in b"123456" and header[2:3].isspace():
        return "ppm"
    return None


def _sniff_brands(header: bytes) -> str | None:
    """From the box that begins ISO base media files: its own brand, a version, then brands it is compatible with."""
    listed = header[8 : min(int.from_bytes(header[:4]), len(header))]
    brands = {listed[at : at + 4] for at in range(0, len(listed) - 3, 4)}
    if _RAW_BRAND in brands:
        return "raw"
    if brands & {b"avif", b"avis"}:
        return "avif"
    return "heic" if brands.intersection((*_HEVC_BRANDS, b"mif1", b"msf1")) else None


def foreign(header: bytes) -> str | None:
    """The name of a known format that Undim does not read, from the first bytes; None if there is none."""
    if header.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL"
    return "JPEG 2000" if header.startswith(b"\0\0\0\x0cjP  ") else None


def is_deep_avif(start: bytes) -> bool:
    """Whether an AVIF file has more than 8 bits per sample: `av1C` says so in its third byte (AV1-ISOBMFF, 2.3.3)."""
    at = start.find(b"av1C")
    return at >= 0 and bool(start[at + 6 : at + 7]) and bool(start[at + 6] & 0x40)


def coded_colours(start: bytes) -> tuple[int, int] | None:
    """Primaries and transfer characteristics by their numbers in H.273, where a file names its colours in place of ICC.

    AVIF and HEIC do so in a `colr` box, PNG in a `cICP` chunk; both stand before the pixels.
    """
    for mark, layout in ((b"colrnclx", ">HH"), (b"\0\0\0\4cICP", ">BB")):
        at = start.find(mark)
        if at >= 0 and len(start) >= at + len(mark) + struct.calcsize(layout):
            primaries, transfer = struct.unpack_from(layout, start, at + len(mark))
            return primaries, transfer
    return None


def webp_size(header: bytes) -> tuple[int, int] | None:
    """Width and height from the first 30 bytes of a WebP file; None if its first chunk is of an unknown kind."""
    chunk = header[12:16]
    if chunk == b"VP8X" and len(header) >= 30:
        return 1 + int.from_bytes(header[24:27], "little"), 1 + int.from_bytes(header[27:30], "little")
    if chunk == b"VP8L" and len(header) >= 25:
        bits = int.from_bytes(header[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 " and len(header) >= 30:
        return int.from_bytes(header[26:28], "little") & 0x3FFF, int.from_bytes(header[28:30], "little") & 0x3FFF
    return None
