"""16 bits in, 16 bits out: nothing on the way may have only 256 levels."""

import io

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from undim import Enhancer
from undim.enhance.tiling import place_crops, shrink, weigh_crops
from undim.images import Picture, encode_picture, read_picture
from undim.shipped import find_model


@pytest.fixture(scope="module")
def ramp():
    """A dark, smooth gradient: 256 x 320 with far more than 256 levels."""
    y, x = np.mgrid[0:256, 0:320]
    return np.stack([600 + 31 * x, 900 + 29 * y, 500 + 15 * (x + y)], axis=-1).astype(np.uint16)


def levels(pixels):
    return len(np.unique(pixels[..., 1]))


def test_smooth_ramp_equals_the_untruncated_reference(gain, ramp):
    result = Enhancer(gain)(ramp)
    wanted = np.rint((0.5 * (ramp / 65535) + 0.41) * 65535)
    assert result.dtype == np.uint16
    assert np.abs(result - wanted).max() <= 1  # float32 has 24 bits
    assert levels(result) == 256  # as many as the gradient has rows; the 8-bit path leaves 15
    assert levels(Enhancer(gain)(np.rint(ramp / 257).astype(np.uint8))) < 20


@pytest.mark.parametrize("tile", [0, 256])
def test_default_model_keeps_more_than_256_levels(ramp, tile):
    """Against the model's own floats, which no code of Undim has touched."""
    tall = np.concatenate((ramp, ramp[:-41:-1]))
    result = Enhancer(tile=tile)(tall)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(find_model("photo"), options)
    (output,) = session.run(["enhanced"], {"image": np.float32(tall / 65535).transpose(2, 0, 1)[None]})
    wanted = output[0].clip(0, 1).transpose(1, 2, 0) * 65535
    error = np.abs(result - wanted)
    if tile == 0:
        assert error.max() < 2
    assert error.mean() < 65535 * 0.02  # as near as tiles of so small a picture agree
    assert levels(result) > 1000


def test_grey_and_strength(gain, ramp):
    grey = ramp[..., 0].copy()
    enhancer = Enhancer(gain)
    full = enhancer(grey)
    assert (full.dtype, full.shape) == (np.uint16, grey.shape)
    np.testing.assert_array_equal(enhancer(grey, strength=0), grey)
    third = enhancer(grey, strength=0.3)
    np.testing.assert_array_equal(third, np.rint(0.7 * grey + 0.3 * full.astype(np.float64)))


def test_pil_16_bit_grey_stays_16_bit(gain, ramp):
    image = Image.fromarray(ramp[..., 0].copy())
    result = Enhancer(gain)(image)
    assert result.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(result), Enhancer(gain)(ramp[..., 0].copy()))
    image.info["transparency"] = int(ramp[0, 0, 0])
    assert Enhancer(gain)(image).mode == "LA"  # Pillow has no mode for 16 bits with alpha


def test_what_tiles_are_told_does_not_depend_on_the_type():
    small = np.random.default_rng(2).integers(0, 256, (160, 200, 3), dtype=np.uint8)
    deep = small.astype(np.uint16) * 257
    np.testing.assert_allclose(shrink(deep, (32, 32)), shrink(small, (32, 32)), atol=1e-6)
    crops = place_crops(160, 200)
    np.testing.assert_allclose(weigh_crops(deep, crops), weigh_crops(small, crops), atol=1e-4)


def test_8_bit_pictures_in_16_bits_give_the_same_picture(gain, dark):
    shallow, deep = Enhancer(gain)(dark), Enhancer(gain)(dark.astype(np.uint16) * 257)
    assert np.abs(deep / 257 - shallow).max() <= 0.51


@pytest.mark.parametrize("form", ["png", "tif", "avif"])
def test_from_file_to_file(gain, ramp, form):
    stream = io.BytesIO()
    encode_picture(Picture(ramp), stream, form)
    picture = read_picture(stream.getvalue())
    stream = io.BytesIO()
    encode_picture(Picture(Enhancer(gain)(picture.pixels), format=picture.format), stream)
    back = read_picture(stream.getvalue()).pixels
    wanted = (0.5 * (ramp / 65535) + 0.41) * 65535
    assert np.abs(back - wanted).mean() < (1 if form != "avif" else 65535 / 1024)
    assert levels(back) > 200
