"""Colour profiles against LittleCMS, which Undim's own curves are not made by."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms

from undim.images import Metadata, Picture, colour, encode_picture, read_picture
from undim.images.exif import name_srgb
from undim.srgb import decode_srgb

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB_PRIMARIES = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139))
P3_PRIMARIES = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
PROPHOTO_PRIMARIES = ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249))


def fixed(values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def gamma(value):
    return b"curv" + struct.pack(">IIH", 0, 1, round(value * 256))


def sampled(values):
    return b"curv" + struct.pack(f">II{len(values)}H", 0, len(values), *(round(value * 65535) for value in values))


def formula(kind, *numbers):
    return b"para" + struct.pack(">IHH", 0, kind, 0) + fixed(numbers)


SRGB_CURVE = formula(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
LINEAR = b"curv" + struct.pack(">II", 0, 0)


def profile(model, tags):
    """An ICC profile, version 4, of these tags."""
    white = fixed((0.9642, 1.0, 0.8249))
    text = b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, 8, 28) + "test".encode("utf-16-be")
    tags = {b"desc": text, b"cprt": text, b"wtpt": b"XYZ \0\0\0\0" + white, **tags}
    start, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content
    head = struct.pack(
        ">I4sI4s4s4s12s4s", start + len(body), b"lcms", 0x04300000, b"mntr", model, b"XYZ ", bytes(12), b"acsp"
    )
    head = head.ljust(68, b"\0") + white
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def rgb_profile(primaries, curve):
    points = {
        name: b"XYZ \0\0\0\0" + fixed(point) for name, point in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
    }
    return profile(b"RGB ", {**points, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)})


def grey_profile(curve):
    return profile(b"GRAY", {b"kTRC": curve})


def cmyk_profile():
    """Inks whose colours are the complement of RGB's, but with a yellow that is half as strong."""
    grid, corners = 2, []
    for index in range(grid**4):
        c, m, y, k = (index >> shift & 1 for shift in (3, 2, 1, 0))
        light = np.array([1 - c, 1 - m, 1 - 0.5 * y]) * (1 - k)
        xyz = np.asarray(SRGB_PRIMARIES).T @ light
        corners += [round(float(value) * 32768) for value in xyz]
    identity = (0, 65535)
    table = (
        b"mft2" + struct.pack(">I4B", 0, 4, 3, grid, 0) + fixed((1, 0, 0, 0, 1, 0, 0, 0, 1)) + struct.pack(">HH", 2, 2)
    )
    table += (
        struct.pack(">8H", *identity * 4)
        + struct.pack(f">{len(corners)}H", *corners)
        + struct.pack(">6H", *identity * 3)
    )
    made = bytearray(profile(b"CMYK", {b"A2B0": table, b"A2B1": table}))
    made[8:12], made[12:16] = struct.pack(">I", 0x02400000), b"prtr"
    return bytes(made)


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def written(picture, form):
    stream = io.BytesIO()
    notes = encode_picture(picture, stream, form)
    return stream.getvalue(), notes


def by_lcms(image, source, target=SRGB, flags=ImageCms.Flags.NONE):
    opened = (ImageCms.ImageCmsProfile(io.BytesIO(data)) for data in (source, target))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return np.asarray(ImageCms.profileToProfile(image, *opened, intent, "RGB", flags=flags))


CARRIED = {
    "sRGB": SRGB,
    "Display P3": rgb_profile(P3_PRIMARIES, SRGB_CURVE),
    "sRGB as samples": rgb_profile(P3_PRIMARIES, sampled(decode_srgb(np.linspace(0, 1, 1024)))),
    "damaged": rgb_profile(P3_PRIMARIES, b"curv"),
    "without curves": profile(b"RGB ", {}),
}
RETONED = {
    "linear light": LINEAR,
    "gamma 1.8": gamma(1.8),
    "gamma 2.2": gamma(563 / 256),
    "Rec. 709": formula(3, 1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081),
    "sampled": sampled(np.linspace(0, 1, 64) ** 1.5),
    "formula 0": formula(0, 1.5),
    "formula 1": formula(1, 1.6, 1 / 1.1, 0.1 / 1.1),
    "formula 2": formula(2, 1.6, 0.95, 0.0, 0.02),
    "formula 4": formula(4, 1.6, 1 / 1.055, 0.055 / 1.055, 1 / 8, 0.04, 0.0, 0.0),
}


