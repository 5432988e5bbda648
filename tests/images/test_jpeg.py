"""JPEG: what is missing or damaged is told. The verdict on damage is compared with djpeg's where it is installed."""

import io
import shutil
import struct
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from undim.errors import PictureError
from undim.images import read_picture

Y, X = np.mgrid[0:256, 0:384]
PIXELS = np.stack([X * 255 // 384, Y, (X + Y) % 256], axis=-1) + np.random.default_rng(0).normal(0, 8, (256, 384, 3))
IMAGE = Image.fromarray(PIXELS.clip(0, 255).astype(np.uint8))
KINDS = {
    "baseline": {},
    "restarts": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
    "full colour": {"subsampling": 0},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
}
END = b"\xff\xd9"
NO_END = "its end marker is missing, but all of the picture is there"


def jpeg(kind, **more):
    options = {**KINDS[kind], **more}
    stream = io.BytesIO()
    IMAGE.convert(options.pop("mode", "RGB")).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


def scan_of(data):
    return data.index(b"\xff\xda") + 14


def by_pillow(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_pillows_pixels_without_a_word(kind):
    data = jpeg(kind)
    picture = read_picture(data)
    shown = picture.pixels if picture.pixels.ndim == 3 else picture.pixels[..., None].repeat(3, -1)
    np.testing.assert_allclose(shown.astype(int), by_pillow(data), atol=1 if kind == "CMYK" else 0)
    assert [note for note in picture.notes if "CMYK" not in note] == []


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_end_marker_it_is_whole_and_noted(kind):
    data = jpeg(kind)
    picture = read_picture(data[:-2])
    np.testing.assert_array_equal(picture.pixels, read_picture(data).pixels)
    assert NO_END in picture.notes


@pytest.mark.parametrize("kind", KINDS)
def test_that_ends_early_fails(kind):
    data = jpeg(kind)
    for end in (len(data) // 2, len(data) - 40, len(data) - 5, scan_of(data) + 10):
        with pytest.raises(PictureError, match="is damaged or truncated: the file ends before the last"):
            read_picture(data[:end])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_with_its_lower_part_lost_and_an_end_marker_it_is_noted(kind, share):
    data = jpeg(kind)
    picture = read_picture(data[: int(len(data) * share)] + END)
    assert any(
        note.startswith(("part of the picture is damaged (", "part of the picture is missing:"))
        for note in picture.notes
    )
    assert picture.size == (384, 256)


def test_a_missing_scan_is_noted():
    data = jpeg("progressive")
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 4
    for first, second in pairwise(scans):
        tables = data.rfind(b"\xff\xc4", 0, second)
        after = tables if tables > first else second
        picture = read_picture(data[:first] + data[after:])
        assert any("part of the picture is" in note for note in picture.notes)
    with pytest.raises(PictureError, match="ends before the last scan"):
        read_picture(data[: scans[-1]])


@pytest.mark.skipif(shutil.which("djpeg") is None, reason="djpeg is not installed")
@pytest.mark.parametrize("kind", ["baseline", "restarts", "progressive"])
@pytest.mark.parametrize("way", ["flipped", "cut out", "doubled"])
def test_damage_inside_is_told_wherever_djpeg_tells_it(kind, way):
    data, numbers, told = jpeg(kind), np.random.default_rng(3), 0
    for _ in range(25):
        broken, at = bytearray(data), int(numbers.integers(scan_of(data), len(data) - 60))
        if way == "flipped":
            broken[at] ^= 1 << int(numbers.integers(8))
        elif way == "cut out":
            del broken[at : at + 50]
        else:
            broken[at:at] = broken[at - 50 : at]
        command = ["djpeg", "-ppm", "-outfile", "/dev/null"]
        done = subprocess.run(command, input=bytes(broken), capture_output=True, check=False)
        try:
            notes = read_picture(bytes(broken)).notes
        except PictureError:
            notes = ("refused",)
        assert bool(notes) >= bool(done.stderr)
        told += bool(notes)
    assert told


def test_damage_inside_is_told_without_djpeg_too():
    data = jpeg("restarts")
    at = data.index(b"\xff\xd3")
    for broken in (
        data[:at] + data[at + 400 :],
        data[: at + 2] + data[at - 300 :],
        data[:at] + b"\xff\xd6" + data[at + 2 :],
    ):
        (note,) = read_picture(broken).notes
        assert note.startswith("part of the picture is damaged (Corrupt JPEG data:")


def test_padding_before_the_end_marker_is_harmless():
    data = jpeg("baseline")
    picture = read_picture(data[:-2] + bytes(30) + END)
    assert picture.notes == ()
    np.testing.assert_array_equal(picture.pixels, by_pillow(data))


def test_filling_and_odd_headers_are_harmless():
    data = jpeg("baseline")
    scan = data.index(b"\xff\xda")
    assert read_picture(data[:scan] + b"\xff\xff\xff" + data[scan:]).notes == ()
    header = bytearray(data)
    header[scan_of(data) - 3] = 0  # where the frequencies end: 63 in a baseline scan, but some cameras write 0
    picture = read_picture(bytes(header))
    assert picture.notes == ()
    np.testing.assert_array_equal(picture.pixels, by_pillow(data))


@pytest.mark.parametrize(
    ("marker", "bits", "words"),
    [
        (0xC1, 12, "is a JPEG of 12 bits per sample"),
        (0xC3, 8, "is a lossless JPEG"),
        (0xC5, 8, "is a hierarchical JPEG"),
        (0xF7, 8, "is a JPEG-LS picture"),
    ],
)
def test_kinds_that_are_not_read_are_named(marker, bits, words):
    data = bytearray(jpeg("baseline"))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, bits
    with pytest.raises(PictureError, match=f"^{words}, which is not read"):
        read_picture(bytes(data))


def test_height_behind_the_picture_and_no_picture():
    data = bytearray(jpeg("baseline"))
    at = data.index(b"\xff\xc0")
    with pytest.raises(PictureError, match="it has no picture data"):
        read_picture(bytes(data[:at]))
    struct.pack_into(">H", data, at + 5, 0)
    with pytest.raises(PictureError, match="names its height behind the picture"):
        read_picture(bytes(data))


def test_profile_of_several_segments_and_one_that_lacks_a_part():
    profile = bytes(range(256)) * 600
    data = jpeg("baseline", icc_profile=profile)
    assert read_picture(data).notes == ("the colour profile is not kept: it is for another colour model",)
    lone = data.replace(b"ICC_PROFILE\0\1\3", b"ICC_NOTHING\0\1\3")
    assert read_picture(lone).notes == ("the colour profile is not kept: parts of it are missing",)
