"""TIFF files as directories of tags (TIFF 6.0): what they say of the pixels, and writing one."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

from undim.errors import PictureError
from undim.images.exif import ORIENTATION, strip_prefix, with_prefix
from undim.images.picture import Metadata, Picture, join_channels

Tags = TiffImagePlugin.ImageFileDirectory_v2

ICC_PROFILE, XMP = 34675, 700
UNSIGNED, SIGNED, FLOATING = 1, 2, 3
"""Values of SampleFormat."""
_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _EXTRA, _SAMPLE_FORMAT = 254, 258, 259, 262, 277, 338, 339
_DNG_VERSION = 0xC612
_REDUCED = 1
"""Bit of NewSubfileType that marks a smaller copy of another page."""
_BIG = 43
"""The header's version number of BigTIFF, whose header is 16 bytes long."""

_BASE = ExifTags.Base
_DESCRIBING = (
    *(_BASE.ImageDescription, _BASE.Make, _BASE.Model, _BASE.Software, _BASE.DateTime, _BASE.Artist),
    *(_BASE.HostComputer, _BASE.Rating, _BASE.Copyright),
)
"""Tags that describe the picture; the others describe how it is stored."""
_DESCRIBING_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_STORAGE = (
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 317, 320, 322, 323),
    *(324, 325, 330, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532, 700, 34675),
)
"""Tags that say how the pixels lie in the file; those of another file would make this one unreadable."""
_STRIP = 1 << 18
"""Bytes of pixels that are compressed together."""
_LARGEST = 2**32 - 2**24


@dataclass(frozen=True)
class TiffFacts:
    """What the first directory says of the pixels."""

    bits: tuple[int, ...]
    """Of each sample."""
    kind: int
    """`UNSIGNED`, `SIGNED` or `FLOATING`."""
    white_is_zero: bool
    cmyk: bool
    alpha: bool
    """Whether the samples behind the colours are one of transparency."""
    orientation: int
    camera_raw: bool


def read_directories(stream: BinaryIO) -> list[Tags]:
    """All pages' directories, the first one first.

    Raises:
        Exception: almost any built-in one, as Pillow does on damaged files.
    """
    stream.seek(0)
    header = stream.read(8)
    if _BIG in header[2:4]:
        header += stream.read(8)
    at, seen, pages = Tags(header).next, set(), []
    while at and at not in seen:
        seen.add(at)
        stream.seek(at)
        page = Tags(header)
        page.load(stream)
        pages.append(page)
        at = page.next
    return pages


def read_facts(page: Tags) -> TiffFacts:
    """What a directory says of its pixels; for what it does not say, the standard's defaults."""
    photometric, samples = page.get(_PHOTOMETRIC, 1), page.get(_SAMPLES, 1)
    colours = {2: 3, 5: 4, 6: 3, 8: 3}.get(photometric, 1)
    orientation = page.get(ORIENTATION, 1)
    return TiffFacts(
        bits=_many(page.get(_BITS, 1)),
        kind=_many(page.get(_SAMPLE_FORMAT, 1))[0],
        white_is_zero=photometric == 0,
        cmyk=photometric == 5,
        alpha=samples == colours + 1 and _many(page.get(_EXTRA, 0))[0] in (1, 2),
        orientation=orientation if orientation in range(1, 9) else 1,
        camera_raw=_DNG_VERSION in page or bool(page.get(_SUBFILE, 0) & _REDUCED),
    )


def check_pages(pages: list[Tags]) -> tuple[str, ...]:
    """Raise PictureError for several pages; smaller copies of the first one do not count but are noted."""
    if len(pages) == 1:
        return ()
    if all(page.get(_SUBFILE, 0) & _REDUCED for page in pages[1:]):
        return ("holds a smaller copy of itself, which is not kept",)
    raise PictureError(f"has {len(pages)} pages; split it and enhance the pages one by one")


def read_metadata(stream: BinaryIO, page: Tags) -> Metadata:
    """What travels with the pixels, of the picture as it is stored."""
    profile, packet = page.get(ICC_PROFILE), page.get(XMP)
    return Metadata(
        exif=_read_exif(stream, page) or None,
        icc=profile if isinstance(profile, bytes) and profile else None,
        xmp=bytes(packet) if isinstance(packet, bytes | tuple) and packet else None,
        dpi=_read_dpi(page),
    )


