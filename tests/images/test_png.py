"""PNG: nothing made up, and colours that chunks name in place of a profile, against LittleCMS."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from undim.errors import PictureError
from undim.images import Metadata, Picture, encode_picture, read_picture

PIXELS = np.random.default_rng(1).integers(1, 256, (40, 56, 3), dtype=np.uint8)
SRGB_POINTS = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
ADOBE_POINTS = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
P3_POINTS = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def chunk(name, body, fault=0):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) ^ fault)


def png(*chunks, rows=None, bits=8, kind=2, interlaced=0, fault=0, end=True, pixels=PIXELS):
    height, width = pixels.shape[:2]
    kept = ">u2" if bits == 16 else np.uint8
    rows = b"".join(b"\0" + row.astype(kept).tobytes() for row in pixels) if rows is None else rows
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), *(chunk(*item) for item in chunks), chunk(b"IDAT", zlib.compress(rows), fault)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + (chunk(b"IEND", b"") if end else b"")


def gama(value):
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def chrm(points):
    return b"cHRM", struct.pack(">8I", *points)


def chunks_of(data):
    found, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found[data[at + 4 : at + 8]] = data[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def written(picture, form=None):
    stream = io.BytesIO()
    notes = encode_picture(picture, stream, form)
    return stream.getvalue(), notes


FULL = b"".join(b"\0" + row.tobytes() for row in PIXELS)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_compressed_pixels_that_end_early_are_an_error(bits, share):
    full = b"".join(b"\0" + row.astype(">u2" if bits == 16 else np.uint8).tobytes() for row in PIXELS)
    with pytest.raises(PictureError, match=r"damaged.* its pixels are \d+ of" if bits == 16 else "damaged"):
        read_picture(png(rows=full[: int(len(full) * share)], bits=bits))


def test_interlaced_pixels_that_end_early_are_an_error():
    first = b"".join(b"\0" + row.tobytes() for row in PIXELS[::8, ::8])
    with pytest.raises(PictureError, match="its pixels are 110 of "):
        read_picture(png(rows=first, interlaced=1))


def test_black_last_row_is_a_picture():
    pixels = PIXELS.copy()
    pixels[-3:] = 0
    np.testing.assert_array_equal(read_picture(png(pixels=pixels)).pixels, pixels)


def test_wrong_checksums():
    with pytest.raises(PictureError, match="it has no header"):
        read_picture(png(fault=1).replace(b"IHDR", b"IHDQ"))
    with pytest.raises(PictureError, match="the checksum of its chunk PLTE is wrong"):
        read_picture(png((b"PLTE", bytes(6), 1), kind=3, pixels=PIXELS[..., 0] % 2))
    packed = bytearray(png())
    packed[-20] ^= 1  # in the checksum of the pixels
    with pytest.raises(PictureError, match="damaged"):
        read_picture(bytes(packed))
    picture = read_picture(png((b"tEXt", b"Author\0me", 1)))
    assert picture.notes == ("its chunk tEXt is not kept: it is damaged",)
    assert picture.metadata.text == ()
    np.testing.assert_array_equal(picture.pixels, PIXELS)


def test_without_its_end_marker_it_is_whole_and_noted():
    picture = read_picture(png(end=False))
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    assert picture.notes == ("its end marker is missing, but all of the picture is there",)


PLACING = ((b"oFFs", bytes(9)), (b"sCAL", b"\x011.0\x002.0"), (b"sTER", b"\0"), (b"vpAg", bytes(9)))
SILENT = ((b"sBIT", b"\x08" * 3), (b"bKGD", bytes(6)), (b"tIME", bytes(7)), (b"iDOT", bytes(28)))


def with_behind(data, *chunks):
    return data[:-12] + b"".join(chunk(*item) for item in chunks) + data[-12:]


@pytest.mark.parametrize("bits", [8, 16])
def test_chunks_that_are_still_true_keep_their_side_of_the_pixels(bits):
    safe, twice = (b"prVt", b"of a program"), (b"prVt", b"again")
    data = with_behind(png(*PLACING, *SILENT, safe, bits=bits), twice)
    back, notes = written(read_picture(data))
    names = [name for name, _ in in_order(back)]
    assert notes == ()
    assert names == [b"IHDR", *(name for name, _ in PLACING), b"prVt", b"IDAT", b"prVt", b"IEND"]
    assert [body for name, body in in_order(back) if name == b"prVt"] == [safe[1], twice[1]]
    assert dict(PLACING).items() <= chunks_of(back).items()


def in_order(data):
    """Names and contents of a PNG's chunks, those of pixels that follow each other as one."""
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if not found or (found[-1][0], data[at + 4 : at + 8]) != (b"IDAT", b"IDAT"):
            found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def test_chunks_that_hold_no_longer_are_named_in_one_note():
    assert read_picture(png(*SILENT, (b"hIST", bytes(2)), (b"sPLT", bytes(9)))).notes == ()
    picture = read_picture(png((b"pCAL", b"x"), *PLACING, (b"prVW", b"small"), (b"prVW", b"more")))
    assert picture.notes == ("its chunks pCAL, prVW are not kept: they describe the picture as it was",)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read_picture(png((b"eXIf", exif.tobytes()[6:]), PLACING[1], (b"prVt", b"x")))
    assert picture.notes == ("its chunk sCAL is not kept: it describes the picture as it was",)
    assert picture.metadata.chunks == ((b"prVt", b"x", False),)


