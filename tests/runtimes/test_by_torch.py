"""The torch runtime leaves nothing behind: no picture's state after a failure, no number of threads after a run."""

import threading

import numpy as np
import pytest
import torch

from undim.contract import CROPS
from undim.errors import PictureError
from undim.nets import add_adr, create_model
from undim.nets.backbone import QkvAttention
from undim.nets.tile_network import TileNetwork
from undim.runtimes.base import WholePicture
from undim.runtimes.by_torch import TorchRuntime
from undim.shipped import MODELS_FOLDER

TINY = MODELS_FOLDER / "tiny.onnx"


@pytest.fixture
def pictures():
    return np.random.default_rng(0).random((2, 1, 3, 64, 96), dtype=np.float32) * np.float32(0.2)


def whole_of(runtime):
    numbers = np.random.default_rng(1)
    return WholePicture(
        numbers.random((1, 3, *runtime.tiling.thumbnail), dtype=np.float32),
        numbers.random((1, runtime.tiling.statistics), dtype=np.float32),
    )


def run_tile(runtime, picture):
    runtime.run(picture, whole_of(runtime))


def run_crops(runtime, picture):
    cells = np.arange(1, 5)
    thumbnail = whole_of(runtime).thumbnail
    runtime.look_and_run(picture, cells, cells, np.ones(1, np.float32), thumbnail)


def raising(error, *, when):
    left = when

    def hook(_module, _inputs):
        nonlocal left
        left -= 1
        if left < 0:
            raise error

    return hook


@pytest.mark.parametrize("run", [run_tile, run_crops])
@pytest.mark.parametrize("layer", ["embed", "encoder2.1", "decoder2.0.adr.p2", "predict"])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), KeyboardInterrupt()])
def test_a_picture_after_a_tile_that_failed_inside_the_network_is_as_from_a_fresh_runtime(run, layer, error, pictures):
    first, second = pictures
    runtime, fresh = TorchRuntime(TINY, threads=1), TorchRuntime(TINY, threads=1)
    handle = runtime._network.get_submodule(layer).register_forward_pre_hook(raising(error, when=0))
    with pytest.raises((PictureError, KeyboardInterrupt)):
        run(runtime, first)
    handle.remove()
    assert np.array_equal(runtime.run(second), fresh.run(second))


def test_a_network_keeps_nothing_of_a_failure_while_tiles_are_prepared():
    model = add_adr(create_model("candela_tiny"), embedding=8).eval()
    handle = model.decoder2[0].project_out.register_forward_pre_hook(raising(MemoryError(), when=0))
    with pytest.raises(MemoryError):
        TileNetwork(model)
    handle.remove()
    sites = [part for part in model.modules() if isinstance(part, QkvAttention)]
    assert all(site.whole is None and not site._forward_pre_hooks for site in sites)


def test_statistics_of_tiles_do_not_reach_the_next_run_of_the_network():
    model = add_adr(create_model("candela_tiny"), embedding=8).eval()
    tiles, image = TileNetwork(model), torch.rand(1, 3, 48, 40)
    expected = model(image)
    cell = torch.arange(1, 4)
    tiles(
        image,
        torch.tensor(CROPS),
        cell,
        cell,
        torch.ones(1),
        torch.rand(1, 3, 64, 96),
        torch.zeros(1, tiles.statistics),
    )
    assert torch.equal(model(image), expected)


def in_new_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_threads_hold_for_the_run_alone_also_when_it_fails(pictures):
    before = torch.get_num_threads(), in_new_thread(torch.get_num_threads)
    wanted = before[0] + 1
    runtime = TorchRuntime(TINY, threads=wanted)
    assert (torch.get_num_threads(), in_new_thread(torch.get_num_threads)) == before
    seen = []
    layer = runtime._network.get_submodule("predict")
    handle = layer.register_forward_pre_hook(
        lambda *_: seen.append((torch.get_num_threads(), in_new_thread(torch.get_num_threads)))
    )
    runtime.run(pictures[0])
    assert seen == [(wanted, before[1])]
    assert (torch.get_num_threads(), in_new_thread(torch.get_num_threads)) == before
    handle.remove()
    layer.register_forward_pre_hook(raising(MemoryError(), when=0))
    with pytest.raises(PictureError):
        runtime.run(pictures[0])
    assert (torch.get_num_threads(), in_new_thread(torch.get_num_threads)) == before


def test_two_runtimes_in_two_threads_use_their_own_threads_and_give_what_they_give_alone(pictures):
    before = torch.get_num_threads(), in_new_thread(torch.get_num_threads)
    runtimes = [TorchRuntime(TINY, threads=count) for count in (2, 3)]
    expected = [runtime.run(picture) for runtime, picture in zip(runtimes, pictures, strict=True)]
    meeting, seen, found, own = threading.Barrier(2), [[], []], [None, None], [0, 0]

    def work(index):
        runtime = runtimes[index]
        own[index] = torch.get_num_threads()
        meeting.wait(timeout=60)  # a thread that starts later would begin with the other one's number

        def note(*_):
            meeting.wait(timeout=60)  # both are in the middle of their networks
            seen[index].append(torch.get_num_threads())

        handle = runtime._network.get_submodule("decoder2").register_forward_pre_hook(note)
        found[index] = [runtime.run(pictures[index]) for _ in range(3)]
        handle.remove()
        seen[index].append(torch.get_num_threads())

    workers = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == [[2, 2, 2, own[0]], [3, 3, 3, own[1]]]
    for alone, together in zip(expected, found, strict=True):
        assert all(np.array_equal(alone, picture) for picture in together)
    assert (torch.get_num_threads(), in_new_thread(torch.get_num_threads)) == before
