"""A phone's processing: what each step does to grain, edges and colours, and that JPEG is what Pillow's is."""

import io

import numpy as np
import pytest
from PIL import Image

from undim.data.phone import Processing, draw_processing, encode_jpeg, process

NOTHING = Processing(smear=0.0, sharpen=0.0, chroma=0.0, quality=0, halved=False)


@pytest.fixture(scope="module")
def grain():
    values = 0.2 + np.random.default_rng(0).normal(0, 0.02, (64, 64, 3))
    return (np.rint(values.clip(0, 1) * 255) / 255).astype(np.float32)


def run(picture, **steps):
    return process(picture, Processing(**NOTHING.__dict__ | steps), np.random.default_rng(1))


def test_nothing_changes_nothing(grain):
    assert np.allclose(run(grain), grain, atol=1e-6)


def test_smearing_takes_grain_away_and_keeps_edges(grain):
    assert run(grain, smear=0.08).std() < 0.6 * grain.std()
    edge = np.full((32, 32, 3), 0.2, np.float32)
    edge[:, 16:] = 0.8
    assert np.abs(run(edge, smear=0.08) - edge).max() <= 1 / 255


def test_sharpening_overshoots_at_edges():
    edge = np.full((32, 32, 3), 0.2, np.float32)
    edge[:, 16:] = 0.6
    sharp = run(edge, sharpen=1.0)
    assert sharp.max() > 0.65
    assert sharp.min() < 0.15
    assert np.allclose(sharp[:, :8], edge[:, :8], atol=1 / 255)


def test_colour_noise_is_coarse_coloured_and_of_the_dark():
    dark, lit = (run(np.full((64, 64, 3), value, np.float32), chroma=0.03) for value in (0.2, 0.95))
    assert dark.mean(2).std() < 0.3 * dark.std()
    neighbours = np.corrcoef(dark[:, :-1, 0].ravel(), dark[:, 1:, 0].ravel())[0, 1]
    assert neighbours > 0.7
    assert lit.std() < 0.3 * dark.std()


@pytest.mark.parametrize("halved", [False, True])
def test_jpeg_loses_what_it_loses_in_pillow(halved):
    smooth = np.asarray(
        Image.fromarray(np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)).resize((64, 64), 3)
    )
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=70, subsampling=2 if halved else 0)
    theirs = np.asarray(Image.open(file)).astype(int)
    ours = encode_jpeg(smooth, 70, halved=halved).astype(int)
    assert np.abs(ours - theirs).mean() < 1.0
    assert np.abs(ours - smooth).mean() > 0.3


def test_draws_are_within_what_is_promised():
    draws = [draw_processing(np.random.default_rng(seed)) for seed in range(300)]
    qualities = {draw.quality for draw in draws} - {0}
    assert 60 <= min(qualities) < 65
    assert 90 < max(qualities) <= 95
    assert any(draw.halved for draw in draws)
    assert 0.3 < np.mean([draw.smear == 0 for draw in draws]) < 0.7
    assert draw_processing(np.random.default_rng(3)) == draw_processing(np.random.default_rng(3))
