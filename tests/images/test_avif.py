"""AVIF: crops, turns and the shape of pixels, in properties added to files of other writers; and no colours."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from undim.images import encode_picture, read_picture

imagecodecs = pytest.importorskip("imagecodecs")

Y, X = np.mgrid[0:48, 0:64]
PIXELS = np.stack([20 + 3 * X, 30 + 4 * Y, 25 + X + Y], axis=-1).astype(np.uint8)
CROP = struct.pack(">IIIIiIiI", 32, 1, 24, 1, 3, 1, -2, 1)
"""Width and height of 32 x 24, their middle 3 right of the picture's and 2 above it, as fractions."""
SHOWN = (slice(10, 34), slice(19, 51))


def avif(bits, pixels=PIXELS):
    if bits > 8 or pixels.ndim == 2:
        values = np.rint(pixels * ((2**bits - 1) / 255)).astype(np.uint16 if bits > 8 else np.uint8)
        return imagecodecs.avif_encode(values, level=100, bitspersample=bits)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "AVIF", quality=100, subsampling="4:4:4")
    return stream.getvalue()


def with_property(data, name, content):
    """The file with one property more (ISO/IEC 23008-12, 9.3) of its first item, the picture."""
    box = struct.pack(">I", 8 + len(content)) + name + content
    at = data.index(b"ipco") - 4
    size = int.from_bytes(data[at : at + 4])
    count, place = 0, at + 8
    while place < at + size:
        count, place = count + 1, place + int.from_bytes(data[place : place + 4])
    listed = data.index(b"ipma") - 4
    links = listed + 18  # length, name, version and flags, number of items, number of the item
    behind = links + 1 + data[links]
    table = data[listed:links] + bytes((data[links] + 1,)) + data[links + 1 : behind]
    table += bytes((0x80 | (count + 1),)) + data[behind:]
    made = data[:at] + struct.pack(">I", size + len(box)) + data[at + 4 : at + size] + box
    made = bytearray(made + data[at + size : listed] + struct.pack(">I", int.from_bytes(table[:4]) + 1) + table[4:])
    for parent in (b"meta", b"iprp"):
        start = made.index(parent) - 4
        struct.pack_into(">I", made, start, int.from_bytes(made[start : start + 4]) + len(box) + 1)
    places = made.index(b"iloc") + 4
    assert (made[places], made[places + 4], made[places + 5] >> 4) == (0, 0x44, 0)
    item = places + 8
    for _ in range(struct.unpack_from(">H", made, places + 6)[0]):
        (extents,) = struct.unpack_from(">H", made, item + 4)
        for extent in range(extents):
            (offset,) = struct.unpack_from(">I", made, item + 6 + 8 * extent)
            struct.pack_into(">I", made, item + 6 + 8 * extent, offset + len(box) + 1)
        item += 6 + 8 * extents
    return bytes(made)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_a_part_alone_is_shown(bits):
    picture = read_picture(with_property(avif(bits), b"clap", CROP))
    assert (picture.size, picture.exact_bits, picture.notes) == ((32, 24), bits, ())
    step = 1 if bits == 8 else 257
    assert np.abs(picture.pixels / step - PIXELS[SHOWN]).max() < 4


def test_a_part_is_cut_out_before_the_turn():
    picture = read_picture(with_property(with_property(avif(8), b"clap", CROP), b"irot", b"\1"))
    assert picture.size == (24, 32)
    assert np.abs(picture.pixels.astype(int) - np.rot90(PIXELS[SHOWN])).max() < 4


@pytest.mark.parametrize(("name", "content"), [(b"irot", b"\1"), (b"imir", b"\0"), (b"imir", b"\1")])
@pytest.mark.parametrize("bits", [8, 10])
def test_a_turn_is_applied_and_makes_no_exif(name, content, bits):
    picture = read_picture(with_property(avif(bits), name, content))
    expected = np.rot90(PIXELS) if name == b"irot" else PIXELS[::-1] if content == b"\0" else PIXELS[:, ::-1]
    assert np.abs(picture.pixels / (1 if bits == 8 else 257) - expected).max() < 4
    assert picture.metadata.exif is None
    assert not any("EXIF" in note for note in encode_picture(picture, io.BytesIO(), "bmp"))


@pytest.mark.parametrize("turned", [False, True])
def test_shape_of_pixels(turned):
    data = with_property(avif(8), b"pasp", struct.pack(">II", 2, 1))  # twice as wide as high
    stream = io.BytesIO()
    notes = encode_picture(read_picture(with_property(data, b"irot", b"\1") if turned else data), stream, "jpg")
    info = Image.open(stream).info
    assert (notes, info["jfif_unit"], info["jfif_density"]) == ((), 0, (2, 1) if turned else (1, 2))
    assert read_picture(with_property(avif(8), b"pasp", struct.pack(">II", 1, 1))).metadata.aspect is None


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_picture_without_colours_is_grey(bits):
    picture = read_picture(avif(bits, PIXELS[..., 1]))
    assert picture.grey
    assert np.abs(picture.pixels / (1 if bits == 8 else 257) - PIXELS[..., 1]).max() < 4
