"""What a picture needs: nothing if it is well lit, all if it is dark, half of it if half of it is dark."""

import os

import numpy as np
import pytest

from undim.data.reading import read_rgb
from undim.data.sets import find_pairs
from undim.enhance.auto_strength import find_need


def strength(pixels):
    height, width = pixels.shape[:2]
    return find_need(pixels).strength(pixels, (height, width), (0, height), (0, width))


def room(level, seed=0):
    numbers = np.random.default_rng(seed)
    blocks = numbers.uniform(0.7, 1.3, (30, 40)).repeat(10, 0).repeat(10, 1)
    return np.rint(255 * (level * blocks[..., None] * [1, 0.9, 0.8]).clip(0, 1)).astype(np.uint8)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_well_lit_picture_needs_nothing_and_a_dark_one_all(kind):
    factor = np.iinfo(kind).max // 255
    assert strength(room(0.5).astype(kind) * kind(factor)).max() == 0
    assert strength(room(0.05).astype(kind) * kind(factor)).min() > 0.99


def test_a_dark_thing_in_a_bright_room_needs_nothing():
    pixels = room(0.5)
    pixels[100:150, 100:150] = 5
    assert strength(pixels).max() == 0


def test_of_a_half_dark_picture_the_dark_half_is_raised_up_to_its_edge():
    pixels = np.concatenate((room(0.05), room(0.6, seed=1)), 1)
    found = strength(pixels)
    assert found[:, :360].min() > 0.95
    assert found[:, 440:].max() < 0.05
    assert np.abs(found - strength(pixels[:, ::-1])[:, ::-1]).max() < 0.02


@pytest.mark.parametrize("power", [0.2, 0.4, 0.8])
def test_what_is_brighter_stays_brighter(power):
    """A ramp, as a wall towards a window, by networks that raise what is dark by much and by little."""
    levels = np.concatenate((np.linspace(0.02, 0.1, 150), np.linspace(0.1, 0.7, 150)))
    pixels = np.rint(255 * levels).astype(np.uint8)[None, :, None].repeat(200, 0).repeat(3, 2)
    raised = (pixels / 255) ** power
    need = find_need(pixels)
    followed = need.following((need.small**power).astype(np.float32))
    tones = []
    for one in (need, followed):
        share = one.strength(pixels, (200, 300), (0, 200), (0, 300))
        assert share[:, :20].min() > 0.95 * need.whole  # what is dark is raised
        tones.append((pixels[..., 0] / 255 + share * (raised - pixels / 255)[..., 0])[100])
    falls = [float((np.maximum.accumulate(tone) - tone).max()) for tone in tones]
    assert falls[1] < 0.04
    assert followed.kept >= need.kept
    if power == 0.2:
        assert falls[0] > 0.2  # as it would be with the same bound for all


def test_what_no_bound_can_cure_is_not_tried_to_be():
    """A network that makes what is darkest brightest, among places that are dark all: the bound stays."""
    pixels = np.concatenate((room(0.02), room(0.1, seed=1), room(0.7, seed=2)), 1)
    need = find_need(pixels)
    output = np.where(need.small < 0.05, 0.6, np.maximum(need.small, 0.2)).astype(np.float32)
    assert need.following(output).kept == need.kept
    assert need.following(np.full_like(output, np.float32(7))).kept <= 1.2  # as white


def test_parts_agree_with_the_whole():
    pixels = np.concatenate((room(0.05), room(0.6)), 0)
    need, whole = find_need(pixels), strength(pixels)
    rows, columns = (250, 340), (10, 300)
    part = need.strength(pixels[slice(*rows), slice(*columns)], pixels.shape[:2], rows, columns)
    np.testing.assert_allclose(part, whole[slice(*rows), slice(*columns)], atol=1e-5)


def test_pictures_of_a_few_pixels():
    for size in ((1, 1), (1, 900), (3, 2)):
        assert strength(np.zeros((*size, 3), np.uint8)).min() == pytest.approx(1)
        assert strength(np.full(size, 200, np.uint8)).max() == 0


@pytest.mark.skipif(not os.environ.get("UNDIM_DATA"), reason="needs LOL-v1 and SICE: set UNDIM_DATA to their folder")
@pytest.mark.parametrize("name", ["lol-v1", "sice"])
def test_real_pictures(name):
    pairs = find_pairs(name, split="val" if name == "lol-v1" else "test")
    raised = [strength(read_rgb(pair.low)).mean() for pair in pairs]
    left = [strength(read_rgb(pair.high)).mean() for pair in pairs]
    assert np.quantile(raised, 0.25) > 0.5
    assert np.quantile(left, 0.75) < 0.05