@pytest.mark.parametrize("name", CARRIED)
def test_profiles_with_srgbs_tones_are_carried_and_pixels_untouched(rgb, name):
    picture = read_picture(encoded(Image.fromarray(rgb), "PNG", icc_profile=CARRIED[name]))
    np.testing.assert_array_equal(picture.pixels, rgb)
    assert (picture.toned, picture.notes, picture.metadata.icc) == (False, (), CARRIED[name])


@pytest.mark.parametrize("name", RETONED)
def test_curves_are_littlecms_curves(name):
    """With sRGB's primaries, LittleCMS's way to sRGB is nothing but the change of tones."""
    ramp = np.arange(256, dtype=np.uint8).reshape(4, 64)
    rgb = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=-1)
    source = rgb_profile(SRGB_PRIMARIES, RETONED[name])
    picture = read_picture(encoded(Image.fromarray(rgb), "PNG", icc_profile=source))
    assert (picture.toned, picture.pixels.dtype, picture.depth) == (True, np.uint16, 8)
    expected = by_lcms(Image.fromarray(rgb), source, rgb_profile(SRGB_PRIMARIES, SRGB_CURVE))
    told = rgb > 0 if name == "formula 2" else np.full(rgb.shape, True)  # at 0 LittleCMS leaves out the last number
    np.testing.assert_allclose(picture.pixels[told] / 257, expected[told], atol=1.01)


@pytest.mark.parametrize("name", RETONED)
@pytest.mark.parametrize("form", ["png", "tif"])
def test_tones_come_back_exactly_in_8_bits(rgb, name, form):
    source = rgb_profile(PROPHOTO_PRIMARIES, RETONED[name])
    alpha = rgb[..., 0] ^ 255
    picture = read_picture(encoded(Image.fromarray(np.dstack((rgb, alpha))), "PNG", icc_profile=source))
    data, notes = written(picture, form)
    assert notes == ()
    image = Image.open(io.BytesIO(data))
    assert image.info["icc_profile"] == source
    back = np.asarray(image).astype(int)
    np.testing.assert_array_equal(back[..., 3], alpha)
    if name == "formula 2":  # below 0.02 of light there is nothing to come back to
        back, rgb = back[..., :3][rgb > 40], rgb[rgb > 40]
        np.testing.assert_allclose(back, rgb, atol=1)
    else:
        np.testing.assert_array_equal(back[..., :3], rgb)


def test_tones_come_back_in_16_bits():
    values = np.linspace(0, 65535, 3 * 4096).round().astype(np.uint16).reshape(64, 64, 3)
    curves = colour.tone_curves(rgb_profile(PROPHOTO_PRIMARIES, gamma(1.8)))
    back = colour.take_srgb_tones(colour.give_srgb_tones(values, curves), curves)
    bright = values > 3000
    assert np.abs(back.astype(int) - values)[bright].max() <= 2
    assert np.abs(back.astype(int) - values).max() <= 40


def test_grey_profiles(rgb):
    grey = Image.fromarray(rgb[..., 0])
    carried = read_picture(encoded(grey, "PNG", icc_profile=grey_profile(SRGB_CURVE)))
    np.testing.assert_array_equal(carried.pixels, rgb[..., 0])
    source = grey_profile(gamma(1.5))
    toned = read_picture(encoded(grey, "PNG", icc_profile=source))
    np.testing.assert_allclose(toned.pixels / 257, by_lcms(grey, source)[..., 0], atol=2)
    data, notes = written(toned, "png")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), rgb[..., 0])
    assert (notes, Image.open(io.BytesIO(data)).info["icc_profile"]) == ((), source)
    data, notes = written(toned, "webp")
    assert notes == ("the grey colour profile is not kept: WebP files do not take it, the picture became sRGB",)
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[..., 0].astype(int)
    assert np.abs(shown - by_lcms(grey, source)[..., 0]).mean() < 6


