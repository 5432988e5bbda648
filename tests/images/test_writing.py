import io
import os

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from undim.errors import PictureError, UsageError
from undim.images import FORMATS, Metadata, Picture, encode_picture, read_picture, write_picture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif_block():
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = 1
    exif[0x0106] = 0  # PhotometricInterpretation of another file: must not turn a TIFF into a negative
    exif.get_ifd(0x8769).update({0x829A: 0.5, 0x9003: "2026:01:02 03:04:05"})
    exif.get_ifd(0x8825).update({1: "N"})
    return exif.tobytes()[6:]


def bytes_of(picture, form=None, quality=None):
    stream = io.BytesIO()
    notes = encode_picture(picture, stream, form, quality)
    return stream.getvalue(), notes


@pytest.mark.parametrize("form", ["png", "tif", "bmp"])
def test_lossless_formats_roundtrip_through_another_reader(tmp_path, rgb, form):
    write_picture(Picture(rgb), tmp_path / f"a.{form}", form)
    np.testing.assert_array_equal(imageio.imread(tmp_path / f"a.{form}"), rgb)
    write_picture(Picture(rgb[..., 0]), tmp_path / f"g.{form}", form)
    grey = Image.open(tmp_path / f"g.{form}")
    assert grey.mode == "L"
    np.testing.assert_array_equal(np.asarray(grey), rgb[..., 0])


