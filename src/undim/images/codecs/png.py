"""PNG (third edition): 1 to 16 bits, grey, RGB, palette, alpha; its chunks, each with its checksum compared."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np
from PIL import Image

from undim.arrays import Pixels
from undim.errors import PictureError
from undim.images import photoshop, profiles, xmp
from undim.images.codec import CheckSize, Codec, Format, Stored
from undim.images.codecs import libvips, pillow
from undim.images.exif import read_orientation, strip_prefix
from undim.images.picture import Metadata, Picture, split_channels, whole_aspect

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FRAME = 12
"""Bytes of a chunk besides its content: length, name and checksum."""
_OF_THE_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_COLOURS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
"""What names the colours, the first that is there being the one that counts."""
_READ = (*_COLOURS, b"eXIf", b"pHYs")
_SILENT = (b"sBIT", b"bKGD", b"hIST", b"sPLT", b"tIME", b"iDOT", b"acTL", b"fcTL", b"fdAT")
"""Chunks that nobody misses: how the old pixels were stored or shown, on what ground, and when they last changed."""
_PLACING = (b"oFFs", b"sCAL", b"sTER", b"vpAg", b"caNv")
"""Chunks that are true of any pixels of the same size, if the picture is not turned."""
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp"
_RAW = re.compile(rb"Raw profile type (exif|APP1|iptc|8bim|xmp)")
"""Names of texts in which ImageMagick keeps what PNG had no chunk for."""
_MOST = 1 << 26
"""Most bytes that a compressed profile or text unpacks to."""
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Left, top, and steps to the right and down of the seven pictures in an interlaced one."""
_USUAL_GAMMA = (0.45, 0.46)
"""What is written for sRGB, whose curve is no exponent: 1 / 2.2."""


@dataclass
class _Chunks:
    """A PNG file's chunks."""

    header: bytes = b""
    pixels: list[memoryview] = field(default_factory=list)
    """The whole chunks that make the picture, in order."""
    compressed: list[memoryview] = field(default_factory=list)
    """The contents of those that hold the pixels."""
    others: dict[bytes, bytes] = field(default_factory=dict)
    """The first of each name of `_READ`, and of those that tell of an animation."""
    further: list[tuple[bytes, bytes, bool]] = field(default_factory=list)
    """Names and contents of chunks that are copied or named, and whether they stand behind the pixels."""
    texts: list[tuple[bytes, bytes]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class Png(Codec):
    """PNG files."""

    name, title, suffixes = "png", "PNG", (".png",)
    writes = Format(holds=frozenset(("exif", "icc", "xmp", "text", "dpi", "aspect", "chunks")), depth=16)

    def sniff(self, header: bytes, suffix: str) -> bool:
        """The signature."""
        return header.startswith(_SIGNATURE)

    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """Through Pillow, which has no mode for 16 bits of colour: those through libvips."""
        stream.seek(0)
        chunks = _read_chunks(memoryview(stream.read()), check_size)
        file = io.BytesIO(b"".join((_SIGNATURE, *chunks.pixels)))
        if chunks.header[8] == 16:
            pixels, alpha = _decode_16_bit(file, chunks)
        else:
            pixels, alpha = _decode_8_bit(file, chunks, check_size)
        metadata = _metadata(chunks, grey=pixels.ndim == 2)
        turn = read_orientation(metadata.exif or b"")
        metadata = replace(metadata, chunks=_still_true(chunks, turned=turn != 1))
        picture = Picture(pixels, alpha, metadata, self.name, notes=tuple(chunks.notes))
        return Stored(picture, turn, palette=chunks.header[9] == 3, lost=tuple(chunks.lost))

    def encode(self, picture: Picture, stream: BinaryIO, quality: int | None) -> None:
        """The bits that the pixels have; the chunks of the metadata stand behind the header."""
        if picture.pixels.dtype == np.uint16:
            data = libvips.encode_png(picture)
        else:
            bare = io.BytesIO()
            picture.to_image().save(bare, "PNG")
            data = bare.getvalue()
        behind_header = start = len(_SIGNATURE) + _FRAME + 13
        while data[start + 4 : start + 8] != b"IDAT":  # a resolution of libvips' own
            start += _FRAME + int.from_bytes(data[start : start + 4])
        stream.write(data[:behind_header])
        for name, body in _chunks_of(picture.metadata):
            stream.write(_pack(name, body))
        stream.write(memoryview(data)[start:-_FRAME])
        for name, body, behind in picture.metadata.chunks:
            if behind:
                stream.write(_pack(name, body))
        stream.write(_pack(b"IEND", b""))


def _pack(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))


