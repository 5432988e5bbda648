"""Odd files as people have them, made here; and the collection of them, where it is at hand."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from undim.errors import PictureError
from undim.images import Picture, encode_picture, read_picture
from undim.images.formats import has_picture_suffix
from undim.images.picture import divide_by_alpha

Y, X = np.mgrid[0:64, 0:96]
DARK = np.stack([20 + X // 4, 25 + Y // 4, 30 + (X + Y) // 8], axis=-1).astype(np.uint8)
CASES = Path(os.environ.get("UNDIM_DATA", "/nowhere")).parent / "cases"


def with_premultiplied_mark(data):
    """An AVIF file of one picture and its alpha with a reference `prem` from the first to the second."""
    content = bytearray(data)
    at = content.index(b"iref") - 4
    size, auxl = int.from_bytes(content[at : at + 4]), content.index(b"auxl", at)
    alpha, count, picture = struct.unpack_from(">HHH", content, auxl + 4)
    assert count == 1
    box = struct.pack(">I4sHHH", 14, b"prem", picture, 1, alpha)
    iloc = content.index(b"iloc")
    version, widths, base = content[iloc + 4], content[iloc + 8], content[iloc + 9] >> 4
    assert (version, widths) == (0, 0x44)
    place = iloc + 12
    for _ in range(struct.unpack_from(">H", content, iloc + 10)[0]):
        place += 4 + base
        for extent in range(struct.unpack_from(">H", content, place)[0]):
            (offset,) = struct.unpack_from(">I", content, place + 2 + 8 * extent)
            struct.pack_into(">I", content, place + 2 + 8 * extent, offset + len(box))
        place += 2 + 8 * (extent + 1)
    struct.pack_into(">I", content, at, size + len(box))
    meta = content.index(b"meta") - 4
    struct.pack_into(">I", content, meta, int.from_bytes(content[meta : meta + 4]) + len(box))
    content[at + size : at + size] = box
    return bytes(content)


@pytest.mark.parametrize("deep", [False, True])
def test_premultiplied_avif(deep):
    colours = DARK.astype(np.uint16) * 257 if deep else DARK
    top = np.iinfo(colours.dtype).max
    alpha = np.linspace(top // 3, top, DARK[..., 0].size).astype(colours.dtype).reshape(64, 96)
    multiplied = np.rint(colours * (alpha[..., None] / top)).astype(colours.dtype)
    stream = io.BytesIO()
    encode_picture(Picture(multiplied, alpha), stream, "avif", 100)
    plain = read_picture(stream.getvalue())
    marked = with_premultiplied_mark(stream.getvalue())
    assert np.abs(plain.pixels.astype(int) - multiplied).mean() < top / 150
    picture = read_picture(marked)
    assert np.abs(picture.pixels.astype(int) - colours).mean() < top / 150


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("grey", [False, True])
def test_division_by_alpha(kind, grey):
    top = np.iinfo(kind).max
    numbers = np.random.default_rng(1)
    alpha = numbers.integers(0, top + 1, (20, 30)).astype(kind)
    alpha[0, :3] = 0, 1, top
    pixels = numbers.integers(0, top + 1, (20, 30) if grey else (20, 30, 3)).astype(kind)
    shares = alpha if grey else alpha[..., None].repeat(3, -1)
    with np.errstate(all="ignore"):
        exact = np.where(shares > 0, np.minimum(pixels * float(top) / shares, top), pixels)
    assert np.abs(divide_by_alpha(pixels, alpha) - exact).max() <= 0.5


def test_lone_page_that_is_marked_as_a_smaller_copy(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DARK, photometric="rgb", subfiletype=1)
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, DARK)
    assert picture.notes == ()


@pytest.mark.parametrize("first", [0, 4])
def test_page_and_transparency_mask(tmp_path, first):
    pages = [(DARK, 0, "rgb"), (np.ones((64, 96), bool), 4, "minisblack")]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page, kind, colours in pages if not first else pages[::-1]:
            writer.write(page, photometric=colours, subfiletype=kind, metadata=None)
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, DARK)
    assert picture.notes == ("the transparency mask on its second page is not kept",)


def test_tiles_without_data_are_not_black(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DARK, photometric="rgb", tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        counts = list(file.pages[0].databytecounts)
        file.pages[0].tags["TileByteCounts"].overwrite([0, *counts[1:]])
    with pytest.raises(PictureError, match="has no data for 1 of its 6 tiles"):
        read_picture(tmp_path / "a.tif")


def test_a_stereo_cameras_suffix_counts_as_a_picture():
    assert has_picture_suffix("DSCF0001.MPO")
    assert has_picture_suffix("a.pam")


REFUSED = {"tiled_deflate_16bit_cut_off.tif": "ends before 1 of its 6 tiles"}
NOTED = ("lower_half_lost", "no_end_marker", "page_and_transparency_mask", "ultra_hdr", "stereo", "float64")


@pytest.mark.skipif(not CASES.is_dir(), reason="the collection of cases is not at hand")
def test_the_collection():
    files = [path for path in sorted(CASES.iterdir()) if has_picture_suffix(path) and path.suffix != ".gif"]
    assert files
    for path in files:
        if path.name in REFUSED:
            with pytest.raises(PictureError, match=REFUSED[path.name]):
                read_picture(path)
            continue
        picture, stream = read_picture(path), io.BytesIO()
        notes = encode_picture(picture, stream)
        assert bool(picture.notes) == path.stem.startswith(NOTED)
        assert notes == () or "premultiplied" in path.stem
        shown = read_picture(stream.getvalue()).pixels.astype(float)
        assert np.abs(shown - picture.pixels).mean() < shown.max() / 40
        if picture.size == (96, 64) and picture.pixels.ndim == 3 and path.suffix != ".mpo":
            marks = [np.argmax(shown[row, column]) for row, column in ((4, 4), (4, -5), (-5, 4))]
            assert marks == [0, 1, 2], path.name
