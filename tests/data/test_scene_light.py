"""Light that follows the picture: borders along its own regions, bounds, and the same whether cut or whole."""

import numpy as np
import pytest
from skimage.color import rgb2gray

from undim.data.scene_light import (
    BOUNDS,
    DEPTHS,
    KINDS,
    SceneLight,
    Seed,
    draw_scene_light,
    find_surroundings,
    spread_haze,
)


@pytest.fixture(scope="module")
def picture():
    """A bright window in a dark wall, both with grain."""
    pixels = np.full((96, 120, 3), 60.0)
    pixels[20:60, 30:80] = 200
    pixels += np.random.default_rng(0).normal(0, 6, pixels.shape)
    return np.rint(pixels.clip(0, 255)).astype(np.uint8)


@pytest.fixture(scope="module")
def around(picture):
    return find_surroundings(picture).astype(np.float32) / 255


def places(shape):
    return [(np.arange(side, dtype=np.float32) + 0.5) / side for side in shape]


@pytest.fixture(scope="module")
def draws(around):
    return [draw_scene_light(np.random.default_rng(seed), around) for seed in range(400)]


def test_surroundings_lose_the_grain_and_keep_the_border(picture, around):
    luma = rgb2gray(picture)
    window, wall = around[25:55, 35:75], around[70:90]
    assert window.std() < luma[25:55, 35:75].std() / 2
    assert window.mean() == pytest.approx(200 / 255, abs=0.02)
    assert wall.mean() == pytest.approx(60 / 255, abs=0.02)
    # Two pixels on either side of the border, where a Gaussian as wide would have mixed both.
    assert around[30:50, 32].mean() - around[30:50, 27].mean() > 0.4


def make(kind, **fields):
    values = {
        "kind": kind,
        "depth": 4.0,
        "seeds": (),
        "border": 0.5,
        "softness": 0.02,
        "slant": (0.0, 0.0),
        "glow": 0.1,
        "haze": 0.0,
    }
    return SceneLight(**values | fields)


def test_against_the_light_the_window_stays_and_the_wall_loses_all(around):
    stops = make("backlit").stops(around, *places(around.shape))
    assert stops[25:55, 35:75].max() < 0.05
    assert stops[70:90].min() > 3.9


def test_a_shadow_covers_what_is_like_its_seed_and_near(around):
    seed = Seed(row=0.4, column=0.45, level=200 / 255, reach=0.6, likeness=0.2)
    stops = make("shadow", seeds=(seed,)).stops(around, *places(around.shape))
    assert stops[25:55, 35:75].min() > 3.5
    assert stops[70:90].max() < 0.5
    far = make("shadow", seeds=(Seed(row=0.9, column=0.0, level=60 / 255, reach=0.2, likeness=0.2),))
    assert far.stops(around, *places(around.shape))[:, 60:].max() < 0.1


def test_a_lamp_throws_light_that_falls_with_distance(around):
    lamp = Seed(row=0.4, column=0.45, level=200 / 255, reach=0.2, likeness=0.2)
    stops = make("night", depth=8.0, seeds=(lamp,)).stops(around, *places(around.shape))
    assert stops[38, 54] < 0.1
    below = stops[70:, 54]
    assert below[0] < 7
    assert below[5] > below[0]
    assert (np.diff(below) >= 0).all()


def test_stops_stay_between_none_and_the_depth(draws, around):
    assert {draw.kind for draw in draws} == set(KINDS)
    for draw in draws:
        stops = draw.stops(around, *places(around.shape))
        low, high = DEPTHS[draw.kind]
        assert low <= draw.depth <= high
        assert stops.dtype == np.float32
        assert stops.min() >= 0
        assert stops.max() <= draw.depth * (1 + 1e-5)
        kept = draw.kept(stops)
        assert kept.min() >= 0
        assert (stops - kept).max() <= BOUNDS[draw.kind]


def test_pictures_with_lamps_and_windows_have_a_lit_part(draws, around):
    for draw in draws:
        if draw.kind in ("backlit", "night"):
            assert (draw.stops(around, *places(around.shape)) < draw.depth / 2).any()


def test_a_part_of_the_picture_loses_what_the_whole_loses_there(draws, around):
    rows, columns = places(around.shape)
    for draw in draws[:40]:
        whole = draw.stops(around, rows, columns)
        part = draw.stops(around[10:50, 20:70], rows[10:50], columns[20:70])
        assert np.allclose(part, whole[10:50, 20:70], atol=1e-5)


def test_flare_spreads_light_and_makes_none():
    light = np.zeros((64, 96, 3), np.float32)
    light[30:34, 46:50] = 1
    veil = spread_haze(light, 0.1)
    assert veil.min() >= 0
    assert veil.sum() == pytest.approx(0.1 * light.sum(), rel=0.2)
    assert veil[32, 48, 0] > veil[32, 70, 0] > veil[0, 0, 0]
