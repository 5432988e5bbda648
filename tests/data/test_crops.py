"""Crops: aligned, within the pictures, and decided by the step's number alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from undim.data.crops import PairCrops
from undim.data.sets import Pair
from undim.errors import DataError
from undim.nets.thumbnail import make_thumbnail


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Pictures whose every pixel tells where it is; the reference is twice as bright."""
    root = tmp_path_factory.mktemp("pairs")
    made = []
    for index in range(5):
        rows, columns = np.mgrid[0:40, 0:60]
        low = np.stack((rows, columns, np.full_like(rows, 10 + index)), 2).astype(np.uint8)
        paths = [root / f"{side}{index}.png" for side in ("low", "high")]
        for path, pixels in zip(paths, (low, low * 2), strict=True):
            Image.fromarray(pixels).save(path)
        made.append(Pair(str(index), *paths))
    return made


def test_both_sides_are_cut_at_the_same_place(pairs):
    batch = PairCrops(pairs).batch(3, 8, 16)
    assert batch.low.shape == (8, 3, 16, 16)
    assert batch.context.shape == (8, 3, 64, 96)
    assert torch.allclose(batch.high, batch.low * 2, atol=1e-6)


def test_crops_are_contiguous_windows(pairs):
    batch = PairCrops(pairs).batch(0, 16, 16)
    for crop in (batch.low * 255).round().int():
        rows, columns = crop[0], crop[1]
        steps = {tuple(map(int, pair)) for pair in ((rows[1, 0] - rows[0, 0], rows[0, 1] - rows[0, 0]),)}
        assert steps <= {(1, 0), (-1, 0), (0, 1), (0, -1)}
        assert (columns.max() - columns.min()).item() == 15
        assert rows.max() < 40


def test_thumbnail_is_flipped_as_the_crop_is(pairs):
    crops = PairCrops(pairs)
    wholes = [torch.from_numpy(low.copy()).permute(2, 0, 1)[None].float() / 255 for low in crops.lows]
    batch = crops.batch(1, 16, 16)
    for crop, context in zip(batch.low, batch.context, strict=True):
        whole = wholes[int(crop[2, 0, 0] * 255 + 0.5) - 10]
        turned = abs(float(crop[0, 0, 1] - crop[0, 0, 0])) > 1e-3  # rows of the picture run along the crop's width
        expected = make_thumbnail(whole.transpose(2, 3) if turned else whole)[0]
        channel, axis = (1, 1) if turned else (0, 1)
        if crop[channel, 1, 0] < crop[channel, 0, 0]:
            expected = expected.flip(axis)
        channel = 0 if turned else 1
        if crop[channel, 0, 1] < crop[channel, 0, 0]:
            expected = expected.flip(2)
        assert torch.allclose(context, expected, atol=1e-6)


def test_a_step_draws_the_same_again_and_another_step_does_not(pairs):
    first, second = PairCrops(pairs, seed=4), PairCrops(pairs, seed=4)
    first.batch(0, 4, 16)
    assert torch.equal(first.batch(7, 4, 16).low, second.batch(7, 4, 16).low)
    assert not torch.equal(first.batch(7, 4, 16).low, first.batch(8, 4, 16).low)
    assert not torch.equal(first.batch(7, 4, 16).low, PairCrops(pairs, seed=5).batch(7, 4, 16).low)


def test_each_epoch_shows_each_picture_once(pairs):
    crops = PairCrops(pairs)
    seen = [int(value * 255 + 0.5) - 10 for step in range(5) for value in crops.batch(step, 2, 16).low[:, 2, 0, 0]]
    assert sorted(seen[:5]) == sorted(seen[5:]) == [0, 1, 2, 3, 4]


def test_identity_samples_keep_the_well_lit_picture(pairs):
    batch = PairCrops(pairs, identity=1.0).batch(0, 8, 16)
    assert torch.equal(batch.low, batch.high)
    assert batch.low[:, 2].min() * 255 >= 20 - 1e-3
    assert batch.context[:, 2].min() * 255 >= 20 - 1e-3
    shares = [
        float((b.low == b.high).flatten(1).all(1).float().mean())
        for b in (PairCrops(pairs, identity=0.3).batch(step, 16, 16) for step in range(20))
    ]
    assert 0.2 < np.mean(shares) < 0.4


def test_what_cannot_be_cut_is_named(pairs, tmp_path):
    with pytest.raises(DataError, match="Crops of 64 need larger pictures than 60 x 40"):
        PairCrops(pairs).batch(0, 1, 64)
    with pytest.raises(DataError, match="no picture"):
        PairCrops([])
    odd = tmp_path / "odd.png"
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(odd)
    with pytest.raises(DataError, match="differ in size"):
        PairCrops([Pair("x", pairs[0].low, odd)])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png is not a picture"):
        PairCrops([Pair("x", tmp_path / "broken.png", odd)])
