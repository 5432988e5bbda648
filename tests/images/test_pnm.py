"""PNM and PAM of any largest value, against their definition and OpenCV."""

import cv2
import numpy as np
import pytest

from undim.errors import PictureError
from undim.images import encode_picture, read_picture


def file(kind, values, top, comment=b""):
    height, width = values.shape[:2]
    head = b"P%d\n%s%d %d\n%d\n" % (kind, comment, width, height, top)
    if kind in (2, 3):
        return head + b" ".join(b"%d" % value for value in values.ravel()) + b"\n"
    return head + values.astype(np.uint8 if top < 256 else ">u2").tobytes()


@pytest.mark.parametrize("top", [1, 15, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6])
def test_the_largest_value_is_white(kind, top):
    shape = (7, 9, 3) if kind in (3, 6) else (7, 9)
    values = np.random.default_rng(2).integers(0, top + 1, shape)
    values.flat[:2] = 0, top
    picture = read_picture(file(kind, values, top, b"# a comment\n"))
    full = 255 if top < 256 else 65535
    assert picture.pixels.dtype == (np.uint8 if top < 256 else np.uint16)
    np.testing.assert_allclose(picture.pixels, values * (full / top), atol=0.5)


@pytest.mark.parametrize("suffix", ["ppm", "pgm"])
def test_16_bits_of_another_writer_stay_16(tmp_path, suffix):
    values = np.random.default_rng(3).integers(0, 65536, (7, 9, 3) if suffix == "ppm" else (7, 9), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), values)
    picture = read_picture(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(picture.pixels, values[..., ::-1] if suffix == "ppm" else values)
    with (tmp_path / "b.png").open("w+b") as stream:
        assert encode_picture(picture, stream) == ()
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED), values)


def test_bitmaps():
    bits = np.random.default_rng(4).integers(0, 2, (5, 11))
    text = b"P1 11 5\n" + b"\n".join(b"".join(b"%d" % bit for bit in row) for row in bits)
    packed = b"P4\n11 5\n" + np.packbits(bits.astype(bool), axis=1).tobytes()
    for data in (text, packed):
        np.testing.assert_array_equal(read_picture(data).pixels, (1 - bits) * 255)


@pytest.mark.parametrize(("kind", "samples"), [("GRAYSCALE", 1), ("GRAYSCALE_ALPHA", 2), ("RGB", 3), ("RGB_ALPHA", 4)])
@pytest.mark.parametrize("top", [255, 1023])
def test_pam(kind, samples, top):
    values = np.random.default_rng(5).integers(0, top + 1, (4, 6, samples))
    head = f"P7\nWIDTH 6\nHEIGHT 4\nDEPTH {samples}\nMAXVAL {top}\nTUPLTYPE {kind}\nENDHDR\n".encode()
    picture = read_picture(head + values.astype(">u2" if top > 255 else np.uint8).tobytes())
    full = 65535 if top > 255 else 255
    colours = values[..., 0] if samples < 3 else values[..., :3]
    np.testing.assert_allclose(picture.pixels, colours * (full / top), atol=0.5)
    assert (picture.alpha is not None) == (samples in (2, 4))
    if picture.alpha is not None:
        np.testing.assert_allclose(picture.alpha, values[..., -1] * (full / top), atol=0.5)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"P5\n4 4\n255\n" + bytes(15), "its pixels are 15 of 16 bytes"),
        (b"P6\n4 4\n65535\n" + bytes(95), "its pixels are 95 of 96 bytes"),
        (b"P2\n2 2\n255\n1 2 3", "it has 3 of 4 values"),
        (b"P2\n2 2\n10\n1 2 3 11", "values of up to 11, above its largest of 10"),
        (b"P3\n2 1\n255\n1 -2 3 4 5 6\n", "it has '-2' where a value should be"),
        (b"P2\n2 1\n255\n1 1e2\n", "it has '1e2' where a value should be"),
        (b"P2\n2 1\n255\n1 99999999999999999999\n", "above its largest of 255"),
        (b"P2\n2 1\n255\n1 " + b"9" * 5000, "above its largest of 255"),
        (b"P1\n2 1\n1-", "it has '-' where a value should be"),
        (b"P5\n4 4\n70000\n" + bytes(32), "a largest value of 70000"),
        (b"P5\n4 x", "its header names no size"),
        (b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 5\nMAXVAL 255\nTUPLTYPE SPECTRUM\nENDHDR\n" + bytes(20), "of kind 'SPECTRUM'"),
        (b"PF\n2 2\n-1.0\n" + bytes(48), "is a PFM picture, which this version does not read"),
    ],
)
def test_damaged_and_unknown_kinds(data, words):
    with pytest.raises(PictureError, match=words):
        read_picture(data)


def test_values_may_have_zeros_before_them(tmp_path):
    file = tmp_path / "a.pgm"
    file.write_bytes(b"P2\n2 1\n255\n" + b"0" * 5000 + b"12 " + b"0" * 5000)
    assert read_picture(file).pixels.tolist() == [[12, 0]]
