"""Darkening: the transfer curve against its standard, light by stops, noise by its statistics."""

import numpy as np
import pytest
from skimage.color import rgb2xyz, xyz2rgb

from undim.data.darkening import (
    NIGHT_BOUND,
    SHADOW_BOUND,
    Darkening,
    at_window,
    darken,
    dim,
    draw_darkening,
)
from undim.srgb import decode_srgb, encode_srgb

FLAT = np.ones(3, np.float32)


def test_the_transfer_curve_is_that_of_srgb():
    grey = np.linspace(0, 1, 256, dtype=np.float32)
    light = rgb2xyz(np.repeat(grey[:, None, None], 3, 2))[:, 0, 1]  # Y of a grey is its linear light
    assert np.allclose(decode_srgb(grey), light, atol=1e-5)
    assert np.allclose(encode_srgb(decode_srgb(grey)), grey, atol=1e-5)
    assert np.allclose(
        encode_srgb(light.astype(np.float32)), xyz2rgb(rgb2xyz(np.repeat(grey[:, None, None], 3, 2)))[:, 0, 0]
    )


def test_one_stop_halves_the_light():
    picture = np.random.default_rng(0).random((8, 9, 3), np.float32)
    assert np.allclose(decode_srgb(dim(picture, np.ones((8, 9), np.float32))), decode_srgb(picture) / 2, atol=1e-6)
    assert np.allclose(dim(picture, np.zeros((8, 9), np.float32)), picture, atol=1e-6)


def test_noise_has_the_stated_variance():
    light, shot, read = 0.05, 2e-3, 1e-3
    picture = np.full((400, 400, 3), encode_srgb(np.float32(light)), np.float32)
    none = np.zeros((1, 1), np.float32)
    seen = darken(
        picture, np.zeros((400, 400), np.float32), Darkening(FLAT, shot, read, none, none), np.random.default_rng(0)
    )
    measured = decode_srgb(seen)
    assert measured.mean() == pytest.approx(light, rel=0.01)
    assert measured.var() == pytest.approx(light * shot + read**2, rel=0.05)
    assert np.allclose(seen * 255, np.rint(seen * 255), atol=1e-3)


def test_balance_changes_red_and_blue_against_green():
    none = np.zeros((1, 1), np.float32)
    draw = Darkening(np.array([0.5, 1, 1.5], np.float32), 0, 0, none, none)
    seen = darken(np.full((4, 4, 3), 0.5, np.float32), np.zeros((4, 4), np.float32), draw, None)
    assert np.allclose(decode_srgb(seen)[0, 0] / decode_srgb(np.float32(0.5)), [0.5, 1, 1.5], atol=1e-4)


@pytest.fixture(scope="module")
def draws():
    return [draw_darkening(np.random.default_rng(seed)) for seed in range(300)]


def test_no_dark_part_beside_a_lit_one_is_raised_beyond_the_bound(draws):
    partly = [draw for draw in draws if np.ptp(draw.stops) > 0]
    assert 0.5 < len(partly) / len(draws) < 0.8
    for draw in partly:
        raised = draw.stops - draw.kept
        assert raised.min() >= 0
        assert raised.max() <= (NIGHT_BOUND if draw.stops.max() > 5 else SHADOW_BOUND)
        assert (draw.kept >= 0).all()


def test_a_picture_dark_as_a_whole_is_raised_wholly(draws):
    whole = [draw for draw in draws if np.ptp(draw.stops) == 0]
    assert whole
    assert all((draw.kept == 0).all() and 2 <= draw.stops[0, 0] <= 6 for draw in whole)


def test_partly_dark_pictures_have_a_lit_and_a_dark_part(draws):
    for draw in draws:
        if np.ptp(draw.stops) > 0:
            lit = (draw.stops < 0.5 * draw.stops.max()).mean()
            assert 0.001 < lit < 0.85


def test_the_same_seed_draws_the_same():
    first, again = (draw_darkening(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.stops, again.stops)
    assert (first.shot, first.read) == (again.shot, again.read)


def test_a_window_is_cut_from_the_map_of_the_whole_picture():
    grid = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    whole = at_window(grid, (60, 80))
    assert np.allclose(at_window(grid, (60, 80), (11, 23, 20, 30)), whole[11:31, 23:53], atol=1e-6)
    assert whole.min() >= grid.min() - 1e-6
    assert whole.max() <= grid.max() + 1e-6
    rows = np.arange(5, dtype=np.float32)[:, None].repeat(7, 1)
    expected = ((np.arange(60) + 0.5) / 60 * 5 - 0.5).clip(0, 4)
    assert np.allclose(at_window(rows, (60, 80))[:, 3], expected, atol=1e-5)
