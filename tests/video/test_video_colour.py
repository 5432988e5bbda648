"""Curves between a video's signal and sRGB's, against the standards' tables and formulas."""

import numpy as np
import pytest

pytest.importorskip("av")

from undim.video.colour import (
    HLG,
    PQ,
    Mastering,
    find_tone,
    mastering_options,
)


def srgb(light):
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


# Signal levels in percent from ITU-R BT.2408, table 1, and BT.2100's test points.
@pytest.mark.parametrize(
    ("transfer", "dim", "white"),
    [(PQ, (0.3801, 26.0), 0.5807), (HLG, (0.38, None), 0.75)],
)
def test_paper_white_is_near_srgbs_and_what_is_darker_follows_its_curve(transfer, dim, white):
    tone = find_tone(transfer)
    signal, nits = dim
    value = tone.there[round(65535 * signal)] / 65535
    light = nits / 203 if nits else (signal**2 / 3) / 0.26496256
    assert value == pytest.approx(srgb(light), rel=0.07)
    assert 0.8 < tone.there[round(65535 * white)] / 65535 < 0.97
    assert tone.there[0] == 0
    assert tone.there[-1] == 65535


@pytest.mark.parametrize("transfer", [PQ, HLG, 8])
def test_ten_bits_come_back_as_they_went(transfer):
    tone = find_tone(transfer)
    codes = np.arange(1024)
    signal = np.rint(codes * 65535 / 1023).astype(np.uint16)
    back = np.rint(tone.to_video(tone.to_network(signal)) / 65535 * 1023).astype(int)
    assert np.abs(back - codes).max() <= 1
    assert (np.diff(tone.there.astype(int)) >= 0).all()
    assert (np.diff(tone.back.astype(int)) >= 0).all()


def test_a_brighter_middle_stays_below_what_was_white_and_highlights_stay_apart():
    tone = find_tone(PQ)
    bright = tone.there[np.rint(65535 * np.array([0.65, 0.75, 0.9])).astype(int)]
    assert (np.diff(bright.astype(int)) > 500).all()


@pytest.mark.parametrize("transfer", [1, 2, 4, 6, 13, 14, 15])
def test_curves_near_srgbs_are_left_alone(transfer):
    assert find_tone(transfer) is None


def test_mastering_data_in_each_encoders_units():
    mastering = Mastering(
        ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046), (0.3127, 0.329)), luminance=(0.0001, 1000.0), light=(900, 300)
    )
    assert mastering_options(mastering, "x265-params") == [
        "master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,1)",
        "max-cll=900,300",
    ]
    assert mastering_options(mastering, "svtav1-params") == [
        "mastering-display=G(0.17,0.797)B(0.131,0.046)R(0.708,0.292)WP(0.3127,0.329)L(1000,0.0001)",
        "content-light=900,300",
    ]
    assert mastering_options(Mastering(), "x264-params") == []
