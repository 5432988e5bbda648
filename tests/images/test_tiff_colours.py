"""TIFF's YCbCr by the file's own numbers, against libtiff in OpenCV; resolutions without a unit; layers in depth."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile

from undim.errors import PictureError
from undim.images import encode_picture, read_picture

Y, X = np.mgrid[0:48, 0:64]
PIXELS = np.stack([20 + 3 * X, 30 + 4 * Y, 25 + X + Y], axis=-1).astype(np.uint8)
REC_709 = (0.2126, 0.7152, 0.0722)
STUDIO = (16, 235, 128, 240, 128, 240)
"""Black and white of luma, then of the two differences."""


def fractions(values):
    return tuple(part for value in values for part in (round(value * 10000), 10000))


def write(path, samples, weights=None, ends=None, **options):
    tags = [(530, 3, 2, (1, 1), True)]
    tags += [(529, 5, 3, fractions(weights), True)] if weights else []
    tags += [(532, 5, 6, fractions(ends), True)] if ends else []
    tifffile.imwrite(path, samples, photometric="ycbcr", extratags=tags, metadata=None, **options)


def to_ycbcr(rgb, weights, ends):
    """TIFF 6.0, sections 20 and 21, the other way round; colours from 0 to 1."""
    most = 255 * 257 if ends[1] > 255 else 255
    luma = rgb @ np.array(weights)
    blue, red = ((rgb[..., at] - luma) / (2 - 2 * weights[at]) for at in (2, 0))
    ranges = (1.0, most // 2 / most, most // 2 / most)
    coded = [
        value / scale * (ends[2 * at + 1] - ends[2 * at]) + ends[2 * at]
        for at, (value, scale) in enumerate(zip((luma, blue, red), ranges, strict=True))
    ]
    return np.rint(np.stack(coded, axis=-1)).astype(np.uint8 if most == 255 else np.uint16)


@pytest.mark.parametrize("weights", [None, REC_709])
@pytest.mark.parametrize("ends", [None, STUDIO])
def test_ycbcr_is_converted_by_the_files_numbers(tmp_path, weights, ends):
    samples = to_ycbcr(PIXELS / 255, weights or (0.299, 0.587, 0.114), ends or (0, 255, 128, 255, 128, 255))
    write(tmp_path / "a.tif", samples, weights, ends)
    pixels = read_picture(tmp_path / "a.tif").pixels.astype(int)
    assert np.abs(pixels - PIXELS).max() <= 2
    by_libtiff = cv2.imread(str(tmp_path / "a.tif"))[..., ::-1].astype(int)
    # libtiff cuts off the fractions of the differences.
    assert np.abs(pixels - by_libtiff).max() <= (3 if ends else 1)


def write_cells(path, weights, ends, across, down, compression):
    """A TIFF whose differences of colour stand there once for `across` x `down` pixels."""
    samples = to_ycbcr(PIXELS / 255, weights or (0.299, 0.587, 0.114), ends or (0, 255, 128, 255, 128, 255))
    cells = samples.reshape(48 // down, down, 64 // across, across, 3).swapaxes(1, 2)
    luma = cells[..., 0].reshape(48 // down, 64 // across, down * across)
    data = np.concatenate((luma, cells[:, :, 0, 0, 1:]), axis=2).tobytes()
    data = zlib.compress(data) if compression == 8 else data
    tags = [
        (256, 4, 1, 64),
        (257, 4, 1, 48),
        (258, 3, 3, 400),
        (259, 3, 1, compression),
        (262, 3, 1, 6),
        (273, 4, 1, 600),
    ]
    tags += [(277, 3, 1, 3), (278, 4, 1, 48), (279, 4, 1, len(data))]
    tags += [(529, 5, 3, 420)] if weights else []
    tags += [(530, 3, 2, across | down << 16)]
    tags += [(532, 5, 6, 500)] if ends else []
    file = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    for place, values in ((400, struct.pack("<3H", 8, 8, 8)), (420, rationals(weights)), (500, rationals(ends))):
        file = file.ljust(place, b"\0") + values
    path.write_bytes(file.ljust(600, b"\0") + data)


@pytest.mark.parametrize("weights", [None, REC_709])
@pytest.mark.parametrize("ends", [None, STUDIO])
@pytest.mark.parametrize(("across", "down"), [(2, 2), (2, 1), (4, 1)])
def test_colours_stored_once_for_some_pixels(tmp_path, weights, ends, across, down):
    path = tmp_path / "a.tif"
    write_cells(path, weights, ends, across, down, 8)
    np.testing.assert_allclose(read_picture(path).pixels.astype(int), cv2.imread(str(path))[..., ::-1], atol=1)
    write_cells(path, weights, ends, across, down, 1)
    with pytest.raises(PictureError, match="colours at less than full size without compression, which is not read"):
        read_picture(path)


def rationals(values):
    parts = fractions(values or ())
    return struct.pack(f"<{len(parts)}I", *parts)


def test_ycbcr_of_16_bits(tmp_path):
    ends = tuple(256 * value for value in STUDIO)
    write(tmp_path / "a.tif", to_ycbcr(PIXELS / 255, REC_709, ends), REC_709, ends)
    pixels = read_picture(tmp_path / "a.tif").pixels
    assert np.abs(pixels - PIXELS * 257.0).max() <= 4


@pytest.mark.parametrize(
    ("weights", "ends"), [((0.5, 0.0, 0.5), None), (None, (16, 16, 128, 240, 128, 240)), ((0.3, 0.6), None)]
)
def test_numbers_that_mean_nothing_are_refused(tmp_path, weights, ends):
    if weights and len(weights) == 2:
        tags = [(529, 5, 2, fractions(weights), True), (530, 3, 2, (1, 1), True)]
        tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="ycbcr", extratags=tags)
    else:
        write(tmp_path / "a.tif", PIXELS, weights, ends)
    with pytest.raises(PictureError, match="is damaged: what names its YCbCr colours means nothing"):
        read_picture(tmp_path / "a.tif")


def resolution(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        across, down = (tags[tag].value[0] / tags[tag].value[1] for tag in (282, 283))
        return across, down, int(tags[296].value)


@pytest.mark.parametrize(
    ("dots", "turn", "shown"),
    [((3, 1), 1, (3, 1)), ((3, 1), 6, (1, 3)), ((0.0123, 0.25), 6, (0.25, 0.0123)), ((1.5, 1.5), 6, (1.5, 1.5))],
)
def test_resolution_without_a_unit_is_kept(tmp_path, dots, turn, shown):
    options = {"resolution": dots, "resolutionunit": "NONE", "extratags": [(274, 3, 1, turn, True)]}
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", **options)
    stream = io.BytesIO()
    assert encode_picture(read_picture(tmp_path / "a.tif"), stream) == ()
    assert resolution(stream.getvalue()) == pytest.approx((*shown, 1))
    (note,) = encode_picture(read_picture(tmp_path / "a.tif"), io.BytesIO(), "webp")
    assert note.startswith("its further TIFF tags (" if dots == (1.5, 1.5) else "that its pixels are not square (")


def test_scale_of_imagej_is_kept_in_tiff_and_named_elsewhere(tmp_path):
    options = {"resolution": (1.5, 1.5), "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "a.tif", PIXELS[..., 0], imagej=True, **options)
    stream = io.BytesIO()
    assert encode_picture(read_picture(tmp_path / "a.tif"), stream) == ()
    assert resolution(stream.getvalue()) == (1.5, 1.5, 1)
    (note,) = encode_picture(read_picture(tmp_path / "a.tif"), io.BytesIO(), "png")
    assert note.startswith("its further TIFF tags (XResolution, YResolution, ResolutionUnit) are not kept")


def test_layers_in_depth_are_refused(tmp_path):
    layers = np.stack([PIXELS[..., 0]] * 4)
    tifffile.imwrite(tmp_path / "a.tif", layers, photometric="minisblack", volumetric=True, tile=(1, 16, 16))
    with pytest.raises(PictureError, match="has 4 layers in depth"):
        read_picture(tmp_path / "a.tif")
