"""More than 8 bits per sample, each format against a reader or writer that Undim does not use for it."""

import io
import struct
import zlib
from contextlib import suppress

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from undim.errors import PictureError
from undim.images import FORMATS, Metadata, Picture, encode_picture, read_picture, write_picture
from undim.images.formats import named

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


@pytest.fixture
def deep():
    """9 x 7 of all 16 bits, with no symmetry."""
    return np.random.default_rng(11).integers(0, 65536, (7, 9, 3), dtype=np.uint16)


@pytest.fixture
def ramp():
    """A smooth 16-bit gradient, finer than 8 bits."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([20000 + 37 * x, 30000 + 53 * y, 9000 + 21 * (x + y)], axis=-1).astype(np.uint16)


def exif_block(orientation=1):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", orientation
    exif.get_ifd(0x8769).update({0x829A: 0.5, 0x9003: "2026:01:02 03:04:05"})
    return exif.tobytes()[6:]


def parsed(block):
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    return exif


def bytes_of(picture, form):
    stream = io.BytesIO()
    notes = encode_picture(picture, stream, form)
    return stream.getvalue(), notes


def chunks_of(data):
    """Names and contents of a PNG's chunks, their checksums compared."""
    at, found = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(name + body),)
        found.append((name, body))
        at += 12 + length
    return found


