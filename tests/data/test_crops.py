"""Crops: aligned, within the pictures, and decided by the step's number alone."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from undim.data.crops import PairCrops, Sampling, Source
from undim.data.sets import Pair
from undim.errors import DataError
from undim.metrics.networks import to_tensor
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


def crops_of(pairs, **sampling):
    return PairCrops([Source(pairs)], Sampling(**sampling))


def test_both_sides_are_cut_at_the_same_place(pairs):
    batch = crops_of(pairs).batch(3, 8, 16)
    assert batch.low.shape == (8, 3, 16, 16)
    assert batch.context.shape == (8, 3, 64, 96)
    assert torch.allclose(batch.high, batch.low * 2, atol=1e-6)


def test_crops_are_contiguous_windows(pairs):
    batch = crops_of(pairs).batch(0, 16, 16)
    for crop in (batch.low * 255).round().int():
        rows, columns = crop[0], crop[1]
        steps = {tuple(map(int, pair)) for pair in ((rows[1, 0] - rows[0, 0], rows[0, 1] - rows[0, 0]),)}
        assert steps <= {(1, 0), (-1, 0), (0, 1), (0, -1)}
        assert (columns.max() - columns.min()).item() == 15
        assert rows.max() < 40


def ranges(picture):
    """Rows and columns that a picture of the fixture shows: ((first, last), (first, last))."""
    seen = (picture[:2] * 255).flatten(1)
    return tuple(zip(seen.min(1).values.round().int().tolist(), seen.max(1).values.round().int().tolist(), strict=True))


def test_a_part_stands_for_the_whole_picture_and_holds_the_crop(pairs):
    batch = crops_of(pairs, least_frame=0.5, turn=0).batch(0, 64, 16)
    frames = [ranges(context) for context in batch.context]
    for frame, low, whole in zip(frames, batch.low, ((40, 60),) * 64, strict=True):
        for (first, last), (start, end), side in zip(frame, ranges(low), whole, strict=True):
            assert first <= start < end <= last
            assert last - first + 1 >= side // 2
    heights = [rows[1] - rows[0] + 1 for rows, _ in frames]
    assert min(heights) < 24
    assert max(heights) > 36
    assert len({frame[0][0] for frame in frames}) > 5  # begins at different rows
    assert torch.allclose(batch.high, batch.low * 2, atol=1e-6)


def test_a_part_is_never_smaller_than_the_crop(pairs):
    batch = crops_of(pairs, least_frame=0.5, turn=0).batch(0, 32, 32)
    assert min(rows[1] - rows[0] + 1 for rows, _ in map(ranges, batch.context)) == 32


@pytest.mark.parametrize("kind", ["identity", "darken"])
def test_well_lit_pictures_and_what_is_computed_from_them_stay_whole(pairs, kind):
    part, whole = (crops_of(pairs, least_frame=share, **{kind: 1.0}).batch(0, 8, 16) for share in (0.5, 1))
    assert torch.equal(part.context, whole.context)
    assert torch.equal(part.low, whole.low)


def test_views_show_the_whole_picture_as_the_crop_lies(pairs):
    batch = crops_of(pairs, view=16, turn=0.5, jitter=0.3).batch(1, 16, 16)
    plain = crops_of(pairs, turn=0.5, jitter=0.3).batch(1, 16, 16)
    assert torch.equal(batch.low, plain.low)  # drawing is as without
    assert plain.views == ()
    assert {tuple(view.shape) for view in batch.views} == {(3, 16, 24), (3, 24, 16)}
    for context, view in zip(batch.context, batch.views, strict=True):
        coarse = make_thumbnail(view[None], (4, 4))[0]
        assert torch.allclose(coarse, make_thumbnail(context[None], (4, 4))[0], atol=2e-3)
    assert [len(batch.part(0, 3).views), len(batch.part(3, 16).views)] == [3, 13]
    whole = crops_of(pairs, view=1000, turn=0).batch(0, 1, 16).views[0]
    assert whole.shape == (3, 40, 56)  # never enlarged; sides are multiples of 8


def test_thumbnail_is_flipped_as_the_crop_is(pairs):
    crops = crops_of(pairs)
    wholes = [to_tensor(low) for low in crops.lows]
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
    first, second = crops_of(pairs, seed=4), crops_of(pairs, seed=4)
    first.batch(0, 4, 16)
    assert torch.equal(first.batch(7, 4, 16).low, second.batch(7, 4, 16).low)
    assert not torch.equal(first.batch(7, 4, 16).low, first.batch(8, 4, 16).low)
    assert not torch.equal(first.batch(7, 4, 16).low, crops_of(pairs, seed=5).batch(7, 4, 16).low)


def test_each_epoch_shows_each_picture_once(pairs):
    crops = crops_of(pairs)
    seen = [int(value * 255 + 0.5) - 10 for step in range(5) for value in crops.batch(step, 2, 16).low[:, 2, 0, 0]]
    assert sorted(seen[:5]) == sorted(seen[5:]) == [0, 1, 2, 3, 4]


def test_identity_samples_keep_the_well_lit_picture(pairs):
    batch = crops_of(pairs, identity=1.0).batch(0, 8, 16)
    assert torch.equal(batch.low, batch.high)
    assert batch.low[:, 2].min() * 255 >= 20 - 1e-3
    assert batch.context[:, 2].min() * 255 >= 20 - 1e-3
    shares = [
        float((b.low == b.high).flatten(1).all(1).float().mean())
        for b in (crops_of(pairs, identity=0.3).batch(step, 16, 16) for step in range(20))
    ]
    assert 0.2 < np.mean(shares) < 0.4


def test_what_cannot_be_cut_is_named(pairs, tmp_path):
    named = r"Crops of 64 do not fit into .*low\d\.png, which is 60 x 40"
    with pytest.raises(DataError, match=named):
        crops_of(pairs).batch(0, 1, 64)
    with pytest.raises(DataError, match=named):
        PairCrops([Source(pairs)], largest_crop=64)
    with pytest.raises(DataError, match="no picture"):
        PairCrops([])
    odd = tmp_path / "odd.png"
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(odd)
    with pytest.raises(DataError, match="differ in size"):
        crops_of([Pair("x", pairs[0].low, odd)])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png is not a picture"):
        crops_of([Pair("x", tmp_path / "broken.png", odd)])


def test_processes_share_a_batch(pairs):
    crops = crops_of(pairs, mixup=1.2, darken=0.5)
    for step in range(6):
        whole = crops.batch(step, 6, 16)
        for rank in range(3):
            part = crops.batch(step, 6, 16, rank=rank, world=3)
            assert torch.equal(part.low, whole.low[rank::3])
            assert torch.equal(part.high, whole.high[rank::3])
            assert torch.equal(part.context, whole.context[rank::3])


def test_batches_made_ahead_are_the_same(pairs):
    crops = crops_of(pairs, identity=0.3)
    requests = [(step, 4, 16 + 4 * step) for step in range(5)]
    made = list(crops.ahead(iter(requests)))
    assert len(made) == 5
    assert all(torch.equal(batch.low, crops.batch(*request).low) for batch, request in zip(made, requests, strict=True))


def test_an_error_in_the_thread_reaches_the_reader_and_the_thread_ends(pairs):
    crops = crops_of(pairs)
    with pytest.raises(DataError, match="do not fit"):
        list(crops.ahead(iter([(0, 2, 16), (1, 2, 64)])))
    ahead = crops.ahead((step, 2, 16) for step in range(1000))
    next(ahead)
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "undim-crops"]


def test_sources_are_drawn_by_their_shares(pairs):
    crops = PairCrops([Source(pairs[:2], share=3), Source(pairs[2:])], Sampling())
    seen = [int(v * 255 + 0.5) - 10 for step in range(50) for v in crops.batch(step, 16, 16).low[:, 2, 0, 0]]
    assert np.mean([index < 2 for index in seen]) == pytest.approx(0.75, abs=0.06)
    assert set(seen) == {0, 1, 2, 3, 4}


def test_mixup_blends_low_high_and_thumbnail_alike(pairs):
    mixed, plain = crops_of(pairs, mixup=1.2), crops_of(pairs)
    blended = 0
    for step in range(12):
        batch, single = mixed.batch(step, 4, 16), plain.batch(step, 4, 16)
        assert torch.allclose(batch.high, batch.low * 2, atol=1e-6)  # linear, so blending keeps it
        if not torch.equal(batch.low, single.low):
            blended += 1
            weights = torch.linalg.lstsq(single.low.flatten(1).t(), batch.low.flatten(1).t()).solution
            mixture = torch.einsum("ij,ichw->jchw", weights, single.context)
            assert torch.allclose(batch.context, mixture, atol=1e-4)
    assert 2 <= blended <= 10


def test_jitter_changes_the_dark_picture_and_its_thumbnail_by_one_gain(pairs):
    batch, plain = crops_of(pairs, jitter=0.3).batch(0, 8, 16), crops_of(pairs).batch(0, 8, 16)
    gains = (batch.low / plain.low.clamp_min(1e-6)).flatten(1).median(1).values
    assert torch.equal(batch.high, plain.high)
    assert gains.log().std() > 0.05
    assert torch.allclose(batch.context, plain.context * gains.view(-1, 1, 1, 1), atol=1e-4)


def test_darkened_samples_come_from_the_reference(pairs):
    batch, plain = crops_of(pairs, darken=1.0).batch(0, 32, 16), crops_of(pairs).batch(0, 32, 16)
    assert (batch.high <= plain.high + 1e-6).all()
    assert batch.low.mean() < 0.7 * plain.high.mean()
    assert batch.context.mean() < 0.7 * plain.context.mean() * 2


def test_relit_samples_come_from_the_reference_and_tell_the_thumbnail(tmp_path):
    levels = np.random.default_rng(0).integers(120, 200, (5, 7, 3), np.uint8)
    for side in ("low", "high"):
        Image.fromarray(levels).resize((96, 64), Image.Resampling.BICUBIC).save(tmp_path / f"{side}.png")
    pair = Pair("x", tmp_path / "low.png", tmp_path / "high.png")
    crops = crops_of([pair], darken=1.0, scene_light=1.0, turn=0.5)
    plain = crops_of([pair], turn=0.5).batch(0, 16, 64)
    batch = crops.batch(0, 16, 64)
    assert torch.equal(batch.low, crops_of([pair], darken=1.0, scene_light=1.0, turn=0.5).batch(0, 16, 64).low)
    assert (batch.high <= plain.high + 1e-6).all()
    assert batch.low.mean() < 0.8 * plain.high.mean()
    assert torch.allclose(batch.low * 255, (batch.low * 255).round(), atol=1e-3)
    # What the network sees of the whole picture agrees with the crop, which is two thirds of it: in one case out of
    # sixteen at most the dark part lies outside.
    ratio = batch.low.mean((1, 2, 3)) / batch.context.mean((1, 2, 3))
    assert ((ratio > 0.7) & (ratio < 1.4)).float().mean() > 0.9


def test_a_share_of_the_dark_pictures_goes_through_a_phone(pairs):
    batch, plain = crops_of(pairs, phone=0.5).batch(0, 64, 16), crops_of(pairs).batch(0, 64, 16)
    assert torch.equal(batch.high, plain.high)
    assert torch.equal(batch.context, plain.context)
    changed = (batch.low != plain.low).flatten(1).any(1).float().mean()
    assert 0.2 < changed < 0.55  # a phone may do nothing


def test_pixels_clipped_in_the_reference_alone_are_forgiven(tmp_path):
    low, high = np.full((32, 32, 3), 50, np.uint8), np.full((32, 32, 3), 100, np.uint8)
    high[:16, :, 1] = 255
    low[:8, :, 0] = 252
    for name, pixels in (("low", low), ("high", high)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    pair = Pair("x", tmp_path / "low.png", tmp_path / "high.png")
    batch = crops_of([pair], forgive_clipped=True, turn=0.0).batch(0, 1, 32)
    clipped = (batch.high[:, 1:2] == 1) & (batch.low[:, 0:1] < 0.9)
    assert torch.equal(batch.weight == 0, clipped)
    assert int(clipped.sum()) == 8 * 32


def test_a_network_with_memory_is_taught_the_dark_thumbnails_and_the_references(pairs):
    class Recorder:
        def remember(self, thumbnails, references):
            self.thumbnails, self.references = thumbnails, references

    recorder, crops = Recorder(), crops_of(pairs)
    crops.teach(recorder)
    crops.teach(object())
    whole = to_tensor(crops.lows[3])
    assert torch.allclose(recorder.thumbnails[3], make_thumbnail(whole)[0], atol=1e-6)
    assert recorder.references[3].tolist() == pytest.approx((crops.highs[3].reshape(-1, 3).mean(0) / 255).tolist())
