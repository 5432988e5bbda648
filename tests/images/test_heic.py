"""HEIC: the fixtures were made by pillow-heif 1.8.1 (x265), which is not among Undim's requirements.

`turned.heic`: 64 x 48 of 8 bits at quality 95, stored with orientation 6, a maker and an sRGB profile. `deep.heic`:
64 x 48 of 10 bits without loss besides rounding. Both show the gradients below.
"""

import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undim.errors import PictureError
from undim.images import read_picture

FIXTURES = Path(__file__).parents[1] / "fixtures"
Y, X = np.mgrid[0:48, 0:64]


def test_8_bits_turned_once_with_metadata():
    picture = read_picture(FIXTURES / "turned.heic")
    shown = np.rot90(np.stack([X * 4, Y * 5, 60 + X + Y], axis=-1), -1)
    assert (picture.pixels.dtype, picture.size, picture.format) == (np.uint8, (48, 64), "heic")
    assert np.abs(picture.pixels.astype(int) - shown).mean() < 2
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + picture.metadata.exif)
    assert (exif[0x0112], exif[0x010F]) == (1, "Maker")
    assert picture.metadata.icc[36:40] == b"acsp"


def test_10_bits_are_kept():
    picture = read_picture(FIXTURES / "deep.heic")
    shown = np.stack([X / 63, Y / 47, (X + Y) / 110], axis=-1) * 65535
    assert (picture.pixels.dtype, picture.depth) == (np.uint16, 16)
    assert np.abs(picture.pixels - shown).mean() < 65535 / 128  # its colours are stored at half size
    assert picture.pixels.max() == 65535
    assert len(np.unique(picture.pixels)) > 256


def test_truncated_and_mutated_files_are_picture_errors():
    data = (FIXTURES / "turned.heic").read_bytes()
    for share in (0.02, 0.2, 0.5, 0.8):
        with pytest.raises(PictureError):
            read_picture(data[: int(len(data) * share)])
    random = np.random.default_rng(3)
    for _ in range(60):
        broken = bytearray(data)
        broken[random.integers(len(data))] = random.integers(256)
        # Any other exception, or a picture of another kind, fails the test.
        with suppress(PictureError):
            assert read_picture(bytes(broken), max_pixels=10_000).format == "heic"


def test_limit_and_missing_library(monkeypatch):
    with pytest.raises(PictureError, match="limit max_pixels"):
        read_picture(FIXTURES / "deep.heic", max_pixels=3071)
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(PictureError, match=r'needs pi-heif: pip install "undim\[heic\]"'):
        read_picture(FIXTURES / "deep.heic")