def bmp_profile(data):
    """What a BMP of version 5 says of its colours: the space, and the profile behind the pixels."""
    (space,) = struct.unpack_from("<I", data, 70)
    offset, size = struct.unpack_from("<II", data, 126)
    return space, data[14 + offset :][:size]


@pytest.mark.parametrize("alpha", [False, True])
def test_bmp_keeps_a_profile_behind_the_pixels(rgb, alpha):
    for name in ("Display P3", "sRGB as samples"):
        picture = read_picture(encoded(Image.fromarray(rgb), "PNG", icc_profile=CARRIED[name]))
        picture = replace(picture, alpha=rgb[..., 0] if alpha else None)
        data, notes = written(picture, "bmp")
        assert notes == ()
        assert bmp_profile(data) == (0x4D424544, CARRIED[name])
        shown = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(shown[..., :3], rgb)
        back = read_picture(data)
        assert back.metadata.icc == CARRIED[name]
        np.testing.assert_array_equal(back.pixels, rgb)


def test_bmp_profile_gives_its_tones_away_and_back(rgb):
    linear = rgb_profile(SRGB_PRIMARIES, LINEAR)
    data, _ = written(read_picture(encoded(Image.fromarray(rgb), "PNG", icc_profile=linear)), "bmp")
    picture = read_picture(data)
    assert picture.toned
    np.testing.assert_allclose(picture.pixels / 257, by_lcms(Image.fromarray(rgb), linear), atol=1.01)
    again, notes = written(picture, None)
    assert (again, notes) == (data, ())


