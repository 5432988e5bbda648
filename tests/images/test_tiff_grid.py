"""TIFF's layouts, types and compressions, whole, cut off and damaged, against tifffile and imagecodecs.

Each file comes out right, or is refused in true words. There is no third outcome: what is missing is never black.
"""

import itertools
import re
import sys

import numpy as np
import pytest
import tifffile

from undim.errors import PictureError
from undim.images import read_picture

pytest.importorskip("imagecodecs")

LAYOUTS = {"strips": {"rowsperstrip": 16}, "tiles": {"tile": (32, 32)}}
PLANES = {"chunky": "contig", "planar": "separate"}
TYPES = {"8": np.uint8, "16": np.uint16, "32f": np.float32, "64f": np.float64}
COMPRESSIONS = {
    "none": {},
    "LZW": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib", "predictor": True},
    "PackBits": {"compression": "packbits"},
    "Zstandard": {"compression": "zstd", "predictor": True},
    "LZMA": {"compression": "lzma"},
    "JPEG": {"compression": "jpeg", "compressionargs": {"level": 95}},
    "JPEG 2000": {"compression": "jpeg2000", "compressionargs": {"level": 0}},
    "WebP": {"compression": "webp", "compressionargs": {"lossless": True}},
    "LERC": {"compression": "lerc"},
}
LOSSY = ("JPEG", "JPEG 2000")
GRID = list(itertools.product(LAYOUTS, PLANES, TYPES, COMPRESSIONS))
# Every layout, type and compression is in the sample; the whole grid is slow.
SAMPLE = [cell for index, cell in enumerate(GRID) if index % 11 == 0]


def cells():
    return [
        pytest.param(*cell, marks=() if cell in SAMPLE else pytest.mark.slow, id="-".join(cell).replace(" ", "_"))
        for cell in GRID
    ]


def source(kind):
    """80 x 96 of smooth colours with some noise; no value is 0, so that what was not decoded shows."""
    y, x = np.mgrid[0:80, 0:96]
    values = np.stack([0.2 + x / 150, 0.3 + y / 160, 0.25 + (x + y) / 400], axis=-1)
    values += np.random.default_rng(0).normal(0, 0.01, values.shape)
    if np.issubdtype(kind, np.floating):
        return values.astype(kind)
    return np.rint(values * np.iinfo(kind).max).astype(kind)


def write(path, layout, plane, kind, compression, values=None, **more):
    """The values written; skips what no writer makes."""
    values = source(TYPES[kind]) if values is None else values
    stored = np.ascontiguousarray(values.transpose(2, 0, 1)) if plane == "planar" else values
    options = {**LAYOUTS[layout], **COMPRESSIONS[compression], "photometric": "rgb", **more}
    try:
        tifffile.imwrite(path, stored, planarconfig=PLANES[plane], **options)
    except Exception as error:
        pytest.skip(f"tifffile does not write it: {error}")
    return values


def read_by_others(path):
    """H x W x S samples by tifffile; None where it fails."""
    try:
        with tifffile.TiffFile(path) as file:
            samples = file.pages[0].asarray()
    except Exception:
        return None
    return samples.transpose(1, 2, 0) if samples.shape[0] == 3 else samples


def expected(samples, compression=""):
    """What a picture of these samples holds; JPEG's samples of more than 8 bits have 12."""
    if np.issubdtype(samples.dtype, np.floating):
        return np.rint(samples.astype(np.float64) * 65535)
    return np.rint(samples * (65535 / 4095)) if compression == "JPEG" and samples.dtype == np.uint16 else samples


def assert_like(pixels, samples, kind, compression):
    atol = 1 if "f" in kind or compression == "JPEG" else 0
    np.testing.assert_allclose(pixels, expected(samples, compression), atol=atol)


def refusal(path):
    """The picture and None, or None and the reason that it is refused for."""
    try:
        return read_picture(path), None
    except PictureError as error:
        return None, str(error)


def places(path):
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        return list(zip(page.dataoffsets, page.databytecounts, strict=True))