def _read_exif(stream: BinaryIO, page: Tags) -> bytes:
    """What of a page's directory describes the picture, as an EXIF block; empty if nothing does."""
    source, kept = Image.Exif(), Image.Exif()
    source.bigtiff, source.endian = page._bigtiff, page._endian
    source.load_from_fp(stream, page._offset)
    for tag in _DESCRIBING:
        if tag in source:
            kept[tag] = source[tag]
    for directory in _DESCRIBING_DIRECTORIES:
        values = source.get_ifd(directory)
        if values:
            kept.get_ifd(directory).update(values)
            kept[directory] = values
    return strip_prefix(kept.tobytes()) if len(kept) else b""


def _read_dpi(page: Tags) -> tuple[float, float] | None:
    """Dots per inch where the resolution has a unit."""
    per_inch = {2: 1.0, 3: 2.54}.get(page.get(296, 2))
    across, down = page.get(282), page.get(283)
    return None if per_inch is None or not across or not down else (float(across) * per_inch, float(down) * per_inch)


def write_tiff(picture: Picture, stream: BinaryIO) -> None:
    """A TIFF in strips of deflated horizontal differences (TIFF 6.0, section 14), of the bits that the pixels have.

    Pillow compresses TIFFs through libtiff, and there cannot write the EXIF directory; of 16 bits it writes grey only.
    """
    meta = picture.metadata
    samples = join_channels(picture.pixels, picture.alpha)
    height, width, channels = samples.shape
    rows = max(1, _STRIP // (width * channels * samples.itemsize))
    strips = []
    for top in range(0, height, rows):
        strip = samples[top : top + rows].copy()
        strip[:, 1:] -= samples[top : top + rows, :-1]
        strips.append(zlib.compress(strip.astype(strip.dtype.newbyteorder("<"), copy=False).tobytes(), 6))
    lengths = [len(strip) for strip in strips]

    tags = _describing_tags(meta.exif or b"")
    if meta.dpi:
        tags[282], tags[283], tags[296] = meta.dpi[0], meta.dpi[1], 2
    for tag, kind, data in ((XMP, TiffTags.BYTE, meta.xmp), (ICC_PROFILE, TiffTags.UNDEFINED, meta.icc)):
        if data:
            tags.tagtype[tag] = kind
            tags[tag] = data
    tags[256], tags[257], tags[_BITS], tags[_SAMPLES] = width, height, (8 * samples.itemsize,) * channels, channels
    tags[_COMPRESSION], tags[317], tags[284] = 8, 2, 1  # deflate, differences, samples side by side
    tags[_PHOTOMETRIC] = 1 if picture.grey else 2  # black is zero, or RGB
    if picture.alpha is not None:
        tags[_EXTRA] = 2  # alpha that is not multiplied in
    tags[278] = rows
    tags.tagtype[273] = tags.tagtype[279] = TiffTags.LONG
    tags[273] = tuple(accumulate(lengths[:-1], initial=0))  # from the end of the directory on; saving adds that
    tags[279] = tuple(lengths)
    if sum(lengths) + len(meta.icc or b"") + len(meta.xmp or b"") + len(meta.exif or b"") > _LARGEST:
        raise ValueError("it is over 4 GB; choose png (--format png)")
    tags.save(stream)
    stream.writelines(strips)


def can_be_tags(block: bytes) -> bool:
    """Whether an EXIF block is whole enough to be written into a TIFF file."""
    try:
        _describing_tags(block).tobytes(8)
    except Exception:  # on a damaged block Pillow raises almost every built-in exception
        return False
    return True


def _describing_tags(block: bytes) -> Tags:
    """A TIFF directory with what an EXIF block says of the picture, not of how its pixels are stored."""
    exif, tags = Image.Exif(), Tags()
    exif.load(with_prefix(block) if block else b"")
    for tag in exif:
        if tag not in _STORAGE:
            tags[tag] = exif.get_ifd(tag) if tag in TiffTags.TAGS_V2_GROUPS else exif[tag]
    return tags


def _many(value: object) -> tuple[int, ...]:
    values = value if isinstance(value, tuple) and value else (value,)
    return tuple(item for item in values if isinstance(item, int)) or (0,)
