"""What is known of each file format: its suffixes, its first bytes and what it can hold."""

from __future__ import annotations

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


FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format("jpg", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), alpha=False),
        Format("png", "PNG", (".png",)),
        Format("webp", "WEBP", (".webp",), grey=False),
        Format("tif", "TIFF", (".tif", ".tiff")),
        Format("bmp", "BMP", (".bmp", ".dib"), exif=False, icc=False),
    )
}

READ_ONLY: dict[str, tuple[str, tuple[str, ...]]] = {
    "gif": ("GIF", (".gif",)),
    "ppm": ("PPM", (".ppm", ".pgm", ".pbm", ".pnm")),
}
"""Formats that are read and written as PNG: name -> (Pillow's name, suffixes)."""

UNREAD: dict[str, tuple[str, ...]] = {
    "HEIC": (".heic", ".heif", ".hif"),
    "AVIF": (".avif",),
    "JPEG XL": (".jxl",),
    "JPEG 2000": (".jp2", ".j2k"),
    "camera raw": (
        *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2"),
        *(".pef", ".srw", ".x3f", ".raw", ".3fr", ".erf", ".kdc", ".mrw", ".iiq"),
    ),
}
"""Pictures that this version does not read. They are named as failures, never passed over."""

WRITTEN_SUFFIXES: dict[str, str] = {suffix: form.name for form in FORMATS.values() for suffix in form.suffixes}
"""Suffix -> name of the format that Undim writes under it."""

PICTURE_SUFFIXES: frozenset[str] = frozenset(
    [
        *WRITTEN_SUFFIXES,
        *(suffix for _, suffixes in READ_ONLY.values() for suffix in suffixes),
        *(suffix for suffixes in UNREAD.values() for suffix in suffixes),
    ]
)
"""Suffixes, lower case with the dot, by which a picture is recognised in a folder."""

READABLE = "JPEG, PNG, WebP, TIFF, BMP, GIF or PNM"

HEADER_BYTES = 32
"""How many first bytes `sniff` and `foreign` look at."""


def suffix_of(name: str | PurePath) -> str:
    """The suffix in lower case with its dot; empty for a name such as `.jpg` that is nothing else."""
    return PurePath(name).suffix.lower()


def has_picture_suffix(name: str | PurePath) -> bool:
    """Whether a file of this name counts as a picture inside a folder."""
    return suffix_of(name) in PICTURE_SUFFIXES


def sniff(header: bytes) -> str | None:
    """The format's name from a file's first bytes, or None for one that Undim does not read."""
    if header.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if header.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if header.startswith(b"RIFF") and header[8:12] == b"WEBP":
        return "webp"
    if header[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tif"
    if header.startswith(b"BM"):
        return "bmp"
    if header.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if header[:1] == b"P" and header[1:2] in b"123456" and header[2:3].isspace():
        return "ppm"
    return None


def foreign(header: bytes, suffix: str = "") -> str | None:
    """The name of a known format that Undim does not read, from the first bytes or the suffix; None if there is none.

    Camera raw files are TIFFs whose first page is a thumbnail, so for them the suffix decides.
    """
    if header[4:8] == b"ftyp":
        brand = header[8:12]
        if brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
            return "HEIC"
        if brand in (b"avif", b"avis"):
            return "AVIF"
        if brand == b"crx ":
            return "camera raw"
    if header.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL"
    if header.startswith(b"\0\0\0\x0cjP  "):
        return "JPEG 2000"
    if suffix in UNREAD["camera raw"]:
        return "camera raw"
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