def png(kind, rows, *more, behind=()):
    """A 16-bit PNG of rows of integers; `more` and `behind` are chunks before and after the pixels."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    values = np.asarray(rows).reshape(len(rows), -1).astype(">u2")
    header = struct.pack(">IIBBBBB", values.shape[1] // channels, len(rows), 16, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in ((b"IHDR", header), *more, (b"IDAT", pixels), *behind, (b"IEND", b""))
    )


def test_png_of_another_writer_keeps_its_16_bits(tmp_path, deep):
    cv2.imwrite(str(tmp_path / "a.png"), deep[..., ::-1])
    picture = read_picture(tmp_path / "a.png")
    assert (picture.pixels.dtype, picture.depth) == (np.uint16, 16)
    np.testing.assert_array_equal(picture.pixels, deep)
    cv2.imwrite(str(tmp_path / "g.png"), deep[..., 0])
    np.testing.assert_array_equal(read_picture(tmp_path / "g.png").pixels, deep[..., 0])


def test_png_is_read_by_others_bit_for_bit(tmp_path, deep):
    alpha = deep[..., 0] ^ 65535
    write_picture(Picture(deep), tmp_path / "a.png", "png")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)[..., ::-1], deep)
    write_picture(Picture(deep[..., 1]), tmp_path / "g.png", "png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "g.png")), deep[..., 1])
    write_picture(Picture(deep, alpha), tmp_path / "alpha.png", "png")
    back = cv2.imread(str(tmp_path / "alpha.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(back[..., 2::-1], deep)
    np.testing.assert_array_equal(back[..., 3], alpha)


def test_png_with_alpha_or_a_transparent_colour():
    grey = read_picture(png(4, [[0x80FF, 0xFFFF, 0x1234, 0x4000]]))
    np.testing.assert_array_equal(grey.pixels, [[0x80FF, 0x1234]])
    np.testing.assert_array_equal(grey.alpha, [[0xFFFF, 0x4000]])
    key = (b"tRNS", struct.pack(">3H", 0, 0, 500))
    colours = read_picture(png(2, [[0, 0, 200, 0, 0, 500, 0, 0, 501]], key))
    np.testing.assert_array_equal(colours.alpha, [[65535, 0, 65535]])  # all 16 bits are compared


def test_png_metadata_is_whole(deep):
    meta = Metadata(exif_block(), SRGB, XMP, (300, 200))
    data, notes = bytes_of(Picture(deep, metadata=meta), "png")
    assert notes == ()
    chunks = dict(chunks_of(data))
    assert data[12:16] == b"IHDR"
    assert chunks[b"eXIf"] == meta.exif
    name, packed = chunks[b"iCCP"].split(b"\0\0", 1)
    assert (name, zlib.decompress(packed)) == (b"ICC Profile", SRGB)
    assert struct.unpack(">IIB", chunks[b"pHYs"]) == (11811, 7874, 1)
    image = Image.open(io.BytesIO(data))
    assert image.info["xmp"] == XMP
    assert image.getexif().get_ifd(0x8769)[0x829A] == 0.5
    back = read_picture(data)
    assert back.metadata.exif == meta.exif
    assert (back.metadata.icc, back.metadata.xmp) == (SRGB, XMP)


@pytest.mark.parametrize("behind", [False, True])
def test_png_orientation_is_applied_once(deep, behind):
    chunk = ((b"eXIf", exif_block(6)),)
    data = png(2, deep, behind=chunk) if behind else png(2, deep, *chunk)
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, np.rot90(deep, -1))
    assert (parsed(picture.metadata.exif)[0x0112], parsed(picture.metadata.exif)[0x010F]) == (1, "Maker")


HDR = "its colours, HDR by numbers in place of a profile, were taken for sRGB"


@pytest.mark.parametrize(
    ("numbers", "profile", "notes"),
    [((9, 16), None, (HDR,)), ((9, 18), None, (HDR,)), ((12, 13), True, ()), ((1, 13), None, ()), ((2, 2), None, ())],
)
def test_colours_named_by_numbers_are_not_passed_over(deep, numbers, profile, notes):
    picture = read_picture(png(2, deep, (b"cICP", bytes([*numbers, 0, 1]))))
    np.testing.assert_array_equal(picture.pixels, deep)
    assert (picture.metadata.icc is not None, picture.notes) == (bool(profile), notes)
    avif = bytearray(bytes_of(Picture(deep, bits=8), "avif")[0])
    struct.pack_into(">HH", avif, avif.index(b"colrnclx") + 8, *numbers)
    picture = read_picture(bytes(avif))
    assert (picture.metadata.icc is not None, picture.notes) == (bool(profile), notes)


TIFFS = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "tiles": {"tile": (16, 16)},
    "deflate and differences": {"compression": "zlib", "predictor": True},
}


@pytest.mark.parametrize("layout", TIFFS)
def test_tiff_of_another_writer_keeps_its_16_bits(tmp_path, deep, layout):
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", **TIFFS[layout])
    picture = read_picture(tmp_path / "a.tif")
    assert (picture.pixels.dtype, picture.notes) == (np.uint16, ())
    np.testing.assert_array_equal(picture.pixels, deep)


def test_tiff_kinds(tmp_path, deep):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, deep.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_picture(path).pixels, deep)
    tifffile.imwrite(path, deep[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(path).pixels, 65535 - deep[..., 0])
    tifffile.imwrite(path, deep[..., :2], photometric="minisblack", extrasamples=["unassalpha"])
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, deep[..., 0])
    np.testing.assert_array_equal(picture.alpha, deep[..., 1])
    tifffile.imwrite(path, np.dstack((deep, deep[..., 0])), photometric="rgb", extrasamples=["unspecified"])
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, deep)
    assert picture.alpha is None
    opaque = np.full(deep.shape[:2], 65535, np.uint16)
    tifffile.imwrite(path, np.dstack((deep, opaque)), photometric="rgb", extrasamples=["assocalpha"])
    np.testing.assert_array_equal(read_picture(path).pixels, deep)


def test_tiff_of_12_bits_fills_16(tmp_path):
    values = np.array([[0, 1, 2048, 4095]], np.uint16)
    packed = bytes([0, 0, 1, 0x80, 0x0F, 0xFF])
    tags = [(256, 3, 4), (257, 3, 1), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 200), (277, 3, 1), (278, 3, 1)]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in [*tags, (279, 4, 6)])
    data = b"II*\0" + struct.pack("<IH", 8, 9) + directory + bytes(4)
    picture = read_picture(data.ljust(200, b"\0") + packed)
    np.testing.assert_array_equal(picture.pixels, np.rint(values / 4095 * 65535))


def test_tiff_is_read_by_others_bit_for_bit(tmp_path, deep):
    alpha = deep[..., 0] ^ 65535
    for samples, picture in (
        (deep, Picture(deep)),
        (deep[..., 0], Picture(deep[..., 0].copy())),
        (np.dstack((deep, alpha)), Picture(deep, alpha)),
        (np.dstack((deep[..., 0], alpha)), Picture(deep[..., 0].copy(), alpha)),
    ):
        write_picture(picture, tmp_path / "a.tif", "tif")
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), samples)
    write_picture(Picture(deep), tmp_path / "a.tif", "tif")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.tif"), cv2.IMREAD_UNCHANGED)[..., ::-1], deep)


def test_tiff_metadata_and_orientation(tmp_path, deep):
    meta = Metadata(exif_block(), SRGB, XMP, (300, 300))
    data, _ = bytes_of(Picture(deep, metadata=meta), "tif")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        assert (tags[271].value, bytes(tags[34675].value), bytes(tags[700].value)) == ("Maker", SRGB, XMP)
        assert tags[34665].value["DateTimeOriginal"] == "2026:01:02 03:04:05"
    back = read_picture(data)
    assert parsed(back.metadata.exif).get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
    assert (back.metadata.icc, back.metadata.xmp, back.metadata.dpi) == (SRGB, XMP, (300, 300))
    tifffile.imwrite(tmp_path / "turned.tif", deep, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    np.testing.assert_array_equal(read_picture(tmp_path / "turned.tif").pixels, np.rot90(deep, -1))


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_floating_point_tiff_from_0_to_1_becomes_16_bits(tmp_path, deep, kind):
    values = (deep / 65535).astype(kind)
    tifffile.imwrite(tmp_path / "f.tif", values, photometric="rgb")
    picture = read_picture(tmp_path / "f.tif")
    np.testing.assert_array_equal(picture.pixels, np.rint(values.astype(np.float64) * 65535))
    assert picture.notes == ("floating point was rounded to 16 bits per sample",)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.nan, "^has 1 values that are not finite"),
        (np.inf, "^has 1 values that are not finite"),
        (-np.inf, "not finite"),
        (7.5, r"^has floating-point values from 0.5 to 7.5; only 0 to 1 is read"),
        (-0.25, "from -0.25 to 0.5"),
    ],
)
def test_floating_point_tiff_that_is_no_picture(tmp_path, value, reason):
    values = np.full((8, 8, 3), 0.5, np.float32)
    values[3, 4, 1] = value
    tifffile.imwrite(tmp_path / "f.tif", values, photometric="rgb")
    with pytest.raises(PictureError, match=reason):
        read_picture(tmp_path / "f.tif")


@pytest.mark.parametrize("kind", [np.int16, np.int8, np.uint32, np.int32])
def test_other_kinds_of_tiff_are_refused(tmp_path, kind):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8, 3), kind), photometric="rgb")
    with pytest.raises(PictureError, match="signed or 32-bit integer"):
        read_picture(tmp_path / "a.tif")


def test_pages_and_smaller_copies_of_deep_tiffs(tmp_path, deep):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(deep, photometric="rgb")
        writer.write(deep[::2, ::2].copy(), photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, deep)
    tifffile.imwrite(tmp_path / "b.tif", np.stack((deep, deep)), photometric="rgb")
    with pytest.raises(PictureError, match="has 2 pages"):
        read_picture(tmp_path / "b.tif")


def test_avif_keeps_more_than_8_bits(ramp):
    data, notes = bytes_of(Picture(ramp), "avif")
    assert notes == ("its 16 bits per sample were rounded to 12: AVIF files hold no more",)
    assert np.abs(imageio.imread(data).astype(int) - ramp / 257).mean() < 1  # by another library, in 8 bits
    back = read_picture(data)
    assert (back.pixels.dtype, back.depth) == (np.uint16, 16)
    assert np.abs(back.pixels.astype(int) - ramp).mean() < 65535 / 1024
    assert len(np.unique(back.pixels[..., 1])) > 40  # of 48 rows; 8 bits know ten levels of this gradient
    assert bytes_of(back, "avif")[1] == ()  # 12 bits stay 12
    _, notes = bytes_of(Picture(ramp, format="avif"), None)
    assert notes == ("its 16 bits per sample were rounded to 12: AVIF files hold no more",)


def test_deep_avif_white_is_white_and_alpha_and_metadata_stay(ramp):
    white = np.full_like(ramp, 65535)
    alpha = np.where(np.arange(64) < 32, 0, 65535).astype(np.uint16)[None].repeat(48, axis=0)
    meta = Metadata(exif_block(), SRGB, XMP)
    data, _ = bytes_of(Picture(white, alpha, meta), "avif")
    back = read_picture(data)
    assert back.pixels.min() > 65535 * 0.999
    assert back.pixels.max() == 65535
    np.testing.assert_allclose(back.alpha.astype(int), alpha, atol=0.002 * 65535)  # AVIF stores it with loss
    image = Image.open(io.BytesIO(data))
    assert (image.getexif()[0x010F], image.getexif().get_ifd(0x8769)[0x829A]) == ("Maker", 0.5)
    assert (image.info["icc_profile"], back.metadata.icc) == (SRGB, SRGB)
    assert back.metadata.xmp == XMP


def test_deep_avif_is_turned_once(ramp):
    data, _ = bytes_of(Picture(ramp, metadata=Metadata(exif_block(6))), "avif")
    picture = read_picture(data)
    assert picture.size == (48, 64)
    assert np.abs(picture.pixels.astype(int) - np.rot90(ramp, -1)).mean() < 64
    assert parsed(picture.metadata.exif).get(0x0112, 1) == 1


@pytest.mark.parametrize("form", ["jpg", "webp", "bmp"])
def test_formats_of_8_bits_round_and_say_so(deep, form):
    data, notes = bytes_of(Picture(deep, deep[..., 0] if form != "jpg" else None), form)
    assert notes == (f"its 16 bits per sample were rounded to 8: {named(form).title} files hold no more",)
    if form == "bmp":
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)))[..., :3], np.rint(deep / 257))


def test_depth_of_16_bits_in_8_bit_files_is_that_of_the_file(deep):
    data, notes = bytes_of(Picture(deep, bits=8), "png")
    assert notes == ()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), np.rint(deep / 257))


@pytest.mark.parametrize("form", ["png", "tif", "avif"])
def test_truncated_and_mutated_deep_files_end_in_pictures_or_picture_errors(ramp, form):
    data, _ = bytes_of(Picture(ramp, metadata=Metadata(exif_block(6), SRGB)), form)
    for share in (0.02, 0.2, 0.5, 0.8):
        with pytest.raises(PictureError):
            read_picture(data[: int(len(data) * share)])
    random = np.random.default_rng(8)
    for _ in range(60):
        broken = bytearray(data)
        broken[random.integers(len(data))] = random.integers(256)
        # Any other exception, or a picture of another kind, fails the test.
        with suppress(PictureError):
            assert read_picture(bytes(broken), max_pixels=10_000).pixels.dtype in (np.uint8, np.uint16)


@pytest.mark.parametrize("form", ["png", "tif", "avif"])
def test_limit_is_compared_before_decoding(deep, form):
    data, _ = bytes_of(Picture(deep), form)
    assert read_picture(data, max_pixels=63).size == (9, 7)
    with pytest.raises(PictureError, match="limit max_pixels"):
        read_picture(data, max_pixels=62)


def test_libvips_that_cannot_be_loaded_is_named(deep, monkeypatch):
    from undim.images.codecs import libvips

    libvips._library.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "pyvips", None)
    with pytest.raises(PictureError, match=r"more than 8 bits per sample.*pip install pyvips$"):
        read_picture(png(2, deep))
    libvips._library.cache_clear()


def test_all_formats_say_how_deep_they_are():
    assert {name: form.depth for name, form in FORMATS.items()} == {
        "jpg": 8, "png": 16, "webp": 8, "avif": 12, "tif": 16, "bmp": 8,
    }  # fmt: skip
