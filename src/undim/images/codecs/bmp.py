"""BMP: 8 bits, with the alpha of version 4 headers and the profiles of version 5."""

from __future__ import annotations

import struct
from typing import BinaryIO

from undim.images import profiles
from undim.images.codec import CheckSize, Codec, Format, Stored
from undim.images.codecs import pillow
from undim.images.picture import Metadata, Picture

_FILE_HEADER, _VERSION_4, _VERSION_5 = 14, 108, 124
_CALIBRATED, _EMBEDDED, _SRGB = 0, 0x4D424544, 0x73524742
"""Colour spaces: by numbers in the header, by a profile behind the pixels, sRGB."""
_MOST = 1 << 26
_BITMASKS = 3
_PERCEPTUAL = 4
_DPI = (96, 96)


class Bmp(Codec):
    """BMP files."""

    name, title, suffixes = "bmp", "BMP", (".bmp", ".dib")
    writes = Format(holds=frozenset(("icc", "dpi")), grey_profile=False)

    def sniff(self, header: bytes, suffix: str) -> bool:
        """The signature."""
        return header.startswith(b"BM")

    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """Pixels through Pillow, which passes over the colours that the header names."""
        with pillow.opened(stream, "BMP", check_size) as image:
            pixels, alpha = pillow.decode(image)
            dpi = pillow.read_metadata(image).dpi
        icc, notes = _read_colours(stream, grey=pixels.ndim == 2)
        picture = Picture(pixels, alpha, Metadata(icc=icc, dpi=dpi), self.name, notes=notes)
        return Stored(picture, palette=True)  # grey has no other way into the file

    def encode(self, picture: Picture, stream: BinaryIO, quality: int | None) -> None:
        """Through Pillow, which writes neither alpha's masks nor profiles: those with a header of version 5."""
        meta = picture.metadata
        if picture.alpha is None and not meta.icc:
            options = {"dpi": meta.dpi} if meta.dpi else {}
            picture.to_image().save(stream, "BMP", **options)
            return
        _write(picture, meta.icc or b"", stream)


def _read_colours(stream: BinaryIO, *, grey: bool) -> tuple[bytes | None, tuple[str, ...]]:
    stream.seek(0)
    header = stream.read(_FILE_HEADER + _VERSION_5)
    length = int.from_bytes(header[14:18], "little")
    if length < _VERSION_4 or len(header) < _FILE_HEADER + length:
        return None, ()
    (space,) = struct.unpack_from("<I", header, 70)
    if space == _EMBEDDED and length >= _VERSION_5:
        offset, size = struct.unpack_from("<II", header, 126)
        stream.seek(_FILE_HEADER + offset)
        profile = stream.read(min(size, _MOST))
        if not size or len(profile) < size:
            return None, ("the colour profile is not kept: it is cut off",)
        return profile, ()
    if space == _CALIBRATED:
        return _read_numbers(header, grey=grey), ()
    return None, ()


def _read_numbers(header: bytes, *, grey: bool) -> bytes | None:
    """A profile of CIE XYZ of the primaries and three gammas; None where they are left at 0 or mean nothing."""
    ends = [value / 2**30 for value in struct.unpack_from("<9I", header, 74)]
    gammas = [value / 2**16 for value in struct.unpack_from("<3I", header, 110)]
    sums = [sum(ends[at : at + 3]) for at in (0, 3, 6)]
    if not all(sums) or not all(gammas) or max(gammas) - min(gammas) > 0.01:
        return None
    red, green, blue = ((ends[3 * at] / sums[at], ends[3 * at + 1] / sums[at]) for at in range(3))
    white = tuple(ends[at] + ends[at + 3] + ends[at + 6] for at in range(3))
    try:
        points = ((white[0] / sum(white), white[1] / sum(white)), red, green, blue)
        usual = profiles.are_srgb(points) and abs(gammas[0] - 2.2) < 0.05
        return None if usual else profiles.by_chromaticities(points, gammas[0], grey=grey)
    except (ValueError, ArithmeticError, struct.error):
        return None


def _write(picture: Picture, profile: bytes, stream: BinaryIO) -> None:
    """24 bits, or 32 with alpha, with a header of version 5 and the profile behind the pixels."""
    alpha = picture.alpha is not None
    image = picture.to_image().convert("RGBA" if alpha else "RGB")
    width, height = image.size
    row = width * 4 if alpha else (width * 3 + 3) // 4 * 4
    start, size = _FILE_HEADER + _VERSION_5, row * height
    dots = [round(value / 0.0254) for value in picture.metadata.dpi or _DPI]
    stream.write(struct.pack("<2sIHHI", b"BM", start + size + len(profile), 0, 0, start))
    kind = (32, _BITMASKS) if alpha else (24, 0)
    stream.write(struct.pack("<IiiHHIIiiII", _VERSION_5, width, height, 1, *kind, size, *dots, 0, 0))
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000) if alpha else (0, 0, 0, 0)
    stream.write(struct.pack("<IIIII48x", *masks, _EMBEDDED if profile else _SRGB))
    place = (_VERSION_5 + size, len(profile)) if profile else (0, 0)
    stream.write(struct.pack("<IIII", _PERCEPTUAL, *place, 0))
    layout = ("BGRA", 0, -1) if alpha else ("BGR", row, -1)
    stream.write(image.tobytes("raw", *layout))
    stream.write(profile)
