import io
import struct
import subprocess
import sys
import zlib
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from PIL import Image

from undim.errors import PictureError
from undim.images import Metadata, Picture, encode_picture, read_picture
from undim.images.reading import turn_upright


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "PPM"])
def test_lossless_formats_give_the_exact_pixels(rgb, form):
    picture = read_picture(encoded(Image.fromarray(rgb), form))
    np.testing.assert_array_equal(picture.pixels, rgb)
    assert picture.alpha is None


def test_path_stream_and_bytes_are_the_same(tmp_path, rgb):
    data = encoded(Image.fromarray(rgb), "PNG")
    path = tmp_path / "no suffix"
    path.write_bytes(data)
    for source in (path, str(path), io.BytesIO(data)):
        np.testing.assert_array_equal(read_picture(source).pixels, rgb)


# How a viewer shows each value (EXIF 2.32, table 6), written with numpy's own turns.
SHOWN = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.rot90(np.fliplr(a), 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.fliplr(a), -1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_once(rgb, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    options = {"lossless": True} if form == "WEBP" else {}
    picture = read_picture(encoded(Image.fromarray(rgb), form, exif=exif, **options))
    np.testing.assert_array_equal(picture.pixels, SHOWN[orientation](rgb))
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + picture.metadata.exif)
    assert kept.get(0x0112, 1) == 1
    assert kept[0x010F] == "Maker"


@pytest.mark.parametrize("orientation", SHOWN)
def test_turn_of_grey_and_colour_agree(rgb, orientation):
    np.testing.assert_array_equal(turn_upright(rgb, orientation)[..., 1], SHOWN[orientation](rgb[..., 1]))


def test_one_bit_becomes_grey():
    bits = np.random.default_rng(1).integers(0, 2, (9, 11)).astype(bool)
    np.testing.assert_array_equal(read_picture(encoded(Image.fromarray(bits), "PNG")).pixels, bits * np.uint8(255))


def test_palette_becomes_rgb_and_a_grey_palette_grey(rgb):
    palette = Image.fromarray(rgb).quantize(16)
    np.testing.assert_array_equal(read_picture(encoded(palette, "PNG")).pixels, np.asarray(palette.convert("RGB")))
    grey = Image.fromarray(rgb[..., 0] % 4, "P")
    grey.putpalette([0, 0, 0, 50, 50, 50, 120, 120, 120, 250, 250, 250])
    values = np.array([0, 50, 120, 250], np.uint8)[rgb[..., 0] % 4]
    np.testing.assert_array_equal(read_picture(encoded(grey, "PNG")).pixels, values)


def test_palette_transparency_becomes_alpha(rgb):
    palette = Image.fromarray(rgb).quantize(8)
    picture = read_picture(encoded(palette, "PNG", transparency=3))
    np.testing.assert_array_equal(picture.alpha, np.where(np.asarray(palette) == 3, 0, 255))


def test_transparent_colour_becomes_alpha():
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8).repeat(2, axis=0)
    picture = read_picture(encoded(Image.fromarray(pixels), "PNG", transparency=(4, 5, 6)))
    np.testing.assert_array_equal(picture.alpha, [[255, 0], [255, 0]])
    np.testing.assert_array_equal(picture.pixels, pixels)


def png(depth, kind, rows, key=b""):
    """A PNG file of packed rows; `key` is the content of tRNS."""
    samples = len(rows[0]) * 8 // depth // {0: 1, 2: 3, 4: 2}[kind]
    header = struct.pack(">IIBBBBB", samples, len(rows), depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", key), (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in (*chunks, (b"IEND", b""))
        if body or name == b"IEND"
    )


@pytest.mark.parametrize(
    ("depth", "row", "values"),
    [
        (2, b"\x1b", [0, 85, 170, 255]),
        (4, b"\x01\x2f", [0, 17, 34, 255]),
        (8, b"\0\1\2\3", [0, 1, 2, 3]),
    ],
)
def test_transparent_grey_of_few_bits(depth, row, values):
    picture = read_picture(png(depth, 0, [row], struct.pack(">H", 2)))
    np.testing.assert_array_equal(picture.pixels, [values])
    np.testing.assert_array_equal(picture.alpha, [[255, 255, 0, 255]])


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_kept_apart(mode):
    data = np.random.default_rng(2).integers(0, 256, (6, 5, len(mode)), dtype=np.uint8)
    picture = read_picture(encoded(Image.fromarray(data, mode), "PNG"))
    np.testing.assert_array_equal(picture.alpha, data[..., -1])
    np.testing.assert_array_equal(picture.pixels, data[..., 0] if mode == "LA" else data[..., :3])
    assert picture.grey == (mode == "LA")


