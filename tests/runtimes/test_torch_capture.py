"""Runs that are recorded by shape: what is recorded sees later inputs, and what cannot be recorded is run as it is.

On the CPU a recording is the function itself, called again on what is in the recording's places.
"""

import threading

import numpy as np
import pytest
import torch

from undim.runtimes.by_torch import TorchRuntime
from undim.runtimes.torch_capture import SHAPES, CapturedNetwork
from undim.shipped import MODELS_FOLDER


class Recorder:
    """Counts what it records; fails if told to."""

    def __init__(self, error=None):
        self.error, self.recorded, self.replayed = error, 0, 0

    def __call__(self, whole):
        if self.error is not None:
            raise self.error
        self.recorded += 1
        whole()

        def replay():
            self.replayed += 1
            whole()

        return replay


def double(feeds):
    return {"out": 2 * feeds["in"] + feeds.get("more", 0)}


def feed(side, value=1.0):
    return {"in": torch.full((1, 3, side, side), value)}


def test_runs_are_recorded_from_the_second_of_a_shape_on():
    recorder = Recorder()
    network = CapturedNetwork(double, recorder)
    for turn in range(4):
        for side in (4, 6):
            made = network(feed(side, float(turn)))["out"]
            assert torch.equal(made, torch.full((1, 3, side, side), 2.0 * turn))
    assert (recorder.recorded, recorder.replayed) == (2, 6)
    assert torch.equal(network({**feed(4), "more": torch.ones(())})["out"], torch.full((1, 3, 4, 4), 3.0))
    assert recorder.recorded == 2  # other inputs are another shape


def test_an_output_stays_when_the_next_picture_is_run():
    network = CapturedNetwork(double, Recorder())
    outputs = [network(feed(4, float(turn)))["out"] for turn in range(4)]
    assert [float(output[0, 0, 0, 0]) for output in outputs] == [0.0, 2.0, 4.0, 6.0]


def test_a_few_shapes_are_kept_those_that_were_used_last():
    recorder = Recorder()
    network = CapturedNetwork(double, recorder)
    for side in range(1, SHAPES + 2):
        network(feed(side))
        network(feed(side))
    assert recorder.recorded == SHAPES + 1
    network(feed(SHAPES + 1))
    assert recorder.recorded == SHAPES + 1
    network(feed(1))
    assert recorder.recorded == SHAPES + 2


@pytest.mark.parametrize(
    ("error", "others"),
    [(RuntimeError("operation not permitted when stream is capturing"), 0), (torch.OutOfMemoryError("full"), 1)],
)
def test_what_cannot_be_recorded_is_run_as_it_is(error, others):
    recorder = Recorder(error)
    network = CapturedNetwork(double, recorder)
    for turn in range(3):
        assert float(network(feed(4, float(turn)))["out"][0, 0, 0, 0]) == 2.0 * turn
    recorder.error = None
    network(feed(6))
    network(feed(6))
    assert recorder.recorded == others


def test_threads_take_turns():
    network = CapturedNetwork(double, Recorder())
    wrong = []

    def work(value):
        for _ in range(50):
            made = network(feed(4, value))["out"]
            if not torch.equal(made, torch.full((1, 3, 4, 4), 2 * value)):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(value),)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_runtime_gives_the_same_through_recordings():
    """As on CUDA, but with a recorder of the CPU: pictures, and tiles that are told of their whole picture."""
    path = MODELS_FOLDER / "tiny.safetensors"
    plain, recorded = TorchRuntime(path, device="cpu"), TorchRuntime(path, device="cpu")
    recorder = Recorder()
    recorded._run = CapturedNetwork(recorded._forward, recorder)
    rng = np.random.default_rng(0)
    cells = np.arange(1, 5)
    for _ in range(3):
        picture, thumbnail = rng.random((1, 3, 48, 64), np.float32), rng.random((1, 3, 64, 96), np.float32)
        assert np.array_equal(recorded.run(picture), plain.run(picture))
        told = (picture, cells, cells, np.ones(1, np.float32), thumbnail)
        for one, other in zip(recorded.look_and_run(*told), plain.look_and_run(*told), strict=True):
            assert np.array_equal(one, other)
    assert recorder.recorded == 2