def test_tiff_is_read_by_tifffile(tmp_path, rgb):
    write_picture(Picture(rgb, metadata=Metadata(exif=exif_block())), tmp_path / "a.tif", "tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), rgb)


@pytest.mark.parametrize("form", ["jpg", "webp", "avif"])
def test_lossy_formats_stay_close_and_quality_counts(smooth, form):
    fine, _ = bytes_of(Picture(smooth), form)
    coarse, _ = bytes_of(Picture(smooth), form, 20)
    assert len(coarse) < len(fine)
    error = np.abs(imageio.imread(fine).astype(int) - smooth)
    assert error.mean() < 2


def test_jpeg_keeps_full_chroma(smooth):
    data, _ = bytes_of(Picture(smooth), "jpg")
    assert [layer[1:3] for layer in Image.open(io.BytesIO(data)).layer] == [(1, 1)] * 3


@pytest.mark.parametrize("form", ["png", "tif", "bmp", "webp", "avif"])
@pytest.mark.parametrize("grey", [False, True])
def test_alpha_survives(rgb, form, grey):
    alpha = np.random.default_rng(9).integers(0, 256, rgb.shape[:2], dtype=np.uint8)
    data, notes = bytes_of(Picture(rgb[..., 0] if grey else rgb, alpha), form)
    assert notes == ()
    back = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    np.testing.assert_allclose(back[..., 3].astype(int), alpha, atol=4 if form == "avif" else 0)  # stored with loss
    if form not in ("webp", "avif"):
        np.testing.assert_array_equal(back[..., :3], rgb[..., :1].repeat(3, -1) if grey else rgb)


def test_alpha_in_jpeg_is_laid_on_white_and_said(smooth):
    alpha = np.zeros(smooth.shape[:2], np.uint8)
    data, notes = bytes_of(Picture(smooth, alpha), "jpg")
    assert np.asarray(Image.open(io.BytesIO(data))).min() >= 254
    assert "transparency" in notes[0]
    data, notes = bytes_of(Picture(smooth, np.full_like(alpha, 255)), "jpg")
    assert notes == ()
    assert np.abs(np.asarray(Image.open(io.BytesIO(data))).astype(int) - smooth).mean() < 2


@pytest.mark.parametrize("form", ["jpg", "png", "webp", "avif", "tif"])
def test_metadata_is_carried(rgb, form):
    meta = Metadata(exif=exif_block(), icc=SRGB, xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", dpi=(300, 300))
    data, notes = bytes_of(Picture(rgb, metadata=meta), form)
    assert [note for note in notes if "resolution" not in note] == []
    image = Image.open(io.BytesIO(data))
    image.load()
    exif = image.getexif()
    assert exif[0x010F] == "Maker"
    assert exif.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
    assert float(exif.get_ifd(0x8769)[0x829A]) == 0.5
    assert exif.get_ifd(0x8825)[1] == "N"
    assert image.info["icc_profile"] == SRGB
    assert image.info["xmp"].startswith(b"<x:xmpmeta")
    if form not in ("webp", "avif"):
        assert image.info["dpi"] == pytest.approx((300, 300), rel=1e-3)


def test_tiff_metadata_reaches_jpeg(rgb):
    data, _ = bytes_of(Picture(rgb, metadata=Metadata(exif=exif_block())), "tif")
    again, _ = bytes_of(read_picture(data), "jpg")
    exif = Image.open(io.BytesIO(again)).getexif()
    assert exif[0x010F] == "Maker"
    assert exif.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"


def test_what_bmp_cannot_hold_is_said(rgb):
    _, notes = bytes_of(Picture(rgb, metadata=Metadata(exif=exif_block(), icc=SRGB)), "bmp")
    assert notes == ("the EXIF data are not kept: BMP files do not take them",)


def test_lossless_webp_stays_lossless(rgb):
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "WEBP", lossless=True)
    picture = read_picture(stream.getvalue())
    assert picture.lossless
    data, _ = bytes_of(picture)
    np.testing.assert_array_equal(imageio.imread(data), rgb)
    lossy, _ = bytes_of(Picture(rgb, format="webp"))
    assert not read_picture(lossy).lossless


def test_format_that_is_not_written_becomes_png(rgb):
    data, _ = bytes_of(Picture(rgb, format="gif"))
    assert data.startswith(b"\x89PNG")


def test_too_large_for_the_format():
    wide = Picture(np.zeros((1, 16384), np.uint8))
    with pytest.raises(PictureError, match="at most 16383 pixels on a side: choose PNG"):
        bytes_of(wide, "webp")
    assert bytes_of(wide, "jpg")[0]


@pytest.mark.parametrize(("form", "quality"), [("gif", None), ("jpg", 0), ("jpg", 101)])
def test_unknown_options_are_usage_errors(rgb, form, quality):
    with pytest.raises(UsageError):
        bytes_of(Picture(rgb), form, quality)


@pytest.mark.parametrize("form", FORMATS)
def test_failure_halfway_keeps_the_old_file_and_leaves_nothing_else(tmp_path, rgb, monkeypatch, form):
    target = tmp_path / f"a.{form}"
    target.write_bytes(b"old")

    def fail(self, stream, *args, **options):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    monkeypatch.setattr("zlib.compress", lambda *_: fail(None, stream=io.BytesIO()))
    with pytest.raises(PictureError, match="disk full"):
        write_picture(Picture(rgb), target, form)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_interrupt_leaves_nothing(tmp_path, rgb, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_picture(Picture(rgb), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_permissions_follow_the_umask(tmp_path, rgb):
    before = os.umask(0o027)
    try:
        write_picture(Picture(rgb), tmp_path / "a.png")
    finally:
        os.umask(before)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640


def test_unwritable_target_is_a_picture_error(tmp_path, rgb):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PictureError, match="cannot be written"):
        write_picture(Picture(rgb), tmp_path / "file" / "a.png")


def test_damaged_exif_is_left_out_of_tiff_and_said(rgb):
    broken = b"I"
    data, notes = bytes_of(Picture(rgb, metadata=Metadata(exif=broken)), "tif")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), rgb)
    assert notes == ("the EXIF data are damaged and not kept",)


def test_tiff_of_many_strips_is_read_by_others(tmp_path):
    pixels = np.random.default_rng(4).integers(0, 256, (700, 501, 3), dtype=np.uint8)
    alpha = pixels[..., 0] ^ 255
    write_picture(Picture(pixels, alpha), tmp_path / "a.tif", "tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), np.dstack((pixels, alpha)))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.tif")), np.dstack((pixels, alpha)))