def calibrated_bmp(rgb, primaries, exponent):
    """A BMP whose header of version 4 names primaries and gammas."""
    height, width = rgb.shape[:2]
    head = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + 108)
    head += struct.pack("<IiiHHIIiiII16xI", 108, width, -height, 1, 24, 0, 0, 0, 0, 0, 0, 0)
    head += struct.pack("<9I3I", *(round(value * 2**30) for value in primaries), *(round(exponent * 65536),) * 3)
    rows = b"".join((row[:, ::-1].tobytes()).ljust((width * 3 + 3) // 4 * 4, b"\0") for row in rgb)
    return head + rows


def test_bmp_of_calibrated_colours(rgb):
    xyz = (0.4124, 0.2126, 0.0193, 0.3576, 0.7152, 0.1192, 0.1805, 0.0722, 0.9505)
    assert read_picture(calibrated_bmp(rgb, xyz, 2.2)).metadata.icc is None  # sRGB, as it is usually rounded
    picture = read_picture(calibrated_bmp(rgb, xyz, 1.0))
    expected = by_lcms(Image.fromarray(rgb), rgb_profile(SRGB_PRIMARIES, LINEAR))
    np.testing.assert_allclose(picture.pixels / 257, expected, atol=1.01)
    assert read_picture(calibrated_bmp(rgb, (0,) * 9, 0)).metadata.icc is None


def test_grey_picture_becomes_srgb_in_bmp(rgb):
    picture = read_picture(encoded(Image.fromarray(rgb[..., 0]), "PNG", icc_profile=grey_profile(gamma(1.5))))
    data, notes = written(picture, "bmp")
    assert notes == ("the grey colour profile is not kept: BMP files do not take it, the picture became sRGB",)
    np.testing.assert_allclose(np.asarray(Image.open(io.BytesIO(data))), picture.pixels / 257, atol=0.51)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(form):
    inks = np.zeros((40, 40, 4), np.uint8)
    inks[:20, :20, 2], inks[:20, 20:, 0], inks[20:, :20, 3] = 255, 255, 128
    options = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    image = Image.fromarray(inks, "CMYK")
    picture = read_picture(encoded(image, form, icc_profile=cmyk_profile(), **options))
    expected = by_lcms(image, cmyk_profile())
    np.testing.assert_allclose(picture.pixels.astype(int), expected, atol=4)
    assert picture.pixels[5, 5, 2] > 150  # the profile's weak yellow; by the plain formula it is 0
    assert picture.notes == ("CMYK was converted to RGB (sRGB) by its colour profile",)
    assert picture.metadata.icc is None


def test_deep_cmyk_is_converted_by_its_profile(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    inks = np.random.default_rng(5).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    tag = (34675, 7, len(cmyk_profile()), cmyk_profile(), True)
    tifffile.imwrite(tmp_path / "a.tif", inks.astype(np.uint16) * 257, photometric="separated", extratags=[tag])
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.dtype == np.uint16
    expected = by_lcms(Image.fromarray(inks, "CMYK"), cmyk_profile())
    np.testing.assert_allclose(picture.pixels / 257, expected, atol=2)
    tifffile.imwrite(tmp_path / "b.tif", inks.astype(np.uint16) * 257, photometric="separated")
    plain = read_picture(tmp_path / "b.tif")
    np.testing.assert_allclose(plain.pixels / 257, np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")), atol=2)
    assert plain.notes == ("CMYK was converted to RGB without a colour profile",)


def test_cmyk_without_or_with_a_damaged_profile_says_so():
    for options in ({}, {"icc_profile": cmyk_profile()[:200]}):
        picture = read_picture(encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "TIFF", **options))
        np.testing.assert_array_equal(picture.pixels[0, 0], [0, 255, 255])
        assert picture.notes == ("CMYK was converted to RGB without a colour profile",)


def test_profile_of_another_colour_model_is_left_out(rgb):
    grey = read_picture(encoded(Image.fromarray(rgb[..., 0]), "PNG", icc_profile=SRGB))
    assert grey.metadata.icc is None
    assert grey.notes == ("the colour profile is not kept: it is for another colour model",)


def of_grey_palette(form, source):
    indexes = np.random.default_rng(2).integers(0, 256, (8, 8), dtype=np.uint8)
    stream = io.BytesIO()
    if form == "tif":
        ramp = np.arange(256, dtype=np.uint16) * 257
        tag = (34675, 7, len(source), source, True)
        options = {"photometric": "palette", "colormap": np.stack([ramp] * 3), "extratags": [tag]}
        pytest.importorskip("tifffile").imwrite(stream, indexes, **options)
    elif form == "png":
        image = Image.fromarray(indexes, "P")
        image.putpalette(np.arange(256, dtype=np.uint8).repeat(3).tobytes())
        image.save(stream, "PNG", icc_profile=source)
    else:
        Image.fromarray(indexes).save(stream, "BMP")
        data = bytearray(stream.getvalue())  # Pillow writes its palette, and no profile
        start = 14 + 124
        header = struct.pack("<I", 124) + data[18:54] + bytes(16) + struct.pack("<I48x", 0x4D424544)
        header += struct.pack("<IIII", 4, 124 + 1024 + 64, len(source), 0)
        head = struct.pack("<2sIHHI", b"BM", start + 1024 + 64 + len(source), 0, 0, start + 1024)
        return indexes, head + header + bytes(data[54:]) + source
    return indexes, stream.getvalue()


@pytest.mark.parametrize("form", ["png", "tif", "bmp"])
def test_grey_palette_keeps_an_rgb_profile_and_its_tones(form):
    source = rgb_profile(SRGB_PRIMARIES, LINEAR)
    indexes, data = of_grey_palette(form, source)
    picture = read_picture(data)
    grey = np.repeat(indexes[..., None], 3, axis=2)
    assert (picture.notes, picture.metadata.icc, picture.toned) == ((), source, True)
    np.testing.assert_allclose(picture.pixels / 257, by_lcms(Image.fromarray(grey), source), atol=1.01)
    back, notes = written(picture, form)
    assert notes == ()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(back))), grey)


