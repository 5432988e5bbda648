"""Local models: exact where the network is one, as sharp as the picture, and near the full run for shipped models."""

import numpy as np
import pytest
from PIL import Image

from undim.enhance.fast import Crop, fit_model, reduced_size
from undim.enhance.planes import reduce, to_planes


def picture(height, width, kind=np.uint8):
    """Texture, edges, noise and a shadow."""
    numbers = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] / 40
    base = 0.25 + 0.1 * np.sin(3 * x) * np.sin(2 * y) + 0.1 * ((x // 1 + y // 1) % 2)
    base = base * np.where(x > width / 80, 0.3, 1.0)
    colours = base[..., None] * np.array([1.0, 0.8, 0.6]) + numbers.normal(0, 0.01, (height, width, 3))
    return np.rint(colours.clip(0, 1) * np.iinfo(kind).max).astype(kind)


def crops_of(planes, side=64):
    height, width = planes.shape[1:]
    starts = [(top, left) for top in range(0, height - side, 96) for left in range(0, width - side, 96)]
    spans = [((top, top + side), (left, left + side)) for top, left in starts]
    return [Crop(rows, columns, planes[:, slice(*rows), slice(*columns)]) for rows, columns in spans]


def test_only_large_pictures_are_reduced():
    assert reduced_size(400, 600) is None
    assert reduced_size(1500, 1900) is None
    assert reduced_size(20, 3_000_000) is None  # a strip would lose its height
    height, width = reduced_size(3000, 4000)
    assert height * width == pytest.approx(1_350_000, rel=0.001)
    assert height / width == pytest.approx(3 / 4, rel=0.001)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_network_that_scales_colours_is_met(kind):
    pixels = picture(640, 800, kind)
    scale = np.array([2.0, 1.7, 2.2], np.float32)[:, None, None]
    small, texture = reduce(pixels, (160, 200))
    wanted = scale * to_planes(pixels) + np.float32(0.05)
    model = fit_model(pixels, small, texture, scale * small + np.float32(0.05), crops_of(wanted))
    bands = list(model.apply(pixels, threads=2))
    assert [top for top, _ in bands] == [0, 256, 512]
    off = np.concatenate([band for _, band in bands], 1) - wanted
    assert np.sqrt((off**2).mean()) < 2e-3  # slopes are drawn to zero a little where there is no contrast


def test_crops_correct_the_tone_and_say_that_noise_is_smoothed():
    pixels = picture(640, 800)
    planes = to_planes(pixels)
    clean = np.stack([np.asarray(Image.fromarray(plane).resize((800, 640))) for plane in reduce(pixels, (320, 400))[0]])
    wanted = 0.9 * (2 * clean) ** 1.2  # what the network makes at full size: smooth, and with other tones than below
    small, texture = reduce(pixels, (160, 200))
    crops = crops_of(wanted.astype(np.float32))

    def error(crops):
        model = fit_model(pixels, small, texture, 2 * small, crops)
        made = np.concatenate([band for _, band in model.apply(pixels, threads=1)], 1)
        return float(np.sqrt(((made - wanted) ** 2).mean()))

    assert error(crops) < 0.3 * error([])
    amplified = np.sqrt(((2 * planes - wanted) ** 2).mean())
    assert error(crops) < 0.5 * amplified


def test_black_and_white_pictures_stay_finite():
    for value in (0, 255):
        pixels = np.full((640, 800, 3), value, np.uint8)
        small, texture = reduce(pixels, (160, 200))
        model = fit_model(pixels, small, texture, small + np.float32(0.1), crops_of(to_planes(pixels)))
        made = np.concatenate([band for _, band in model.apply(pixels, threads=1)], 1)
        assert np.isfinite(made).all()
        assert float(np.ptp(made)) < 1e-3