def test_unknown_critical_chunk_is_refused():
    with pytest.raises(PictureError, match="has a chunk PrVt, without which it cannot be read"):
        read_picture(png((b"PrVt", b"x")))


def test_one_frame_of_an_animation_is_the_picture_or_refused():
    with io.BytesIO() as stream:
        Image.fromarray(PIXELS).save(
            stream, "PNG", save_all=True, default_image=True, append_images=[Image.fromarray(255 - PIXELS)]
        )
        beside = stream.getvalue()
    assert b"acTL\0\0\0\1" in beside
    with pytest.raises(PictureError, match="is animated \\(1 frame besides the picture\\)"):
        read_picture(beside)
    control = (b"fcTL", struct.pack(">5IHHBB", 0, 56, 40, 0, 0, 1, 10, 0, 0))
    picture = read_picture(png((b"acTL", struct.pack(">II", 1, 0)), control))
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    assert picture.notes == ()


@pytest.mark.parametrize("aspect", [(2, 1), (3, 4), (1e9, 2e9)])
def test_shape_of_pixels_goes_from_png_to_jpeg_and_tiff(aspect):
    picture = read_picture(png((b"pHYs", struct.pack(">IIB", *map(int, aspect), 0))))
    info = Image.open(io.BytesIO(written(picture, "jpg")[0])).info
    across, down = info["jfif_density"]
    assert (info["jfif_unit"], across / down) == (0, pytest.approx(aspect[0] / aspect[1], rel=1e-4))
    if max(aspect) < 65536:
        assert (across, down) == aspect
    tags = Image.open(io.BytesIO(written(picture, "tif")[0])).tag_v2
    assert (float(tags[282]) / float(tags[283]), tags[296]) == (pytest.approx(aspect[0] / aspect[1]), 1)


def by_lcms(pixels, profile):
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(pixels), source, target, 1, "RGB"))


def light(values, exponent):
    """sRGB's encoded values of values ** exponent."""
    linear = (values / 255.0) ** exponent
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("gamma", [1.0, 0.7, 1 / 1.8])
@pytest.mark.parametrize("grey", [False, True])
def test_gamma_gives_its_tones_away_and_gets_them_back(gamma, grey):
    pixels = PIXELS[..., 0] if grey else PIXELS
    data = png(gama(gamma), kind=0 if grey else 2, pixels=pixels)
    picture = read_picture(data)
    assert picture.toned
    np.testing.assert_allclose(picture.pixels / 65535, light(pixels, 1 / gamma), atol=1e-3)
    back, notes = written(picture)
    assert (notes, chunks_of(back)[b"gAMA"], b"iCCP" in chunks_of(back)) == ((), gama(gamma)[1], False)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(back))), pixels)


@pytest.mark.parametrize(("points", "gamma"), [(ADOBE_POINTS, 1 / 2.19921875), (P3_POINTS, 1 / 2.6), (P3_POINTS, None)])
def test_primaries_are_kept_in_png_and_become_a_profile_elsewhere(points, gamma):
    chunks = [chrm(points)] + ([gama(gamma)] if gamma else [])
    picture = read_picture(png(*chunks))
    back, notes = written(picture)
    assert (notes, chunks_of(back)[b"cHRM"]) == ((), chrm(points)[1])
    # Under a steep curve the darkest levels are closer than those of 16 bits between.
    np.testing.assert_allclose(np.asarray(Image.open(io.BytesIO(back))), PIXELS, atol=1 if gamma == 1 / 2.6 else 0)
    elsewhere, notes = written(picture, "tif")
    profile = Image.open(io.BytesIO(elsewhere)).info["icc_profile"]
    # The profile against the numbers themselves: white is white, and a primary has its own chromaticity.
    made = ImageCms.getOpenProfile(io.BytesIO(profile)).profile
    for name, (x, y) in zip(("red", "green", "blue"), np.reshape(points, (4, 2))[1:] / 100_000, strict=True):
        np.testing.assert_allclose(_unadapted(made, name), (x, y), atol=2e-3)
    assert by_lcms(np.full((1, 1, 3), 255, np.uint8), profile).min() >= 254


