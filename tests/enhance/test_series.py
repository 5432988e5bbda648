"""One look for parts that belong together."""

import numpy as np
import pytest

from tiny_models import psnr
from undim import Enhancer
from undim.enhance.survey import average
from undim.errors import ModelError, UsageError


def test_overlapping_parts_of_a_panorama_agree_only_with_a_common_look(tileable, half_dark):
    left, right = half_dark[:, :420], half_dark[:, 300:]  # the right one is mostly in shadow
    enhancer = Enhancer(tileable, threads=1)
    look = average([enhancer.survey(part) for part in (left, right)])
    alone = [enhancer(part) for part in (left, right)]
    together = [enhancer(part, look=look) for part in (left, right)]
    inside = slice(2, -2)  # the network sees one pixel around each
    assert psnr(alone[0][:, 302:418], alone[1][:, inside][:, :116]) < 20
    np.testing.assert_array_equal(together[0][:, 302:418], together[1][:, inside][:, :116])


def test_a_common_look_of_one_picture_is_its_own(tileable, half_dark):
    enhancer = Enhancer(tileable, threads=1, tile=256)
    np.testing.assert_array_equal(enhancer(half_dark, look=average([enhancer.survey(half_dark)])), enhancer(half_dark))


def test_average_is_the_mean(tileable, half_dark):
    enhancer = Enhancer(tileable, threads=1)
    looks = [enhancer.survey(part) for part in (half_dark, half_dark[:, :400])]
    mean = average(looks)
    np.testing.assert_allclose(mean.statistics, (looks[0].statistics + looks[1].statistics) / 2, rtol=1e-6)
    np.testing.assert_allclose(mean.thumbnail, (looks[0].thumbnail + looks[1].thumbnail) / 2, rtol=1e-6)
    with pytest.raises(UsageError, match="no picture"):
        average([])


def test_a_model_that_does_not_tell_what_is_shared_is_refused(gain, tileable, half_dark):
    with pytest.raises(ModelError, match="nor a series"):
        Enhancer(gain).survey(half_dark)
    look = Enhancer(tileable).survey(half_dark)
    with pytest.raises(ModelError, match="nor a series"):
        Enhancer(gain)(half_dark, look=look)


@pytest.mark.parametrize("strength", ["much", "auto", None, -1])
def test_other_strengths_are_refused(gain, dark, strength):
    with pytest.raises(UsageError, match=r"allowed: 0 \(the input\) to 1"):
        Enhancer(gain)(dark, strength=strength)