def test_thumbnail_of_the_dark_picture_is_dropped(rgb):
    thumbnail = encoded(Image.new("RGB", (16, 12), "red"), "JPEG")
    # IFD0: orientation 6, maker; IFD1: start and length of the thumbnail, which ends the block.
    first = struct.pack("<H", 2) + struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHI4s", 0x010F, 2, 4, b"Cam\0")
    second_at = 8 + len(first) + 4
    second = struct.pack("<HHHIIHHII", 2, 0x0201, 4, 1, second_at + 30, 0x0202, 4, 1, len(thumbnail))
    block = b"II*\0" + struct.pack("<I", 8) + first + struct.pack("<I", second_at) + second + bytes(4) + thumbnail
    data = encoded(Image.fromarray(rgb), "JPEG", exif=b"Exif\0\0" + block)
    assert thumbnail in data
    picture = read_picture(data)
    assert picture.size == (7, 9)
    assert b"\xff\xd8" not in picture.metadata.exif
    assert picture.metadata.exif[:8] == block[:8]
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + picture.metadata.exif)
    assert dict(kept) == {0x0112: 1, 0x010F: "Cam"}


def test_size_tags_change_places_with_a_quarter_turn(rgb):
    exif = Image.Exif()
    exif[0x0112] = 8
    exif.get_ifd(0x8769).update({0xA002: 9, 0xA003: 7})
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + read_picture(encoded(Image.fromarray(rgb), "PNG", exif=exif)).metadata.exif)
    assert (kept.get_ifd(0x8769)[0xA002], kept.get_ifd(0x8769)[0xA003]) == (7, 9)


@pytest.mark.parametrize("orientation", [3, 6])
def test_resolutions_in_exif_change_places_with_a_quarter_turn_alone(rgb, orientation):
    exif = Image.Exif()
    exif.update({0x0112: orientation, 0x011A: 300.0, 0x011B: 150.0})
    exif.get_ifd(0x8769).update({0xA20E: 80.0, 0xA20F: 40.0})
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + read_picture(encoded(Image.fromarray(rgb), "PNG", exif=exif)).metadata.exif)
    found = (kept[0x011A], kept[0x011B], kept.get_ifd(0x8769)[0xA20E], kept.get_ifd(0x8769)[0xA20F])
    assert found == ((150, 300, 40, 80) if orientation == 6 else (300, 150, 80, 40))


def test_size_tags_change_places_in_a_tiff_too(rgb):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0xA002: 9, 0xA003: 7})
    stream = io.BytesIO()  # Pillow's writer drops the EXIF directory
    encode_picture(Picture(rgb, metadata=Metadata(exif=exif.tobytes()[6:])), stream, "tif")
    picture = read_picture(stream.getvalue())
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + picture.metadata.exif)
    assert picture.size == (7, 9)
    assert (kept.get_ifd(0x8769)[0xA002], kept.get_ifd(0x8769)[0xA003]) == (7, 9)


def test_damaged_exif_does_not_lose_the_picture(rgb):
    picture = read_picture(encoded(Image.fromarray(rgb), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"))
    np.testing.assert_array_equal(picture.pixels, rgb)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just text, no picture", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "is damaged, or a PNG picture of a kind that is not read"),
        (b"\xff\xd8\xff\xe0", "damaged"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "damaged"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "JPEG 2000"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "not a picture"),
    ],
)
def test_what_is_no_picture_gives_a_reason(data, reason):
    with pytest.raises(PictureError, match=reason):
        read_picture(data)


