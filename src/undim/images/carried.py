"""Everything a picture file can carry besides its pixels, and what becomes of it: the one table.

What a format takes is copied byte by byte. What it does not take is named in a note, unless nobody would mind. What
describes the old pixels (previews, gain maps, a video of the same moment, signatures) is kept nowhere. The table of
docs/pictures.md is made of these rows (`table`), and so are the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from PIL import TiffTags

from undim.images import photoshop, xmp
from undim.images.codec import Codec
from undim.images.exif import has_resolution
from undim.images.picture import Metadata

_SCREEN_DPI = (72, 96)
"""Resolutions that programs write where nobody has chosen one."""


@dataclass(frozen=True)
class Carried:
    """One kind of thing that some formats take."""

    field: str
    """Of `Metadata`."""
    what: str
    """For the table."""
    note: Callable[[Metadata], str]
    """What to call the lost thing, with its verb; empty where nobody would mind."""
    them: str = "them"


@dataclass(frozen=True)
class Lost:
    """One kind of thing that no output has, since it describes the picture before."""

    what: str
    """For the table."""
    note: str
    """Empty where nobody would mind."""


def _always(words: str) -> Callable[[Metadata], str]:
    return lambda _: words


def _resolution(metadata: Metadata) -> str:
    across, down = metadata.dpi or (0.0, 0.0)
    if (round(across) in _SCREEN_DPI and round(down) in _SCREEN_DPI) or has_resolution(metadata.exif or b""):
        return ""
    return f"the resolution of {across:.4g} dots per inch is"


def _further_tags(metadata: Metadata) -> str:
    entries = sorted(metadata.tags.entries) if metadata.tags else []
    names = [TiffTags.lookup(tag).name for tag in entries]
    told = [str(tag) if name == "unknown" else name for tag, name in zip(entries, names, strict=True)]
    more = f" and {len(told) - 3} more" if len(told) > 4 else ""
    return f"its further TIFF tags ({', '.join(told[:3] if more else told)}{more}) are"


def _further_segments(metadata: Metadata) -> str:
    names = [f"APP{marker - 0xE0} {_printable(content)}".strip() for marker, content in metadata.segments]
    return f"its further JPEG segments ({', '.join(dict.fromkeys(names))}) are"


def _further_chunks(metadata: Metadata) -> str:
    names = dict.fromkeys(name.decode("ascii") for name, _, _ in metadata.chunks)
    return f"its further PNG chunks ({', '.join(names)}) are"


def _aspect(metadata: Metadata) -> str:
    across, down = metadata.aspect or (1.0, 1.0)
    return f"that its pixels are not square (resolution {across:.4g} x {down:.4g} without a unit) is"


def _printable(content: bytes) -> str:
    word = content[:12].split(b"\0")[0]
    return word.decode("ascii") if word.isascii() and word.decode("ascii").isprintable() else ""


def _iptc(metadata: Metadata) -> str:
    if not photoshop.is_minded(metadata.photoshop):
        return ""
    return "the IPTC caption and keywords are" if photoshop.iptc_of(metadata.photoshop) else "the Photoshop paths are"


CARRIED: tuple[Carried, ...] = (
    Carried("exif", "EXIF", _always("the EXIF data are")),
    Carried("xmp", "XMP", _always("the XMP data are")),
    Carried("xmp_extension", "extended XMP", _always("the second part of the XMP data is"), "it"),
    Carried("photoshop", "IPTC, and Photoshop's other resources", _iptc),
    Carried("text", "PNG text", _always("the text chunks (author, description and the like) are")),
    Carried("chunks", "other PNG chunks", _further_chunks),
    Carried("comments", "comments of JPEG and GIF files", _always("the comment is"), "it"),
    Carried("segments", "other JPEG segments", _further_segments),
    Carried("geography", "GeoTIFF tags", _always("the GeoTIFF tags are")),
    Carried("tags", "other TIFF tags", _further_tags),
    Carried("dpi", "resolution", _resolution, "it"),
    Carried("aspect", "pixels that are not square", _aspect, "it"),
)
"""In the order of their notes. Colour profiles, which are converted where they cannot be held, are not among them."""

LOST: dict[str, Lost] = {
    "thumbnail": Lost("the small preview in EXIF, JFIF or Photoshop's resources", ""),
    "previews": Lost("larger previews that cameras put behind a JPEG", ""),
    "gain map": Lost(
        "gain map (Ultra HDR, ISO 21496-1, Apple)", "the HDR gain map is not kept: it belongs to the picture as it was"
    ),
    "motion": Lost("motion photo's video", "the motion photo's video is not kept: it shows the picture as it was"),
    "depth": Lost("depth map", "the depth map is not kept"),
    "pictures": Lost("further pictures of an MPO or HEIC file", "only the first of its pictures is kept"),
    "main": Lost("pictures of a HEIC file beside its main one", "only the main one of its pictures is kept"),
    "copies": Lost("smaller copies of a TIFF page", "the smaller copies of the picture are not kept"),
    "mask": Lost("transparency mask on a page of its own", "the transparency mask on its second page is not kept"),
    "layers": Lost("Photoshop's layers", "the Photoshop layers are not kept: they hold the picture as it was"),
    "samples": Lost("channels besides colours and alpha", "its further channels are not kept"),
    "gdal": Lost(
        "GDAL's tags on pixel values", "GDAL's no-data value and statistics are not kept: they no longer hold"
    ),
    "credentials": Lost(
        "content credentials (C2PA)", "the content credentials are not kept: they vouch for the picture as it was"
    ),
    "trailer": Lost("bytes of other kinds behind a picture", "what stands behind the picture in its file is not kept"),
    "orientation": Lost(
        "GeoTIFF tags of a picture that is turned", "the GeoTIFF tags are not kept: the picture was turned"
    ),
}
"""What no output has."""


def fit(metadata: Metadata, codec: Codec) -> tuple[Metadata, tuple[str, ...]]:
    """What of the metadata a format takes, and notes on the rest, for a codec that writes.

    Colour profiles stay, whatever the format.
    """
    if codec.writes is None:
        return metadata, ()
    notes, empty = [], Metadata()
    for row in CARRIED:
        if row.field in codec.writes.holds or not getattr(metadata, row.field):
            continue
        words = row.note(metadata)
        if words:
            notes.append(f"{words} not kept: {codec.title} files do not take {row.them}")
        metadata = replace(metadata, **{row.field: getattr(empty, row.field)})
    if metadata.xmp and not metadata.xmp_extension:
        metadata = replace(metadata, xmp=xmp.without_extension(metadata.xmp))
    metadata, more = codec.fit(metadata)
    return metadata, (*notes, *more)


def notes_on(lost: Iterable[str]) -> tuple[str, ...]:
    """The notes on rows of `LOST`, each once."""
    return tuple(note for note in (LOST[name].note for name in dict.fromkeys(lost)) if note)


def table(codecs: Iterable[Codec]) -> str:
    """The table of docs/pictures.md."""
    written: list[tuple[Codec, Any]] = [(codec, codec.writes) for codec in codecs if codec.writes is not None]
    lines = ["| besides pixels | " + " | ".join(codec.title for codec, _ in written) + " |"]
    lines.append("|---" * (len(written) + 1) + "|")
    for row in CARRIED:
        cells = ("kept" if row.field in form.holds else "note" for _, form in written)
        lines.append(f"| {row.what} | " + " | ".join(cells) + " |")
    lines += (
        f"| {lost.what} | " + " | ".join("note" if lost.note else "left out" for _ in written) + " |"
        for lost in LOST.values()
    )
    return "\n".join(lines) + "\n"