@pytest.mark.parametrize(("layout", "plane", "kind", "compression"), cells())
class TestGrid:
    def test_whole(self, tmp_path, layout, plane, kind, compression):
        path = tmp_path / "a.tif"
        values = write(path, layout, plane, kind, compression)
        picture = read_picture(path)
        wanted = read_by_others(path) if compression in LOSSY else values
        assert picture.pixels.dtype == (np.uint8 if kind == "8" else np.uint16)
        assert_like(picture.pixels, wanted, kind, compression)

    def test_cut_off(self, tmp_path, layout, plane, kind, compression):
        path = tmp_path / "a.tif"
        write(path, layout, plane, kind, compression)
        last = max(places(path))
        path.write_bytes(path.read_bytes()[: last[0] + last[1] // 2])
        if len(places_or_none(path) or ()) == 0:
            pytest.skip("the directory stands behind the pixels")
        with pytest.raises(
            PictureError, match=r"is damaged or truncated: the file ends before 1 of its \d+ (tile|strip)s$"
        ):
            read_picture(path)

    def test_one_block_damaged(self, tmp_path, layout, plane, kind, compression):
        path = tmp_path / "a.tif"
        write(path, layout, plane, kind, compression)
        offset, length = places(path)[1]
        numbers = np.random.default_rng(4)
        content = bytearray(path.read_bytes())
        start = offset + length // 2
        content[start : start + 24] = numbers.integers(0, 256, 24, dtype=np.uint8).tobytes()
        path.write_bytes(content)
        picture, reason = refusal(path)
        if picture is None:
            assert re.match(r"is damaged|has .* values", reason)
            assert "\n" not in reason
            return
        wanted = read_by_others(path)
        assert wanted is not None  # nobody can read it, so neither can Undim
        assert_like(picture.pixels, wanted, kind, compression)


def places_or_none(path):
    try:
        return places(path)
    except Exception:
        return None


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", ["8", "16"])
def test_without_imagecodecs_it_is_right_or_the_compression_is_named(tmp_path, monkeypatch, kind, compression):
    path = tmp_path / "a.tif"
    values = write(path, "tiles", "chunky", kind, compression)
    wanted = read_by_others(path)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    picture, reason = refusal(path)
    if picture is None:
        assert f"is compressed by {compression}" in reason
        assert 'pip install "undim[tiff]"' in reason
        assert compression == "LERC" or (kind == "16" and compression in LOSSY)
        return
    np.testing.assert_allclose(picture.pixels, wanted if compression in LOSSY else values, atol=1)


BYTE_CODECS = ["none", "LZW", "deflate", "Zstandard", "LZMA"]


@pytest.mark.parametrize("compression", BYTE_CODECS)
@pytest.mark.parametrize("kind", ["16", "32f", "64f"])
def test_big_endian(tmp_path, kind, compression):
    path = tmp_path / "a.tif"
    values = write(path, "tiles", "chunky", kind, compression, byteorder=">")
    np.testing.assert_allclose(read_picture(path).pixels, expected(values), atol=1 if "f" in kind else 0)


@pytest.mark.parametrize("compression", BYTE_CODECS)
def test_big_tiff(tmp_path, compression):
    path = tmp_path / "a.tif"
    values = write(path, "strips", "planar", "16", compression, bigtiff=True)
    np.testing.assert_array_equal(read_picture(path).pixels, values)


@pytest.mark.parametrize("compression", BYTE_CODECS)
@pytest.mark.parametrize("kind", ["8", "16"])
@pytest.mark.parametrize(("extra", "divided"), [("unassalpha", False), ("assocalpha", True)])
def test_alpha(tmp_path, kind, compression, extra, divided):
    path = tmp_path / "a.tif"
    colours = source(TYPES[kind])
    top = np.iinfo(colours.dtype).max
    alpha = np.linspace(top // 3, top, colours.shape[0] * colours.shape[1]).astype(colours.dtype).reshape(80, 96)
    stored = colours
    if divided:
        stored = np.rint(colours * (alpha[..., None] / top)).astype(colours.dtype)
    samples = np.dstack((stored, alpha))
    for plane in PLANES:
        write(path, "tiles", plane, kind, compression, samples, extrasamples=[extra])
        picture = read_picture(path)
        np.testing.assert_array_equal(picture.alpha, alpha)
        np.testing.assert_allclose(picture.pixels.astype(int), colours, atol=2 if divided else 0)


def test_further_channels_are_noted(tmp_path):
    path = tmp_path / "a.tif"
    colours = source(np.uint16)
    samples = np.dstack((colours, colours[..., :2]))
    write(path, "strips", "chunky", "16", "deflate", samples, extrasamples=["unspecified", "unspecified"])
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, colours)
    assert (picture.alpha, picture.notes) == (None, ("its further channels are not kept",))