def _unadapted(profile, name):
    """x and y of a primary under D65, of its XYZ under D50 by the inverse of Bradford's adaptation."""
    from_d65 = [
        [1.0478112, 0.0228866, -0.0501270],
        [0.0295424, 0.9904844, -0.0170491],
        [-0.0092345, 0.0150436, 0.7521316],
    ]
    xyz = np.linalg.solve(from_d65, np.array(getattr(profile, f"{name}_colorant")[0]))
    return xyz[0] / xyz.sum(), xyz[1] / xyz.sum()


@pytest.mark.parametrize(
    "chunks",
    [
        [gama(0.45455)],
        [gama(0.45455), chrm(SRGB_POINTS)],
        [chrm(SRGB_POINTS)],
        [(b"sRGB", b"\0"), gama(1.0), chrm(ADOBE_POINTS)],
        [(b"cICP", bytes((1, 13, 0, 1))), gama(1.0)],
    ],
)
def test_what_means_srgb_is_untouched_and_kept(chunks):
    picture = read_picture(png(*chunks))
    assert (picture.toned, picture.metadata.icc, picture.notes) == (False, None, ())
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    back = chunks_of(written(picture)[0])
    assert all(back[name] == body for name, body in chunks[:1])


def test_a_profile_counts_before_gamma_and_numbers_before_both():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    packed = (b"iCCP", b"p\0\0" + zlib.compress(profile))
    picture = read_picture(png(packed, gama(1.0)))
    assert (picture.metadata.icc, picture.toned) == (profile, False)
    picture = read_picture(png((b"cICP", bytes((1, 8, 0, 1))), packed))
    assert picture.toned
    np.testing.assert_allclose(picture.pixels / 65535, light(PIXELS, 1.0), atol=1e-3)


@pytest.mark.parametrize(
    "chunks", [[chrm((0,) * 8)], [gama(1e-5)], [(b"cHRM", b"1")], [chrm((2**32 - 1,) * 8), gama(1.0)]]
)
def test_numbers_that_mean_nothing_do_not_lose_the_picture(chunks):
    assert read_picture(png(*chunks)).size == (56, 40)


def test_what_imagemagick_keeps_in_texts_is_metadata():
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    iim = b"\x1c\x02\x78\0\x04dark"

    def raw(kind, content):
        text = f"\n{kind}\n{len(content):8}\n{content.hex()}\n".encode()
        return b"zTXt", f"Raw profile type {kind}".encode() + b"\0\0" + zlib.compress(text)

    picture = read_picture(png(raw("exif", exif.tobytes()), raw("iptc", iim)))
    assert picture.metadata.exif == exif.tobytes()[6:]
    assert iim in picture.metadata.photoshop
    assert picture.metadata.text == ()


@pytest.mark.slow
def test_what_unpacks_to_gigabytes_is_not_unpacked():
    zeros = zlib.compressobj()
    bomb = b"".join(zeros.compress(bytes(1 << 20)) for _ in range(1 << 10)) + zeros.flush()
    tracemalloc.start()
    picture = read_picture(png((b"iCCP", b"p\0\0" + bomb), (b"zTXt", b"Raw profile type exif\0\0" + bomb)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 << 26
    assert picture.notes == ("the colour profile is not kept: it is damaged",)
    np.testing.assert_array_equal(picture.pixels, PIXELS)


def test_long_texts_are_copied_not_unpacked():
    text = b"Comment\0\0" + zlib.compress(bytes(range(32, 127)) * 60_000)
    picture = read_picture(png((b"zTXt", text)))
    assert chunks_of(written(picture)[0])[b"zTXt"] == text
    stored = Picture(PIXELS, metadata=Metadata(text=((b"zTXt", text),)))
    assert written(stored, "jpg")[1][0].startswith("the text chunks")
