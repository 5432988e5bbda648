"""The exposure curve against its formula in exact fractions, and against the vectors for other implementations."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from undim import Enhancer
from undim.enhance.exposure import check_exposure, expose_pixels
from undim.errors import UsageError

VECTORS = json.loads((Path(__file__).parent / "exposure_vectors.json").read_text())


def exact(value, full, exposure, halves_to_even=True):
    """y = g x / (1 + (g - 1) x) for a whole EV, in fractions."""
    gain = Fraction(2) ** exposure
    x = Fraction(value, full)
    return round(full * gain * x / (1 + (gain - 1) * x))


@pytest.mark.parametrize("exposure", [-2, -1, 1, 2])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_equals_the_formula_in_fractions(kind, exposure):
    full = np.iinfo(kind).max
    values = np.arange(0, full + 1, 1 if full == 255 else 257, dtype=kind)
    expected = [exact(int(value), full, exposure) for value in values]
    np.testing.assert_array_equal(expose_pixels(values[None], exposure)[0], expected)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: f"{case['bits']} bit, EV {case['exposure']}")
def test_vectors_for_other_implementations(case):
    kind = np.uint8 if case["bits"] == 8 else np.uint16
    exposed = expose_pixels(np.array([case["input"]], kind), case["exposure"])
    assert exposed[0].tolist() == case["output"]


def test_black_and_white_stay_and_stops_add_up():
    values = np.linspace(0, 65535, 2000).astype(np.uint16)[None]
    for exposure in (-2.0, -0.3, 0.7, 2.0):
        exposed = expose_pixels(values, exposure)
        assert (exposed[0, 0], exposed[0, -1]) == (0, 65535)
        assert (np.diff(exposed[0].astype(int)) >= 0).all()
        back = expose_pixels(exposed, -exposure)
        assert np.abs(back.astype(int) - values).max() <= 4


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_no_exposure_changes_no_bit(gain, kind):
    image = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (20, 30, 3), kind, endpoint=True)
    enhancer = Enhancer(gain)
    for strength in (0, 0.4, 1):
        plain = enhancer(image, strength=strength)
        np.testing.assert_array_equal(enhancer(image, strength=strength, exposure=0), plain)
        np.testing.assert_array_equal(enhancer(image, strength=strength, exposure=np.float32(0)), plain)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("strength", [0, 0.3, 1])
def test_comes_after_the_blend_and_before_rounding(gain, kind, strength):
    full = int(np.iinfo(kind).max)
    image = np.random.default_rng(1).integers(0, full, (9, 11, 3), kind, endpoint=True)
    enhancer = Enhancer(gain)
    enhanced = enhancer(image).astype(np.float64)
    x = ((1 - strength) * image + strength * enhanced) / full
    gain_of_light = 2**0.75
    expected = np.rint(full * gain_of_light * x / (1 + (gain_of_light - 1) * x))
    np.testing.assert_array_equal(enhancer(image, strength=strength, exposure=0.75), expected)


def test_grey(gain, half_dark):
    enhancer = Enhancer(gain)
    grey = half_dark[..., 0]
    for exposure in (-1.0, 1.0):
        plain, exposed = (enhancer(grey, exposure=ev).astype(int) for ev in (0, exposure))
        assert (np.sign(exposure) * (exposed - plain) >= 0).all()
        assert np.abs(exposed - plain).max() > 20
        assert exposed.shape == grey.shape


@pytest.mark.parametrize("exposure", [2.01, -3, np.nan, np.inf, "1", None, True])
def test_what_is_not_a_number_of_stops(exposure):
    with pytest.raises(UsageError, match=r"allowed: -2 \(darker\) to \+2 \(brighter\) stops"):
        check_exposure(exposure)
