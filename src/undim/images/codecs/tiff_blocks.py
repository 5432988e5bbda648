"""The samples of a TIFF page: its strips or tiles, each decoded whole or the page is refused.

libtiff's own ways of reading a whole page fill what is missing with zeros. Here every block must be in the file, must
decode without an error, and must give as many samples as the page says.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from undim.errors import PictureError
from undim.images import ifd
from undim.images.codecs import jpeg_stream
from undim.installed import add_extra

Samples = npt.NDArray[Any]
"""H x W x S: uint8, uint16, float32 or float64."""

UNSIGNED, SIGNED, FLOATING = 1, 2, 3
"""Values of SampleFormat."""
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIPS, SAMPLES, ROWS, STRIP_BYTES, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
SAMPLE_FORMAT, JPEG_TABLES = 339, 347
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3
_RGB, _CMYK, _YCBCR = 2, 5, 6

NAMES = {
    1: "none",
    2: "CCITT run lengths",
    3: "CCITT group 3",
    4: "CCITT group 4",
    5: "LZW",
    6: "old-style JPEG",
    7: "JPEG",
    8: "deflate",
    9: "JBIG",
    10: "JBIG",
    22610: "JPEG XR",
    32766: "NeXT",
    32773: "PackBits",
    32809: "ThunderScan",
    32895: "IT8",
    32908: "PixarFilm",
    32909: "Pixar log",
    32946: "deflate",
    32947: "DCS",
    33003: "JPEG 2000 (Aperio)",
    33004: "JPEG 2000 (Aperio)",
    33005: "JPEG 2000 (Aperio)",
    34661: "JBIG",
    34676: "SGI log",
    34677: "SGI log",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    34926: "Zstandard",
    34927: "WebP",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
"""Compressions by their numbers, for messages."""


@dataclass(frozen=True)
class Layout:
    """How the samples of a page lie in its file."""

    width: int
    height: int
    samples: int
    """Per pixel."""
    bits: int
    """Per sample."""
    kind: int
    """`UNSIGNED`, `SIGNED` or `FLOATING`."""
    planar: bool
    """Whether each sample has blocks of its own."""
    tiled: bool
    block: tuple[int, int]
    """Width and height of a block."""
    compression: int
    predictor: int
    photometric: int
    reversed_bits: bool
    """Whether the first pixel is in the lowest bit of a byte (FillOrder 2)."""
    order: str
    tables: bytes
    """JPEG tables that the blocks share."""
    places: tuple[tuple[int, int], ...]
    """Offset and length of each block."""

    @property
    def kept_together(self) -> int:
        """Samples per pixel in one block."""
        return 1 if self.planar else self.samples

    @property
    def row_bytes(self) -> int:
        """Bytes of one decoded row of a block: rows begin with a new byte."""
        return (self.block[0] * self.kept_together * self.bits + 7) // 8


@dataclass(frozen=True)
class _Block:
    """One block as it is stored."""

    data: bytes
    rows: int
    """How many of its rows count: fewer than the block's height in the last strip."""
    layout: Layout


def read_layout(page: ifd.Directory) -> Layout:
    """How a page's samples lie, for what it does not say by the standard's defaults.

    Raises:
        PictureError: if it contradicts itself or is of a kind that is not read.
    """
    width, height, samples = page.integer(WIDTH, 0), page.integer(HEIGHT, 0), page.integer(SAMPLES, 1)
    if width < 1 or height < 1 or samples < 1:
        raise PictureError(f"is damaged: it names a size of {width} x {height} with {samples} samples per pixel")
    bits, kinds = page.integers(BITS, 1), page.integers(SAMPLE_FORMAT, UNSIGNED)
    if len(set(bits)) > 1 or len(set(kinds)) > 1:
        raise PictureError("has samples of different depths or types, which is not read; convert it to 8 or 16 bit")
    tiled = TILE_WIDTH in page or TILES in page
    rows = min(page.integer(ROWS, height) or height, height)
    block = (page.integer(TILE_WIDTH, 0), page.integer(TILE_HEIGHT, 0)) if tiled else (width, rows)
    if min(block) < 1:
        raise PictureError("is damaged: its tiles have no size")
    offsets = page.integers(TILES) or page.integers(STRIPS) if tiled else page.integers(STRIPS)
    lengths = page.integers(TILE_BYTES) or page.integers(STRIP_BYTES) if tiled else page.integers(STRIP_BYTES)
    layout = Layout(
        width=width,
        height=height,
        samples=samples,
        bits=bits[0],
        kind=UNSIGNED if kinds[0] == 4 else kinds[0],  # 4 is "undefined", which libtiff takes for unsigned
        planar=page.integer(PLANAR, 1) == 2 and samples > 1,
        tiled=tiled,
        block=block,
        compression=page.integer(COMPRESSION, 1),
        predictor=page.integer(PREDICTOR, 1),
        photometric=page.integer(PHOTOMETRIC, 1),
        reversed_bits=page.integer(FILL_ORDER, 1) == 2,
        order=page.order,
        tables=page.data(JPEG_TABLES),
        places=(),
    )
    return _with_places(layout, offsets, lengths)


