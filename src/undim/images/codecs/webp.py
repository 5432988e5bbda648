"""WebP: 8 bits, with or without loss."""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

from undim.images import xmp
from undim.images.codec import CheckSize, Codec, Format, Stored
from undim.images.codecs import pillow
from undim.images.exif import read_orientation, with_prefix
from undim.images.picture import Picture

_HEADER = 30
"""Bytes that hold the size."""
_QUALITY = 95


class WebP(Codec):
    """WebP files."""

    name, title, suffixes = "webp", "WebP", (".webp",)
    writes = Format(holds=frozenset(("exif", "icc", "xmp")), grey=False, quality=_QUALITY, side=16383)

    def sniff(self, header: bytes, suffix: str) -> bool:
        """A RIFF file of this kind."""
        return header.startswith(b"RIFF") and header[8:12] == b"WEBP"

    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """Pillow allocates the whole canvas when it opens a file, so its size is looked up before that."""
        stream.seek(0)
        check_size(_read_size(stream.read(_HEADER)) or (1, 1))
        with pillow.opened(stream, "WEBP", check_size) as image:
            pixels, alpha = pillow.decode(image)
            metadata = pillow.read_metadata(image)
        if metadata.xmp:
            metadata = replace(metadata, xmp=xmp.without_pointers(metadata.xmp))
        picture = Picture(pixels, alpha, metadata, self.name, _is_lossless(stream))
        return Stored(picture, read_orientation(metadata.exif or b""))

    def encode(self, picture: Picture, stream: BinaryIO, quality: int | None) -> None:
        """Without loss if it was read from a file without and no quality is asked for."""
        meta, lossless = picture.metadata, picture.lossless and quality is None
        options: dict[str, object] = {"exif": with_prefix(meta.exif)} if meta.exif else {}
        options |= {"icc_profile": meta.icc} if meta.icc else {}
        options |= {"xmp": meta.xmp} if meta.xmp else {}
        # Exact keeps the colours of transparent pixels; the quality of a lossless file is the effort.
        options |= {"lossless": lossless, "exact": True, "alpha_quality": 100, "method": 4}
        picture.to_image().save(stream, "WEBP", quality=75 if lossless else quality or _QUALITY, **options)


def _read_size(header: bytes) -> tuple[int, int] | None:
    """Width and height from the first 30 bytes; None if the first chunk is of an unknown kind."""
    chunk = header[12:16]
    if chunk == b"VP8X" and len(header) >= 30:
        return 1 + int.from_bytes(header[24:27], "little"), 1 + int.from_bytes(header[27:30], "little")
    if chunk == b"VP8L" and len(header) >= 25:
        bits = int.from_bytes(header[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 " and len(header) >= 30:
        return int.from_bytes(header[26:28], "little") & 0x3FFF, int.from_bytes(header[28:30], "little") & 0x3FFF
    return None


def _is_lossless(stream: BinaryIO) -> bool:
    """Whether the picture is in a VP8L chunk: chunks are a name, a length and data padded to even length."""
    at = 12
    while True:
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8 or head[:4] == b"VP8 ":
            return False
        if head[:4] == b"VP8L":
            return True
        length = int.from_bytes(head[4:], "little")
        at += 8 + length + length % 2
