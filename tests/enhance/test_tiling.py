"""Tiles: they cover, they blend to one, they agree, and they are told of the whole picture once."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tiny_models import psnr
from undim import Enhancer, machine
from undim.enhance import memory, tiling
from undim.enhance.convert import to_batch
from undim.enhance.survey import _find_windows, look_at_all, look_at_whole
from undim.enhance.tiling import (
    find_traits,
    inner_cells,
    join_tiles,
    place_crops,
    ramp,
    shrink,
    spread_tiles,
    spread_windows,
    weigh_crops,
    weigh_regions,
)
from undim.errors import ModelError, PictureError, UsageError
from undim.nets import add_adr, create_model
from undim.nets.thumbnail import make_thumbnail
from undim.runtimes.base import OutOfMemoryError
from undim.runtimes.by_onnxruntime import OnnxRuntime
from undim.shipped import find_model, list_shipped_models
from undim.weights.export import export_onnx


@pytest.fixture(scope="module")
def network(tmp_path_factory, half_dark):
    """A random network with ADR, POG, a shoulder and a memory of one scene, whose attention and modulation matter."""
    torch.manual_seed(0)
    model = create_model("candela_tiny", curve="shoulder", memory=5)
    add_adr(model, bottleneck=4, embedding=8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and not parameter.any():
                nn.init.normal_(parameter, std=0.02)
            if name.endswith("temperature"):
                parameter.fill_(2.0)
    model.remember(torch.from_numpy(shrink(half_dark, (64, 96)).copy()), torch.tensor([[0.5, 0.45, 0.4]]))
    path = tmp_path_factory.mktemp("tileable") / "net.onnx"
    export_onnx(model.eval(), path)
    return model, path


@given(st.integers(1, 5000), st.integers(32, 128), st.sampled_from([0, 8, 32, 64]))
def test_tiles_cover_and_overlap(length, cells, overlap):
    side = 8 * max(cells, 2 * overlap // 8 + 1)
    spans = spread_tiles(length, side, overlap)
    assert (spans[0][0], spans[-1][1]) == (0, length)
    assert all(start % 8 == 0 and 0 < stop - start <= side for start, stop in spans)
    shared = [before[1] - after[0] for before, after in pairwise(spans)]
    assert all(overlap <= some < side for some in shared)
    sizes = [stop - start for start, stop in spans]
    assert set(sizes[:-1]) <= {sizes[0]}
    assert sizes[0] - 8 < sizes[-1] <= sizes[0]
    assert len(spans) == 1 or (len(spans) - 1) * (side - overlap) + overlap < length  # not one more than it takes


@given(st.integers(1, 5000), st.integers(32, 128), st.sampled_from([0, 16, 32, 64]))
def test_windows_count_every_cell_once_and_away_from_where_they_cut(length, cells, overlap):
    side = 8 * max(cells, 2 * overlap // 8 + 1)
    windows = spread_windows(length, side, overlap)
    counted = np.concatenate([window.pixels[0] // 8 + window.cells for window in windows])
    np.testing.assert_array_equal(counted, np.arange(max(1, length // 8)))
    for window in windows:
        (start, stop), last = window.pixels, 8 * (window.cells[-1] + 1)
        assert start % 8 == 0
        assert 0 <= start < stop <= length
        assert stop - start <= side
        assert start == 0 or 8 * window.cells[0] >= overlap // 2
        assert stop == length or start + last <= stop - overlap // 2
    assert len({(window.pixels[1] - window.pixels[0], len(window.cells)) for window in windows[:-1]}) <= 1


@given(st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_blending_weights_sum_to_one_and_every_pixel_comes_once(height, width):
    times = np.zeros((height, width))
    rows, columns = spread_tiles(height, 64, 16), spread_tiles(width, 64, 16)

    def make(tall, wide):
        return np.ones((3, tall[1] - tall[0], wide[1] - wide[0]), np.float32)

    for top, left, values in join_tiles(rows, columns, make):
        times[top : top + values.shape[1], left : left + values.shape[2]] += 1
        np.testing.assert_allclose(values, 1, atol=1e-6)
    assert (times == 1).all()


def test_tiles_fade_into_each_other():
    rows, columns = spread_tiles(100, 64, 16), spread_tiles(100, 64, 16)
    numbers = iter(range(4))
    joined = np.empty((3, 100, 100), np.float32)
    for top, left, values in join_tiles(
        rows, columns, lambda t, w: np.full((3, t[1] - t[0], w[1] - w[0]), next(numbers), np.float32)
    ):
        joined[:, top : top + values.shape[1], left : left + values.shape[2]] = values
    weights = np.ones(100)
    weights[: columns[1][0]] = 0
    weights[columns[1][0] : columns[0][1]] = ramp(columns[0][1] - columns[1][0])
    np.testing.assert_allclose(joined, np.broadcast_to(2 * weights[:, None] + weights[None], joined.shape), atol=1e-5)


@pytest.mark.parametrize("shape", [(37, 150, 3), (64, 96), (700, 333, 3)])
def test_shrink_is_the_networks_thumbnail(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    planes = np.broadcast_to(pixels[..., None], (*shape, 3)) if len(shape) == 2 else pixels
    wanted = make_thumbnail(torch.from_numpy(planes.transpose(2, 0, 1)[None] / np.float32(255)))
    np.testing.assert_allclose(shrink(pixels, (64, 96)), wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (300, 9000), (5, 700), (400, 130)])
def test_crops_lie_in_the_picture_and_weights_sum_to_one(height, width):
    crops = place_crops(height, width)
    for (top, bottom), (left, right) in crops:
        assert (top % 8, left % 8) == (0, 0)
        assert top >= 0
        assert bottom <= max(8, height)
        assert left >= 0
        assert right <= max(8, width)
    assert inner_cells(height).size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    weights = weigh_crops(pixels, crops)
    assert weights.shape == (len(crops),)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-5)


def test_weights_make_up_for_crops_that_fell_into_one_half():
    pixels = np.random.default_rng(0).integers(0, 40, (1024, 1024, 3), dtype=np.uint8)
    pixels[:, 512:] += 150
    crops = [((top, top + 128), (left, left + 128)) for top in range(0, 1024, 128) for left in (0, 128, 256, 640)]
    weights = weigh_crops(pixels, crops)
    assert weights[3::4].sum() == pytest.approx(0.5, abs=0.02)


def check_tiles(path, picture, bound=50):
    whole = Enhancer(path, threads=1, tile=0)
    expected = whole(picture)
    tiled = Enhancer(path, threads=1, tile=256)(picture)
    naive = np.concatenate([whole(picture[:, left : left + 240]) for left in (0, 240, 480)], axis=1)
    assert psnr(tiled, expected) > bound
    assert psnr(naive, expected) < psnr(tiled, expected) - 10


def test_tiled_is_like_whole_and_naive_tiles_are_not(tileable, half_dark):
    check_tiles(tileable, half_dark)


@pytest.mark.slow
def test_tiles_of_a_network_agree(network, half_dark):
    check_tiles(network[1], half_dark)


@pytest.mark.slow
def test_statistics_of_all_windows_are_nearer_to_those_of_the_whole_than_crops_are(network, half_dark):
    runtime = OnnxRuntime(network[1], threads=1)
    height, width = (np.arange(length // 8) for length in half_dark.shape[:2])
    thumbnail = shrink(half_dark, (64, 96))
    exact = runtime.look(to_batch(half_dark), height, width, np.ones(1, np.float32), thumbnail)
    off = [
        np.linalg.norm(look(runtime, runtime.tiling, half_dark, 256).statistics - exact)
        for look in (look_at_whole, look_at_all)
    ]
    assert off[1] < 0.3 * off[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", list_shipped_models())
def test_tiles_of_shipped_models_agree(name, half_dark):
    if OnnxRuntime(find_model(name), threads=1).tiling is None:
        pytest.skip("exported before files could be tiled")
    check_tiles(find_model(name), half_dark)


@pytest.mark.slow
def test_whole_pictures_are_as_in_pytorch_the_remembered_scene_included(network, half_dark):
    model, path = network
    image = torch.from_numpy(half_dark.transpose(2, 0, 1)[None] / np.float32(255))
    with torch.no_grad():
        expected = model(image).numpy()
        assert not np.allclose(expected, model(image, make_thumbnail(image)).numpy(), atol=1e-3)  # the scene is known
    np.testing.assert_allclose(OnnxRuntime(path, threads=1).run(image.numpy()), expected, atol=1e-5)


def test_grey_and_strength(tileable, half_dark):
    grey = half_dark[..., 0]
    tiled, whole = Enhancer(tileable, threads=1, tile=256), Enhancer(tileable, threads=1, tile=0)
    for strength in (0.4, 1.0):
        assert psnr(tiled(grey, strength=strength), whole(grey, strength=strength)) > 50
        assert psnr(tiled(half_dark, strength=strength), whole(half_dark, strength=strength)) > 50


def test_the_whole_picture_is_asked_once_and_no_tensor_is_larger_than_a_tile(tileable, half_dark, monkeypatch):
    enhancer = Enhancer(tileable, threads=1, tile=256)
    asked, fed = [], []
    session = enhancer._runtime._session

    class Spy:
        def run(self, outputs, feeds, options):
            asked.append(outputs[0])
            fed.append(feeds["image"].size)
            if outputs == ["enhanced"]:
                given.append(feeds["given"])
            return session.run(outputs, feeds, options)

    given = []
    monkeypatch.setattr(enhancer._runtime, "_session_of", lambda _: Spy())
    enhancer(half_dark)
    first = asked.index("enhanced")
    assert set(asked[:first]) == {"statistics"}
    assert set(asked[first:]) == {"enhanced"}
    assert len(asked[first:]) == len(spread_tiles(480, 256, 32)) * len(spread_tiles(720, 256, 32))
    assert max(fed) <= 3 * 256**2
    assert all(np.array_equal(statistics, given[0]) for statistics in given)


def test_pictures_no_larger_than_a_tile_are_not_cut(tileable, half_dark, monkeypatch):
    enhancer = Enhancer(tileable, threads=1, tile=720)
    monkeypatch.setattr(enhancer._runtime, "look", None)
    np.testing.assert_array_equal(enhancer(half_dark), Enhancer(tileable, threads=1, tile=0)(half_dark))


def test_auto_goes_by_memory(monkeypatch):
    per = memory.BYTES_PER_PIXEL
    for free, wanted in ((None, 0), (10**12, 0), (per * 2 * 800**2, 768), (per * 2 * 512**2, 512), (1, 256)):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        assert memory.choose_side(1000, 1000) == wanted
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    assert memory.choose_side(4000, 3000) == 1024
    assert [memory.smaller_side(4000, 3000, side) for side in (0, 1024, 256)] == [1024, 768, None]
    assert memory.smaller_side(600, 400, 0) == 384


def test_auto_steps_down_when_memory_runs_out(tileable, half_dark, monkeypatch):
    enhancer = Enhancer(tileable, threads=1)
    run, tried = OnnxRuntime.run, []

    def scarce(self, batch, *rest, **more):
        tried.append(batch.size)
        if batch.size > 3 * 256**2:
            raise OutOfMemoryError("no room")
        return run(self, batch, *rest, **more)

    monkeypatch.setattr(OnnxRuntime, "run", scarce)
    expected = Enhancer(tileable, threads=1, tile=256)(half_dark)
    tried.clear()
    np.testing.assert_array_equal(enhancer(half_dark), expected)
    assert tried[0] == half_dark.size
    with pytest.raises(OutOfMemoryError):
        Enhancer(tileable, threads=1, tile=0)(half_dark)


def test_too_little_memory_even_for_the_smallest_tiles(tileable, half_dark, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    with pytest.raises(PictureError, match=r"is 720 x 480 pixels, .* even in tiles of 256, and 0\.0 GB are free"):
        Enhancer(tileable, threads=1)(half_dark)


def test_container_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_machine_memory", lambda: 5000)
    assert machine.free_memory() == 5000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 600\ninactive_file 50\n")
    assert machine.free_memory() == 5000
    (tmp_path / "memory.max").write_text("1000\n")
    assert machine.free_memory() == 350


@pytest.mark.parametrize("tile", [1, 255, -8, True, 512.0, "512"])
def test_wrong_sides(gain, tile):
    with pytest.raises(UsageError, match="allowed: auto, 0"):
        Enhancer(gain, tile=tile)


def test_a_file_that_does_not_tell_is_never_tiled(gain, monkeypatch):
    with pytest.raises(ModelError, match="does not tell what parts of a picture"):
        Enhancer(gain, tile=512)
    monkeypatch.setattr(memory, "WHOLE_PIXELS", 10)
    picture = np.zeros((20, 20, 3), np.uint8)
    assert Enhancer(gain)(picture).shape == picture.shape
    assert tiling.SMALLEST_TILE == 256


def test_parts_count_so_that_together_they_are_like_the_picture():
    rng = np.random.default_rng(0)
    shade = np.linspace(0.1, 1, 40)[:, None, None] * np.linspace(1, 0.3, 48)[None, :, None]
    pixels = (rng.random((40, 48, 3)) * shade * 255).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    traits = find_traits(pixels)
    assert np.allclose(traits[:3].mean((1, 2)), pixels.mean((0, 1)) / 255, atol=1e-6)
    parts = [((row, row + 8), (column, column + 8)) for row in range(0, 40, 8) for column in range(0, 48, 8)]
    weights = weigh_regions(traits, parts)
    assert np.allclose(weights, 1 / 30, atol=1e-6)  # all of it: by size
    some = parts[::3]
    means = np.stack([traits[:, slice(*rows), slice(*columns)].mean((1, 2)) for rows, columns in some])
    off = np.abs(weigh_regions(traits, some) @ means - traits.mean((1, 2)))
    assert off[:9].max() < 0.5 * np.abs(means.mean(0) - traits.mean((1, 2)))[:9].max()


@pytest.mark.parametrize(("height", "width"), [(2448, 3264), (3000, 4000), (4000, 3000), (1200, 9000)])
def test_a_large_picture_is_seen_in_a_quarter_of_its_windows_spread_over_it(height, width):
    rounds = _find_windows(np.broadcast_to(np.uint8(0), (height, width)), 1024, 32)
    rows, columns = (spread_windows(length, 256, 32) for length in (height, width))
    seen = [(tall.region, wide.region) for windows in rounds for tall, wide in windows]
    assert len(set(seen)) == len(seen)
    assert abs(len(seen) - len(rows) * len(columns) / 4) <= 3
    assert abs(len(rounds[0]) - len(rounds[1])) <= 3
    assert {row for row, _ in seen} == {window.region for window in rows}
    assert {column for _, column in seen} == {window.region for window in columns}


def test_a_smaller_picture_is_seen_whole():
    rounds = _find_windows(np.broadcast_to(np.uint8(0), (2000, 3000)), 1024, 32)
    seen = [(tall.region, wide.region) for windows in rounds for tall, wide in windows]
    cells = sum((bottom - top) * (right - left) for (top, bottom), (left, right) in seen)
    assert cells == 250 * 375
    assert len(rounds) == 4
