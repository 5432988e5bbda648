"""Fused references: what was burnt out has detail again, the rest is the reference."""

import numpy as np

from undim.data.fusion import fuse_highlights


def test_burnt_out_parts_get_the_detail_of_the_darker_picture():
    low = np.full((96, 96, 3), 20, np.uint8)
    high = np.full((96, 96, 3), 120, np.uint8)
    window = (slice(20, 60), slice(20, 60))
    low[window] = 90
    low[28:52:6, 20:60] = 160  # bars of a window, lost in the brighter exposure
    high[window] = 255
    fused = fuse_highlights(low, high)
    bars, panes = fused[34, 30:50].mean(), fused[37, 30:50].mean()
    assert bars - panes > 15
    assert (fused[window] < 250).mean() > 0.9
    assert np.array_equal(fused[80:, 80:], high[80:, 80:])


def test_a_reference_without_highlights_is_returned_as_it_is():
    high = np.random.default_rng(0).integers(0, 200, (32, 32, 3)).astype(np.uint8)
    assert np.array_equal(fuse_highlights(high // 4, high), high)


def test_colours_keep_their_channels():
    low, high = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    low[..., 0], low[..., 2] = 150, 20
    high[..., 0], high[..., 2] = 255, 120
    fused = fuse_highlights(low, high)[32, 32].astype(int)
    assert fused[0] > fused[2] + 40
