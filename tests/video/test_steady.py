"""The shared look: begun anew at cuts, followed slowly between them."""

import numpy as np
import pytest

from undim import Enhancer
from undim.runtimes.base import WholePicture
from undim.video.steady import SteadyLook, is_cut


def frame(level, seed=0):
    noise = np.random.default_rng(seed).normal(0, 3, (60, 90, 3))
    ramp = np.linspace(0.5, 1.5, 90)[:, None]
    return (level * ramp + noise).clip(0, 255).astype(np.uint8)


def survey(pixels):
    level = np.float32(pixels.mean() / 255)
    return WholePicture(np.full((1, 3, 2, 2), level, np.float32), np.full((1, 4), level, np.float32))


def test_noise_of_a_still_scene_is_no_cut_and_does_not_come_through():
    levels = [steady.statistics[0, 0] for steady in play([frame(20, seed) for seed in range(50)])]
    assert len({survey(frame(20, seed)).statistics[0, 0] for seed in range(50)}) > 40
    assert len(set(levels)) == 1


def play(frames, rate=25):
    steady = SteadyLook(survey)
    looks = [steady(pixels, index / rate) for index, pixels in enumerate(frames)]
    assert steady.cuts == 0
    return looks


def test_a_change_comes_through_to_63_percent_after_a_second():
    # 20 to 26 is no cut; the change is seen at the next look, at most 0.4 s later.
    levels = [look.statistics[0, 0] for look in play([frame(20)] * 26 + [frame(26)] * 60)]
    first, last = survey(frame(20)).statistics[0, 0], survey(frame(26)).statistics[0, 0]
    seen = next(index for index, level in enumerate(levels) if level > first)
    assert 26 <= seen <= 36
    assert (levels[seen + 24] - first) / (last - first) == pytest.approx(1 - np.exp(-1), abs=0.02)
    assert np.all(np.diff(levels) >= 0)


def test_a_cut_is_followed_at_once():
    steady = SteadyLook(survey)
    for index in range(5):
        steady(frame(20), index / 25)
    look = steady(frame(90), 5 / 25)
    assert steady.cuts == 1
    assert look.statistics[0, 0] == survey(frame(90)).statistics[0, 0]


def test_what_is_a_cut():
    def thumbnail(values):
        return np.broadcast_to(np.asarray(values, np.float32), (1, 3, 32, 48))

    ramp = np.linspace(0.02, 0.2, 48)
    assert not is_cut(thumbnail(ramp), thumbnail(ramp * 1.2))
    assert not is_cut(thumbnail(ramp), thumbnail(np.roll(ramp, 1)))  # the camera turns
    assert is_cut(thumbnail(ramp), thumbnail(ramp[::-1]))
    assert is_cut(thumbnail(ramp), thumbnail(ramp * 3))
    assert not is_cut(thumbnail([0.0]), thumbnail([0.002]))  # noise in the black


@pytest.mark.parametrize("name", ["photo", "tiny"])
def test_a_still_scene_with_noise_flickers_no_more_than_it_did_times_the_gain(name):
    numbers = np.random.default_rng(0)
    scene = 12 + 10 * np.sin(np.arange(96)[:, None] / 9) * np.cos(np.arange(128) / 7)
    frames = [
        (scene[..., None] + numbers.normal(0, 2, (96, 128, 3)) + numbers.normal(0, 0.2)).clip(0, 255).astype(np.uint8)
        for _ in range(16)
    ]
    enhancer = Enhancer(name, threads=1)
    steady = SteadyLook(enhancer.survey)
    made = [enhancer(pixels, look=steady(pixels, index / 25)) for index, pixels in enumerate(frames)]
    before, after = (np.array([pixels.mean() for pixels in series]) for series in (frames, made))
    gain = after.mean() / before.mean()
    assert gain > 2
    assert after.std() <= gain * before.std()