def _read_chunks(data: memoryview, check_size: CheckSize) -> _Chunks:
    chunks, at, name = _Chunks(), len(_SIGNATURE), b""
    while name != b"IEND" and at + 8 <= len(data):
        end = at + _FRAME + int.from_bytes(data[at : at + 4])
        name = bytes(data[at + 4 : at + 8])
        if end > len(data) and name != b"IEND":
            raise PictureError(f"is damaged or truncated: the file ends inside its chunk {_word(name)}")
        body = data[at + 8 : end - 4]
        # Pixels have a checksum of their own inside, which is compared when they are unpacked.
        sound = name in (b"IDAT", b"IEND") or int.from_bytes(data[end - 4 : end]) == zlib.crc32(data[at + 4 : end - 4])
        if not chunks.header:
            _check_header(name, body, sound=sound)
            check_size((int.from_bytes(body[:4]), int.from_bytes(body[4:8])))
            chunks.header = bytes(body)
        if name in _OF_THE_PIXELS and sound:
            chunks.pixels.append(data[at:end])
            chunks.compressed += [body] if name == b"IDAT" else []
        else:
            _sort_chunk(chunks, name, bytes(body), sound=sound)
        at = end
    if not chunks.compressed:
        raise PictureError("is damaged, or a PNG picture of a kind that is not read: it has no pixels")
    if name != b"IEND":
        chunks.notes.append("its end marker is missing, but all of the picture is there")
        chunks.pixels.append(memoryview(_pack(b"IEND", b"")))
    elif bytes(data[at : at + (1 << 16)]).strip(b"\0"):
        chunks.lost.append("trailer")
    return chunks


def _check_header(name: bytes, body: memoryview, *, sound: bool) -> None:
    if name != b"IHDR" or len(body) != 13 or not sound:
        raise PictureError("is damaged, or a PNG picture of a kind that is not read: it has no header")


def _sort_chunk(chunks: _Chunks, name: bytes, body: bytes, *, sound: bool) -> None:
    if not sound:
        if name in _OF_THE_PIXELS or name[:1].isupper():
            raise PictureError(f"is damaged: the checksum of its chunk {_word(name)} is wrong")
        chunks.notes.append(f"its chunk {_word(name)} is not kept: it is damaged")
    elif name == b"acTL" and int.from_bytes(body[:4]) > 1:
        raise PictureError(f"is animated ({int.from_bytes(body[:4])} frames); Undim enhances still pictures")
    elif name == b"fdAT" and b"acTL" in chunks.others:
        raise PictureError("is animated (1 frame besides the picture); Undim enhances still pictures")
    elif name in _TEXT:
        chunks.texts.append((name, body))
    elif name == b"caBX":
        chunks.lost.append("credentials")
    elif name in (*_READ, b"acTL"):
        chunks.others.setdefault(name, body)
    elif name[:1].isupper():
        raise PictureError(f"has a chunk {_word(name)}, without which it cannot be read, and which is not known")
    elif name not in _SILENT:
        chunks.further.append((name, body, bool(chunks.compressed)))


def _still_true(chunks: _Chunks, *, turned: bool) -> tuple[tuple[bytes, bytes, bool], ...]:
    """The further chunks that hold for other pixels, as a small fourth letter says of unknown ones; a note on the rest.

    Args:
        chunks: of the file.
        turned: whether the picture is turned.
    """
    kept, gone = [], dict[bytes, None]()
    for name, body, behind in chunks.further:
        if not turned if name in _PLACING else name.isalpha() and name[3:].islower():
            kept.append((name, body, behind))
        else:
            gone[name] = None
    if gone:
        words = ", ".join(map(_word, gone))
        chunks.notes.append(
            f"its chunks {words} are not kept: they describe the picture as it was"
            if len(gone) > 1
            else f"its chunk {words} is not kept: it describes the picture as it was"
        )
    return tuple(kept)


