"""Local models: exact where the network is one, as sharp as the picture, and near the full run for shipped models."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiny_models import psnr
from undim import Enhancer
from undim.enhance import fast
from undim.enhance.fast import Crop, fit_model, reduced_size
from undim.enhance.planes import BAND, reduce, to_planes
from undim.errors import ModelError
from undim.shipped import list_shipped_models


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
    assert [top for top, _ in bands] == list(range(0, 640, BAND))
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


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_fast_is_near_the_full_run_and_sharper_than_an_enlarged_one(tileable, grey, kind, monkeypatch):
    monkeypatch.setattr(fast, "REDUCED_PIXELS", 50_000)
    made = []
    enhancer = Enhancer(tileable, threads=1, fast=True)
    run = enhancer._runtime.run

    def noted(batch, *rest, **options):
        made.append(run(batch, *rest, **options))
        return made[-1]

    monkeypatch.setattr(enhancer._runtime, "run", noted)
    pixels = picture(480, 720, kind)[..., 0] if grey else picture(480, 720, kind)
    quick, full = enhancer(pixels), Enhancer(tileable, threads=1, tile=0)(pixels)
    assert quick.dtype == kind
    assert quick.shape == pixels.shape
    assert max(output.shape[-2] * output.shape[-1] for output in made) <= 50_000
    wanted = to_planes(full)
    enlarged = np.stack([np.asarray(Image.fromarray(plane).resize((720, 480))) for plane in made[0][0]])
    assert psnr(255 * to_planes(quick), 255 * wanted) > max(35, psnr(255 * enlarged, 255 * wanted) + 3)


def test_small_pictures_are_not_reduced(tileable, half_dark):
    np.testing.assert_array_equal(Enhancer(tileable, fast=True)(half_dark), Enhancer(tileable)(half_dark))


def test_a_file_that_does_not_tell_what_is_shared_is_refused(gain):
    with pytest.raises(ModelError, match="neither fast"):
        Enhancer(gain, fast=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "picture"), list(zip(list_shipped_models(), itertools.cycle(["cat", "rocket"]))))
def test_shipped_models(name, picture):
    with Image.open(next((Path(__file__).parents[2] / "examples").glob(f"{picture}.*"))) as image:
        pixels = np.asarray(image.convert("RGB").resize((2200, 1500), Image.Resampling.LANCZOS))
    noise = np.random.default_rng(0).normal(0, 1, pixels.shape)
    pixels = np.rint((pixels * 0.4 + noise).clip(0, 255)).astype(np.uint8)
    assert psnr(Enhancer(name, fast=True)(pixels), Enhancer(name)(pixels)) > 35