ADOBE_PRIMARIES = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""Of Adobe RGB (1998) under D50, as its profile has them."""


def exif_colours(space, index):
    """EXIF with a colour space and, if it is not None, an interoperability index."""
    block = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, 4, 1, 26, 0)
    block += struct.pack("<HHHIHH", 1 + bool(index), 0xA001, 3, 1, space, 0)
    if index:
        block += struct.pack("<HHII", 0xA005, 4, 1, 56) + bytes(4) + struct.pack("<HHHI", 1, 1, 2, 4) + index + b"\0"
    return block + bytes(4)


def with_exif(form, rgb, exif):
    if form == "JPEG":
        return encoded(Image.fromarray(rgb), form, exif=b"Exif\0\0" + exif, quality=100, subsampling=0)
    return written(Picture(rgb, metadata=Metadata(exif=exif)), "tif")[0]


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_adobe_rgb_that_exif_alone_names_is_adobe_rgb(rgb, form):
    data = with_exif(form, rgb, exif_colours(0xFFFF, b"R03"))
    shown = Image.open(io.BytesIO(data))
    adobe = rgb_profile(ADOBE_PRIMARIES, gamma(563 / 256))
    picture = read_picture(data)
    assert (picture.toned, picture.notes) == (True, ())
    expected = by_lcms(shown, adobe, rgb_profile(ADOBE_PRIMARIES, SRGB_CURVE))
    np.testing.assert_allclose(picture.pixels / 257, expected, atol=1.01)
    again = Image.open(io.BytesIO(written(picture, "png")[0]))
    np.testing.assert_array_equal(np.asarray(again), np.asarray(shown))
    made = again.info["icc_profile"]
    np.testing.assert_allclose(by_lcms(again, made).astype(int), by_lcms(shown, adobe), atol=1)


@pytest.mark.parametrize(("space", "index"), [(1, b"R98"), (0xFFFF, b"R98"), (0xFFFF, None), (1, b"R03")])
def test_other_colours_in_exif_are_srgb(rgb, space, index):
    assert read_picture(with_exif("JPEG", rgb, exif_colours(space, index))).metadata.icc is None


def test_a_profile_counts_before_exif_and_grey_has_no_primaries(rgb):
    exif = b"Exif\0\0" + exif_colours(0xFFFF, b"R03")
    data = encoded(Image.fromarray(rgb), "JPEG", exif=exif, icc_profile=SRGB)
    assert read_picture(data).metadata.icc == SRGB
    assert read_picture(encoded(Image.fromarray(rgb[..., 0]), "JPEG", exif=exif)).metadata.icc is None


def test_exif_of_a_picture_that_became_srgb_says_so():
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + name_srgb(exif_colours(0xFFFF, b"R03")))
    assert (kept.get_ifd(0x8769)[0xA001], kept.get_ifd(0xA005)[1]) == (1, "R98")
    other = exif_colours(0xFFFF, None)
    assert name_srgb(other) == other


@pytest.mark.parametrize("cut", [10, 130, 140, 300])
def test_damaged_profiles_are_carried_not_used(rgb, cut):
    broken = rgb_profile(P3_PRIMARIES, LINEAR)[:cut]
    picture = Picture(rgb, metadata=Metadata(icc=broken))
    assert colour.tone_curves(broken) is None
    data, _ = written(picture, "tif")
    np.testing.assert_array_equal(read_picture(data).pixels, rgb)


@pytest.mark.parametrize("name", ["gamma 1.8", "gamma 2.2", "Rec. 709"])
def test_same_light_is_enhanced_alike_whatever_its_profile(name):
    """What shows on a screen after 0.5 x + 0.2 of the encoded values is that of the picture in sRGB."""
    y, x = np.mgrid[0:32, 0:32]
    shown = np.stack([20 + 3 * x, 30 + 2 * y, 25 + x + y], axis=-1).astype(np.uint8)
    source = rgb_profile(SRGB_PRIMARIES, RETONED[name])
    picture = read_picture(
        encoded(Image.fromarray(by_lcms(Image.fromarray(shown), SRGB, source)), "PNG", icc_profile=source)
    )
    bright = np.rint(0.5 * picture.pixels + 0.2 * 65535).astype(np.uint16)
    data, _ = written(replace(picture, pixels=bright), "png")
    np.testing.assert_allclose(by_lcms(Image.open(io.BytesIO(data)), source), 0.5 * shown + 51, atol=2)