@pytest.mark.parametrize(
    ("bits", "masks"), [(16, (0xF00, 0xF0, 0xF)), (32, (0x3FF00000, 0xFFC00, 0x3FF)), (0, (0, 0, 0))]
)
def test_bmp_of_a_kind_that_is_not_read_is_not_called_damaged(bits, masks):
    pixels = bytes(4 * max(bits // 8, 1))
    header = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, bits, 3 if bits else 4, len(pixels), 0, 0, 0, 0)
    data = struct.pack("<2sIHHI", b"BM", 66 + len(pixels), 0, 0, 66) + header + struct.pack("<III", *masks) + pixels
    with pytest.raises(PictureError, match=r"^is a BMP picture of a kind that is not read"):
        read_picture(data)


def test_comment_of_a_gif_is_called_a_comment(rgb):
    data = encoded(Image.fromarray(rgb).quantize(8), "GIF", comment=b"at night")
    stream = io.BytesIO()
    assert encode_picture(read_picture(data), stream) == ("the comment is not kept: PNG files do not take it",)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_truncated_anywhere_is_an_error_not_a_crash(form):
    noise = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), form)
    for share in (0.02, 0.2, 0.5, 0.8):
        with pytest.raises(PictureError):
            read_picture(data[: int(len(data) * share)])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_flipped_byte_gives_a_picture_or_a_picture_error(rgb):
    exif = Image.Exif()
    exif[0x0112] = 6
    random = np.random.default_rng(7)
    for form in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP"):
        data = encoded(Image.fromarray(rgb), form, **({} if form == "BMP" else {"exif": exif}))
        for _ in range(60):
            broken = bytearray(data)
            broken[random.integers(len(data))] = random.integers(256)
            # Any other exception, or a picture of another kind, fails the test.
            with suppress(PictureError):
                assert read_picture(bytes(broken), max_pixels=10_000).pixels.dtype == np.uint8


def bomb(width, height):
    """A PNG header that promises much."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"IDAT" + zlib.compress(b"\0")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in (chunk, data)
    )


def test_limit_is_compared_before_decoding_and_without_pillows_warning(recwarn):
    with pytest.raises(PictureError, match="60000 x 60000 = 3600000000 pixels"):
        read_picture(bomb(60000, 60000))
    with pytest.raises(PictureError, match="100000000 pixels"):  # inside Pillow's warning range
        read_picture(bomb(10000, 10000), max_pixels=1000)
    assert not recwarn.list


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP"])
def test_limit_is_inclusive(rgb, form):
    data = encoded(Image.fromarray(rgb), form)
    assert read_picture(data, max_pixels=63).size == (9, 7)
    with pytest.raises(PictureError, match="limit max_pixels of 62"):
        read_picture(data, max_pixels=62)


def test_pillows_own_limit_is_left_as_it_was(rgb):
    before = Image.MAX_IMAGE_PIXELS
    read_picture(encoded(Image.fromarray(rgb), "PNG"))
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("form", "word"), [("GIF", "animated"), ("WEBP", "animated"), ("PNG", "animated"), ("TIFF", "pages")]
)
def test_several_frames_are_refused(rgb, form, word):
    frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    with pytest.raises(PictureError, match=word):
        read_picture(encoded(frames[0], form, save_all=True, append_images=frames[1:]))


def test_tiff_with_a_reduced_copy_is_one_picture(tmp_path, rgb):
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as writer:
        writer.write(rgb, photometric="rgb")
        writer.write(rgb[::2, ::2], photometric="rgb", subfiletype=1)
    picture = read_picture(tmp_path / "pyramid.tif")
    np.testing.assert_array_equal(picture.pixels, rgb)
    assert picture.notes


def test_jpeg_with_a_second_picture_gives_the_first_and_says_so(smooth):
    data = encoded(Image.fromarray(smooth), "MPO", save_all=True, append_images=[Image.fromarray(255 - smooth)])
    picture = read_picture(data)
    assert picture.format == "jpg"
    assert np.abs(picture.pixels.astype(int) - smooth).mean() < 5
    assert "only the first" in picture.notes[0]


def test_file_that_changes_while_it_is_read_is_said_so(tmp_path, rgb, monkeypatch):
    path = tmp_path / "arriving.png"
    path.write_bytes(encoded(Image.fromarray(rgb), "PNG"))
    load = Image.Image.load

    def load_and_append(image):
        with path.open("ab") as stream:
            stream.write(b"more")
        return load(image)

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load_and_append)
    with pytest.raises(PictureError, match=r"^changed while it was read; try again when it is complete$"):
        read_picture(path)


def test_missing_file_and_folder_are_errors(tmp_path):
    with pytest.raises(PictureError, match="No such file"):
        read_picture(tmp_path / "absent.png")
    with pytest.raises(PictureError, match="cannot be opened"):
        read_picture(tmp_path)


def test_one_pixel_is_a_picture():
    assert read_picture(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")).pixels.tolist() == [[[1, 2, 3]]]


def test_neither_torch_nor_what_few_pictures_need_is_imported():
    rare = "{'torch', 'onnxruntime', 'pyvips', 'rawpy', 'pi_heif', 'PIL.AvifImagePlugin'}"
    code = f"import sys, undim.images; print(sorted({rare} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