def check_places(layout: Layout, size: int) -> None:
    """Raise PictureError if blocks lie, in part or whole, behind the file's end at `size` bytes, or have no data."""
    kind = "tiles" if layout.tiled else "strips"
    total = len(layout.places)
    if any(length == 0 for _, length in layout.places):
        empty = sum(length == 0 for _, length in layout.places)
        raise PictureError(f"has no data for {empty} of its {total} {kind}; fill them before (GDAL: SPARSE_OK=FALSE)")
    lost = sum(offset + length > size for offset, length in layout.places)
    if lost:
        raise PictureError(f"is damaged or truncated: the file ends before {lost} of its {total} {kind}")


def read_samples(stream: BinaryIO, layout: Layout, wanted: int) -> Samples:
    """The first `wanted` samples of each pixel: H x W x `wanted`, unsigned ones as they are stored, not scaled.

    Of JPEG with YCbCr they are RGB.

    Raises:
        PictureError: if a block is damaged, or of a compression, type or depth that is not read.
    """
    decode = _decoder(layout)
    result = np.empty((layout.height, layout.width, wanted), _type_of(layout))
    width, height = layout.block
    across = -(-layout.width // width)
    per_plane = across * -(-layout.height // height)
    for index, (offset, length) in enumerate(layout.places[: per_plane * (wanted if layout.planar else 1)]):
        plane, at = divmod(index, per_plane)
        top, left = at // across * height, at % across * width
        stream.seek(offset)
        rows = height if layout.tiled else min(height, layout.height - top)
        try:
            block = decode(_Block(stream.read(length), rows, layout))
        except PictureError:
            raise
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # each library has exceptions of its own
            kind = "tile" if layout.tiled else "strip"
            reason = str(error).strip().splitlines()
            raise PictureError(
                f"is damaged: {kind} {index + 1} of {len(layout.places)} ({NAMES.get(layout.compression)}) cannot be "
                f"decoded: {reason[0] if reason else type(error).__name__}"
            ) from error
        low, right = min(top + height, layout.height), min(left + width, layout.width)
        part = block[: low - top, : right - left]
        if layout.planar:
            result[top:low, left:right, plane] = part[..., 0]
        else:
            result[top:low, left:right] = part[..., :wanted]
    return result


def _with_places(layout: Layout, offsets: tuple[int, ...], lengths: tuple[int, ...]) -> Layout:
    width, height = layout.block
    count = -(-layout.width // width) * -(-layout.height // height) * (layout.samples if layout.planar else 1)
    if layout.compression == 1 and not layout.tiled:
        # Old writers give no lengths, or wrong ones; without compression they follow from the size.
        per_plane = -(-layout.height // height)
        last = layout.height - (per_plane - 1) * height
        rows = [last if (at + 1) % per_plane == 0 else height for at in range(min(count, len(offsets)))]
        lengths = tuple(layout.row_bytes * number for number in rows)
    elif not lengths and count == 1:
        lengths = (1 << 62,)
    if min(len(offsets), len(lengths)) < count:
        raise PictureError(
            f"is damaged: it names the places of {min(len(offsets), len(lengths))} of its {count} "
            f"{'tiles' if layout.tiled else 'strips'}"
        )
    places = tuple(zip(offsets[:count], lengths[:count], strict=True))
    return Layout(**{**vars(layout), "places": places})


def _type_of(layout: Layout) -> np.dtype[Any]:
    if layout.kind == FLOATING:
        kinds: dict[int, type[np.generic]] = {16: np.float32, 32: np.float32, 64: np.float64}
        if layout.bits not in kinds:
            raise PictureError(f"{layout.bits}-bit floating point is not read; convert it to 16 bit grey or RGB first")
        return np.dtype(kinds[layout.bits])
    if layout.kind != UNSIGNED or layout.bits > 16:
        kind = "complex numbers" if layout.kind in (5, 6) else "signed or 32-bit integer pictures"
        raise PictureError(f"{kind} are not read; convert it to 8 or 16 bit grey or RGB first")
    if not layout.bits:
        raise PictureError("is damaged: it names 0 bits per sample")
    return np.dtype(np.uint8 if layout.bits <= 8 else np.uint16)


def _decoder(layout: Layout) -> Callable[[_Block], Samples]:
    name = NAMES.get(layout.compression, f"number {layout.compression}")
    if layout.compression in _BYTES:
        return _from_bytes
    pillow, foreign = _PICTURES.get(layout.compression), _IMAGECODECS.get(layout.compression)
    if pillow is not None and _pillow_reads(layout):
        return pillow
    if foreign is not None:
        codecs = _imagecodecs(name)
        return lambda block: _by_imagecodecs(block, getattr(codecs, foreign))
    raise PictureError(
        f"is compressed by {name}, which is not read in TIFF files; save it with deflate or LZW compression first"
    )


def _pillow_reads(layout: Layout) -> bool:
    """Whether a picture codec of 8 bits does: 16-bit grey JPEG 2000 Pillow has too, other depths it rounds."""
    return layout.kind == UNSIGNED and layout.bits == 8


def _imagecodecs(name: str) -> ModuleType:
    try:
        import imagecodecs
    except ImportError as error:
        raise PictureError(
            f"is compressed by {name}, which needs imagecodecs: {add_extra('tiff')}; "
            "or save it with deflate or LZW compression first"
        ) from error
    module: ModuleType = imagecodecs
    return module


# Compressions of bytes ------------------------------------------------------------------------------------------------


def _from_bytes(block: _Block) -> Samples:
    layout = block.layout
    expected = layout.row_bytes * block.rows
    data = block.data
    if layout.reversed_bits:
        data = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")).tobytes()
    data = _BYTES[layout.compression](data, block, expected)
    if len(data) < expected:
        raise ValueError(f"it has {len(data)} of {expected} bytes")
    values = _unpack(np.frombuffer(data, np.uint8, expected).reshape(block.rows, -1), layout)
    return values.reshape(block.rows, layout.block[0], layout.kept_together)


def _unpack(rows: npt.NDArray[np.uint8], layout: Layout) -> Samples:
    """Rows of bytes to rows of samples, with the differences to the left neighbour undone."""
    count = layout.block[0] * layout.kept_together
    # Other compressions know no predictor, and writers' tags for them mean nothing.
    predictor = layout.predictor if layout.compression in _PREDICTED else 1
    if predictor == _FLOAT_DIFFERENCES:
        return _undo_float_differences(rows, layout)
    if layout.bits not in (8, 16, 32, 64):
        if predictor != 1:
            raise PictureError(f"has differences of {layout.bits}-bit samples, which are not read; convert it first")
        return _unpack_bits(rows, layout.bits, count)
    kind = "f" if layout.kind == FLOATING else "u"
    size = layout.bits // 8
    if predictor == 1:
        values: Samples = rows.view(f"{layout.order}{kind}{size}")
        return values
    if predictor != _DIFFERENCES:
        raise PictureError(f"has predictor {predictor}, which is not read; save it without one first")
    words = rows.view(f"{layout.order}u{size}").astype(f"u{size}").reshape(len(rows), -1, layout.kept_together)
    np.cumsum(words, axis=1, dtype=words.dtype, out=words)
    return words.view(f"{kind}{size}")


def _undo_float_differences(rows: npt.NDArray[np.uint8], layout: Layout) -> Samples:
    """Adobe's predictor 3: differences of bytes, the highest bytes of a row's samples first."""
    if layout.kind != FLOATING or layout.bits not in (16, 32, 64):
        raise PictureError("has the predictor of floating point for integers; save it without one first")
    sums = np.cumsum(rows.reshape(len(rows), -1, layout.kept_together), axis=1, dtype=np.uint8)
    size = layout.bits // 8
    ordered = sums.reshape(len(rows), size, -1).swapaxes(1, 2)
    values: Samples = np.ascontiguousarray(ordered).view(f">f{size}")
    return values


def _unpack_bits(rows: npt.NDArray[np.uint8], bits: int, count: int) -> Samples:
    single = np.unpackbits(rows, axis=1)[:, : count * bits].reshape(len(rows), count, bits)
    values = np.zeros((len(rows), count), np.uint8 if bits <= 8 else np.uint16)
    for place in range(bits):
        values <<= 1
        values |= single[..., place]
    return values


def _stored(data: bytes, block: _Block, expected: int) -> bytes:  # noqa: ARG001 - a codec's arguments
    return data


def _inflated(data: bytes, block: _Block, expected: int) -> bytes:  # noqa: ARG001
    engine = zlib.decompressobj()
    result = engine.decompress(data, expected)
    if len(result) == expected and not engine.eof:
        engine.decompress(engine.unconsumed_tail, 1)  # reaches the checksum
    return result


def _from_xz(data: bytes, block: _Block, expected: int) -> bytes:  # noqa: ARG001
    engine = lzma.LZMADecompressor()
    result = engine.decompress(data, expected)
    if len(result) == expected and not engine.eof:
        engine.decompress(b"", 1)
    return result


def _from_pack_bits(data: bytes, block: _Block, expected: int) -> bytes:
    """Runs (TIFF 6.0, section 9); libtiff passes over runs that do not fit together."""
    parts, at, length = [], 0, 0
    while at < len(data) and length < expected:
        head = data[at]
        if head < 128:
            part, at = data[at + 1 : at + 2 + head], at + 2 + head
        elif head > 128:
            part, at = data[at + 1 : at + 2] * (257 - head), at + 2
        else:
            part, at = b"", at + 1
        parts.append(part)
        length += len(part)
    full = block.rows == block.layout.block[1]  # the last strip may go on behind the picture
    if at > len(data) or (full and (length > expected or len(data) - at > 1)):
        raise ValueError("its runs do not fit together")
    return b"".join(parts)


def _by_libtiff(data: bytes, block: _Block, expected: int) -> bytes:
    """Through Pillow's libtiff, which is given the block as the one strip of a picture of bytes."""
    layout = block.layout
    tags = {
        WIDTH: ifd.longs("<", layout.row_bytes),
        HEIGHT: ifd.longs("<", block.rows),
        BITS: ifd.shorts("<", 8),
        COMPRESSION: ifd.longs("<", layout.compression),
        PHOTOMETRIC: ifd.shorts("<", 1),
        STRIPS: ifd.longs("<", 8),
        SAMPLES: ifd.shorts("<", 1),
        ROWS: ifd.longs("<", block.rows),
        STRIP_BYTES: ifd.longs("<", len(data)),
    }
    start = 8 + len(data) + len(data) % 2
    header = b"II*\0" + struct.pack("<I", start)
    file = io.BytesIO((header + data).ljust(start, b"\0") + ifd.pack_directory("<", tags, start))
    with TiffImagePlugin.TiffImageFile(file) as image:  # not Image.open, which limits the size
        image.load()
        result = image.tobytes()
    if len(result) != expected:
        raise ValueError(f"it has {len(result)} of {expected} bytes")
    return result


_BYTES: Mapping[int, Callable[[bytes, _Block, int], bytes]] = {
    1: _stored,
    5: _by_libtiff,
    8: _inflated,
    32946: _inflated,
    32773: _from_pack_bits,
    34925: _from_xz,
    50000: _by_libtiff,
}
_PREDICTED = (5, 8, 32946, 34925, 50000)
"""Compressions that libtiff lets a predictor go before."""


# Compressions of pictures ---------------------------------------------------------------------------------------------


def _from_jpeg(block: _Block) -> Samples:
    layout = block.layout
    transform = {_RGB: 0, _YCBCR: 1, _CMYK: 0}.get(layout.photometric) if layout.kept_together > 1 else None
    pixels = jpeg_stream.decode(jpeg_stream.join_tables(layout.tables, block.data, transform))
    return _checked(pixels, block)


def _from_picture(block: _Block) -> Samples:
    with Image.open(io.BytesIO(block.data), formats=("WEBP", "JPEG2000")) as image:
        return _checked(np.asarray(image), block)


def _by_imagecodecs(block: _Block, decode: Callable[..., Samples]) -> Samples:
    layout = block.layout
    data = block.data
    if layout.compression == 7:
        data = jpeg_stream.join_tables(layout.tables, data, None)
    return _checked(np.asarray(decode(data)), block)


def _checked(pixels: Samples, block: _Block) -> Samples:
    """H x W x S, if they are what the page says."""
    layout = block.layout
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, samples = pixels.shape
    if height < block.rows or width < layout.block[0] or samples < layout.kept_together:
        raise ValueError(f"it holds {width} x {height} pixels of {samples} samples")
    kind = {"u": UNSIGNED, "b": UNSIGNED, "f": FLOATING}.get(pixels.dtype.kind, SIGNED)
    if kind != layout.kind or pixels.dtype.itemsize * 8 < layout.bits:
        raise ValueError(f"it holds samples of type {pixels.dtype}")
    return pixels


_PICTURES: Mapping[int, Callable[[_Block], Samples]] = {
    7: _from_jpeg,
    34712: _from_picture,
    34927: _from_picture,
    50001: _from_picture,
}
"""Read in 8 bits without a further package."""
_IMAGECODECS = {
    7: "jpeg_decode",
    22610: "jpegxr_decode",
    34712: "jpeg2k_decode",
    34887: "lerc_decode",
    34927: "webp_decode",
    34933: "png_decode",
    34934: "jpegxr_decode",
    50001: "webp_decode",
    50002: "jpegxl_decode",
    52546: "jpegxl_decode",
}
"""Names of functions in imagecodecs."""
