"""Camera raw: a DNG that tifffile wrote, with a sensor of four colours' cells."""

import struct
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from dng import WHITE, write_dng
from undim.errors import PictureError
from undim.images import read_picture, write_picture

BRIGHT, DARK = 8000, 1000


@pytest.fixture
def cells():
    """64 x 80 of grey light: bright on the left, dark on the right."""
    cells = np.full((64, 80), DARK, np.uint16)
    cells[:, :40] = BRIGHT
    return cells


def srgb(light):
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


@pytest.mark.parametrize("name", ["a.dng", "a.tif", "A.NEF"])
def test_light_becomes_16_bit_srgb_without_being_brightened(tmp_path, cells, name):
    write_dng(tmp_path / name, cells)
    picture = read_picture(tmp_path / name)
    assert (picture.pixels.dtype, picture.size, picture.format, picture.notes) == (np.uint16, (80, 64), "raw", ())
    for column, light in ((20, BRIGHT), (60, DARK)):
        shown = picture.pixels[32, column] / 65535
        np.testing.assert_allclose(shown[1], srgb(light / WHITE), rtol=0.05)
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + picture.metadata.exif)
    assert (exif[271], exif[272], exif.get(274, 1)) == ("Maker", "Model", 1)


def test_orientation_is_applied_once(tmp_path, cells):
    write_dng(tmp_path / "a.dng", cells, orientation=6)
    picture = read_picture(tmp_path / "a.dng")
    assert picture.size == (64, 80)
    assert picture.pixels[20, 32, 1] > 2 * picture.pixels[60, 32, 1]  # what was left is on top


def test_raw_file_is_not_taken_for_its_thumbnail(tmp_path):
    Image.new("RGB", (9, 7)).save(tmp_path / "thumbnail.tif")
    (tmp_path / "DSC1.NEF").write_bytes((tmp_path / "thumbnail.tif").read_bytes())
    with pytest.raises(PictureError, match="is a camera raw file that cannot be developed"):
        read_picture(tmp_path / "DSC1.NEF")


def test_truncated_limit_and_missing_library(tmp_path, cells, monkeypatch):
    write_dng(tmp_path / "a.dng", cells)
    with pytest.raises(PictureError, match="limit max_pixels"):
        read_picture(tmp_path / "a.dng", max_pixels=5119)
    data = (tmp_path / "a.dng").read_bytes()
    for share in (0.01, 0.2, 0.6):
        (tmp_path / "b.dng").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(PictureError):
            read_picture(tmp_path / "b.dng")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(PictureError, match=r'needs rawpy: pip install "undim\[raw\]"'):
        read_picture(tmp_path / "a.dng")


XMP = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    b"<rdf:Description xmlns:tiff='http://ns.adobe.com/tiff/1.0/' xmlns:xmp='http://ns.adobe.com/xap/1.0/' "
    b"tiff:Orientation='%d' xmp:Rating='4'/></rdf:RDF></x:xmpmeta>"
)
IIM = b"\x1c\x02\x78\0\x0dA dark street"


@pytest.mark.parametrize("place", [33723, 34377])
def test_xmp_and_iptc_travel_and_the_orientation_is_that_of_the_turned_picture(tmp_path, cells, place):
    resources = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IIM)) + IIM
    iptc = IIM if place == 33723 else resources
    more = [(700, 1, len(XMP % 6), XMP % 6, True), (place, 7, len(iptc), iptc, True)]
    write_dng(tmp_path / "a.dng", cells, orientation=6, more=more)
    write_picture(read_picture(tmp_path / "a.dng"), tmp_path / "a.tif", "tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = file.pages[0].tags
        assert (bytes(tags[700].value), bytes(tags[33723].value)) == (XMP % 1, IIM)
        assert (file.pages[0].shape, tags[271].value) == ((80, 64, 3), "Maker")