def _word(name: bytes) -> str:
    return name.decode("ascii") if name.isalpha() else repr(name)[2:-1]


def _decode_16_bit(file: BinaryIO, chunks: _Chunks) -> tuple[Pixels, Pixels | None]:
    try:
        return split_channels(libvips.LazyPicture(file, "png").decode())
    except PictureError:
        with suppress(KeyError):  # of a damaged header
            _check_length(chunks)  # says more than libpng does
        raise


def _decode_8_bit(file: BinaryIO, chunks: _Chunks, check_size: CheckSize) -> tuple[Pixels, Pixels | None]:
    with pillow.opened(file, "PNG", check_size) as image:
        image.load()
        interlaced = bool(chunks.header[12])
        # Pillow is content with a stream that ends early, and leaves the rest at 0.
        if interlaced or not np.asarray(image)[-1].any():
            _check_length(chunks)
        _scale_transparent_colour(image, chunks.header[8])
        return pillow.decode(image)


def _check_length(chunks: _Chunks) -> None:
    """Raise PictureError if the compressed pixels unpack to less than the header says."""
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks.header)
    parts = _PASSES if interlaced else ((0, 0, 1, 1),)
    expected = 0
    for left, top, right, down in parts:
        columns, rows = -(-max(width - left, 0) // right), -(-max(height - top, 0) // down)
        expected += rows * (1 + (columns * _SAMPLES[kind] * bits + 7) // 8) if columns else 0
    engine, found = zlib.decompressobj(), 0
    for body in chunks.compressed:
        rest: bytes | memoryview = body
        while rest and not engine.eof:
            found += len(engine.decompress(rest, 1 << 20))
            rest = engine.unconsumed_tail
    if found < expected:
        raise PictureError(f"is damaged or truncated: its pixels are {found} of {expected} bytes")


def _scale_transparent_colour(image: Image.Image, depth: int) -> None:
    """Bring a transparent grey of 2 or 4 bits to the 8 bits of the pixels, as Pillow does not."""
    key = image.info.get("transparency")
    if image.mode == "L" and depth in (2, 4) and isinstance(key, int) and key < 2**depth:
        image.info["transparency"] = key * (255 // (2**depth - 1))


def _metadata(chunks: _Chunks, *, grey: bool) -> Metadata:
    raw, texts, packet = _read_texts(chunks.texts)
    exif = chunks.others.get(b"eXIf") or raw.get(b"exif") or raw.get(b"APP1") or b""
    icc, colour_chunks = _read_colours(chunks, grey=grey)
    dpi, aspect = _read_dots(chunks.others.get(b"pHYs", b""))
    resources = raw.get(b"8bim") or b""
    if raw.get(b"iptc"):
        iptc = raw[b"iptc"]
        resources = iptc if iptc.startswith(b"8BIM") else photoshop.of_iptc(iptc)
    return Metadata(
        exif=strip_prefix(exif) or None,
        icc=icc,
        xmp=xmp.without_pointers(packet or raw.get(b"xmp") or b"") or None,
        dpi=dpi,
        aspect=aspect,
        photoshop=photoshop.without_thumbnails(resources),
        text=tuple(texts),
        colour_chunks=colour_chunks,
    )


def _read_dots(body: bytes) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Dots per inch, or the resolution without a unit of pixels that are not square."""
    if len(body) != 9:
        return None, None
    across, down, unit = struct.unpack(">IIB", body)
    if unit == 1:
        return (across * 0.0254, down * 0.0254), None
    return None, (float(across), float(down)) if across != down else None


def _read_texts(
    chunks: Iterable[tuple[bytes, bytes]],
) -> tuple[dict[bytes, bytes], list[tuple[bytes, bytes]], bytes | None]:
    """ImageMagick's raw profiles by kind, the other chunks as they are, and XMP."""
    raw, texts, packet = dict[bytes, bytes](), [], None
    for name, body in chunks:
        keyword = body.split(b"\0", 1)[0]
        kind = _RAW.fullmatch(keyword)
        content = _unpack_text(name, body) if kind or keyword == _XMP else None
        if content is not None and kind:
            raw.setdefault(kind[1], _from_hexadecimal(content))
        elif content is not None and packet is None:
            packet = content
        elif keyword != _XMP:
            texts.append((name, body))
    return raw, texts, packet


def _unpack_text(name: bytes, body: bytes) -> bytes | None:
    """The text of a chunk; None where it is damaged or unpacks to more than 64 MB."""
    rest = body.split(b"\0", 1)[1] if b"\0" in body else b""
    packed = name == b"zTXt"
    if name == b"zTXt":
        rest = rest[1:]
    elif name == b"iTXt":
        packed, parts = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
        if len(parts) < 3:
            return None
        rest = parts[2]
    return _inflate(rest) if packed else rest


def _inflate(packed: bytes) -> bytes | None:
    engine = zlib.decompressobj()
    try:
        content = engine.decompress(packed, _MOST)
    except zlib.error:
        return None
    return content if engine.eof else None


def _from_hexadecimal(text: bytes) -> bytes:
    """Of lines that name the kind, the length, and the bytes in hexadecimal."""
    parts = text.split(None, 2)
    try:
        return bytes.fromhex(parts[2].decode("ascii")) if len(parts) == 3 else b""
    except ValueError:
        return b""


def _read_colours(chunks: _Chunks, *, grey: bool) -> tuple[bytes | None, tuple[tuple[bytes, bytes], ...]]:
    """The profile, made of numbers where the file has none, and the chunks that say the same."""
    there = chunks.others
    if b"cICP" in there and len(there[b"cICP"]) == 4:
        primaries, transfer = there[b"cICP"][:2]
        try:
            profile = profiles.by_numbers(primaries, transfer, grey=grey)
        except ValueError as error:
            chunks.notes.append(profiles.note_on_numbers(str(error)))
            return None, ()
        return profile, ((b"cICP", there[b"cICP"]),)
    if b"iCCP" in there:
        name, _, packed = there[b"iCCP"].partition(b"\0")
        profile = _inflate(packed[1:]) if len(name) < 80 else None
        if profile is None:
            chunks.notes.append("the colour profile is not kept: it is damaged")
        return profile or None, ()
    if b"sRGB" in there:
        return None, tuple((name, there[name]) for name in (b"sRGB", b"gAMA", b"cHRM") if name in there)
    return _read_numbers(chunks, grey=grey)


def _read_numbers(chunks: _Chunks, *, grey: bool) -> tuple[bytes | None, tuple[tuple[bytes, bytes], ...]]:
    gamma_chunk, points_chunk = chunks.others.get(b"gAMA", b""), chunks.others.get(b"cHRM", b"")
    kept = tuple((name, chunks.others[name]) for name in (b"gAMA", b"cHRM") if name in chunks.others)
    points, exponent = profiles.SRGB, 0.0
    if len(points_chunk) == 32:
        values = [value / 100_000 for value in struct.unpack(">8I", points_chunk)]
        points = ((values[0], values[1]), (values[2], values[3]), (values[4], values[5]), (values[6], values[7]))
    if len(gamma_chunk) == 4:
        exponent = int.from_bytes(gamma_chunk) / 100_000
    usual = not exponent or _USUAL_GAMMA[0] <= exponent <= _USUAL_GAMMA[1]
    if not kept or (profiles.are_srgb(points) and usual):
        return None, kept
    try:
        return profiles.by_chromaticities(points, 1 / exponent if exponent else None, grey=grey), kept
    except (ValueError, struct.error, np.linalg.LinAlgError):
        chunks.notes.append("the numbers that name its colours (gAMA, cHRM) are not kept: they mean nothing")
        return None, ()


def _chunks_of(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    """Chunks that stand before the pixels (PNG, third edition, section 11.3)."""
    if metadata.colour_chunks:
        yield from metadata.colour_chunks
    elif metadata.icc:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc)
    if metadata.dpi:
        across, down = (round(dots / 0.0254) for dots in metadata.dpi)
        yield b"pHYs", struct.pack(">IIB", across, down, 1)
    elif metadata.aspect:
        yield b"pHYs", struct.pack(">IIB", *whole_aspect(metadata.aspect, 2**31 - 1), 0)
    if metadata.exif:
        yield b"eXIf", metadata.exif
    if metadata.xmp:
        yield b"iTXt", _XMP + b"\0\0\0\0\0" + metadata.xmp
    yield from metadata.text
    yield from ((name, body) for name, body, behind in metadata.chunks if not behind)
