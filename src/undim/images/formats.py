"""The table of picture formats: a format is one object in `undim.images.codecs` and one row here."""

from __future__ import annotations

from pathlib import PurePath

from undim.images.codec import Codec, Format
from undim.images.codecs.avif import Avif
from undim.images.codecs.bmp import Bmp
from undim.images.codecs.camera_raw import CameraRaw
from undim.images.codecs.gif import Gif
from undim.images.codecs.heic import Heic
from undim.images.codecs.jpeg import Jpeg
from undim.images.codecs.png import Png
from undim.images.codecs.pnm import Pnm
from undim.images.codecs.tiff import Tiff
from undim.images.codecs.unread import Unread
from undim.images.codecs.webp import WebP

CODECS: tuple[Codec, ...] = (
    Jpeg(),
    Png(),
    WebP(),
    Avif(),
    CameraRaw(),  # before TIFF, which most raw files begin as, and after the formats that no raw file begins as
    Tiff(),
    Bmp(),
    Gif(),
    Pnm(),
    Heic(),
    Unread("jxl", "JPEG XL", (".jxl",), (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    Unread("jp2", "JPEG 2000", (".jp2", ".j2k"), (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    Unread("pfm", "PFM", (".pfm",), (b"PF\n", b"Pf\n")),
)
"""In the order in which they are asked whether a file is theirs."""

HEADER_BYTES = 64
"""How many first bytes `sniff` looks at."""


def codec_of(header: bytes, suffix: str = "") -> Codec | None:
    """The format of a file by its first bytes, also one that is not read; None for one that is not known."""
    return next((codec for codec in CODECS if codec.sniff(header, suffix)), None)


def named(name: str) -> Codec:
    """The format of this name.

    Raises:
        KeyError: if there is none.
    """
    return {codec.name: codec for codec in CODECS}[name]


FORMATS: dict[str, Format] = {codec.name: codec.writes for codec in CODECS if codec.writes is not None}
"""What is written, by the word that chooses it."""

WRITTEN_SUFFIXES: dict[str, str] = {
    suffix: codec.name for codec in CODECS if codec.writes is not None for suffix in codec.suffixes
}
"""Suffix -> name of the format that Undim writes under it."""

PICTURE_SUFFIXES: frozenset[str] = frozenset(suffix for codec in CODECS for suffix in codec.suffixes)
"""Suffixes, lower case with the dot, by which a picture is recognised in a folder."""


def suffix_of(name: str | PurePath) -> str:
    """The suffix in lower case with its dot; empty for a name such as `.jpg` that is nothing else."""
    return PurePath(name).suffix.lower()


def has_picture_suffix(name: str | PurePath) -> bool:
    """Whether a file of this name counts as a picture inside a folder."""
    return suffix_of(name) in PICTURE_SUFFIXES
