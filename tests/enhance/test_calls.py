"""Calls of an enhancer as a service makes them: ended, late, waiting, closed, pickled, after a fork."""

import math
import multiprocessing
import os
import pickle
import threading
import time
import weakref

import numpy as np
import pytest

from undim import Enhancer
from undim.cancellation import Cancellation
from undim.enhance.turn import Turn
from undim.errors import CancelledError, ModelError, PictureError, UsageError
from undim.runtimes.by_onnxruntime import OnnxRuntime
from undim.shipped import MODELS_FOLDER


@pytest.fixture
def slow(gain, monkeypatch):
    """An enhancer whose network waits, within its run, until `go` is set or the run is asked to end."""
    enhancer = Enhancer(gain)
    enhancer.began, enhancer.go = threading.Event(), threading.Event()
    infer = OnnxRuntime.infer

    def waiting(self, outputs, feeds, *, more, cancellation):
        enhancer.began.set()
        asked = threading.Event()
        with cancellation.calling(asked.set):
            while not (enhancer.go.wait(0.01) or asked.is_set()):
                pass
        if asked.is_set():
            raise RuntimeError("the run was ended")
        return infer(self, outputs, feeds, more=more, cancellation=cancellation)

    monkeypatch.setattr(OnnxRuntime, "infer", waiting)
    return enhancer


def in_thread(work):
    ended = []

    def run():
        try:
            ended.append(work())
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, ended


def test_one_call_is_ended_and_the_next_is_not(slow, dark):
    cancellation = Cancellation()
    first, ended = in_thread(lambda: slow(dark, cancellation=cancellation))
    assert slow.began.wait(30)
    second, made = in_thread(lambda: slow(dark))
    cancellation.cancel()
    first.join(30)
    assert isinstance(ended[0], CancelledError)
    assert (str(ended[0]), ended[0].code) == ("was stopped", "cancelled")
    slow.go.set()
    second.join(30)
    assert made[0].shape == dark.shape
    with pytest.raises(CancelledError):  # a cancellation is for good
        slow(dark, cancellation=cancellation)
    assert slow(dark).shape == dark.shape


def test_a_call_that_waits_for_its_turn_is_ended_too(slow, dark):
    first, made = in_thread(lambda: slow(dark))
    assert slow.began.wait(30)
    cancellation = Cancellation()
    second, ended = in_thread(lambda: slow(dark, cancellation=cancellation))
    cancellation.cancel()
    second.join(30)
    assert ended[0].code == "cancelled"
    assert not made
    slow.go.set()
    first.join(30)
    assert made[0].shape == dark.shape


@pytest.mark.parametrize("waits", [False, True])
def test_deadline_ends_a_run_and_a_wait(slow, dark, waits):
    if waits:
        first, _ = in_thread(lambda: slow(dark))
        assert slow.began.wait(30)
    with pytest.raises(CancelledError, match="took longer than it was given") as caught:
        slow(dark, deadline=time.monotonic() + 0.2)
    assert caught.value.code == "deadline"
    slow.go.set()
    if waits:
        first.join(30)
    assert slow(dark, deadline=time.monotonic() + 60).shape == dark.shape


@pytest.mark.parametrize("deadline", [math.inf, 1e10, 1e300])
def test_a_deadline_further_off_than_threads_can_wait_is_never(gain, dark, deadline):
    enhancer = Enhancer(gain)
    assert enhancer(dark, deadline=deadline).shape == dark.shape
    with enhancer._turn.taken(Cancellation()):
        second, made = in_thread(lambda: enhancer(dark, deadline=deadline))
        while second.is_alive() and len(enhancer._turn._queue) < 2:
            time.sleep(0.005)
        time.sleep(0.05)
    second.join(30)
    assert made[0].shape == dark.shape


def test_a_deadline_is_a_number(gain, dark):
    with pytest.raises(UsageError, match="deadline is nan"):
        Enhancer(gain)(dark, deadline=math.nan)


def test_a_call_that_is_ended_is_ended_without_the_network_too(gain, dark):
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError, match="was stopped"):
        Enhancer(gain)(dark, strength=0, cancellation=cancellation)


def test_stop_ends_what_runs_and_waits_and_nothing_later(slow, dark):
    threads = [in_thread(lambda: slow(dark)) for _ in range(3)]
    assert slow.began.wait(30)
    while len(slow._calls) < 3:
        time.sleep(0.01)
    slow.stop()
    for thread, ended in threads:
        thread.join(30)
        assert ended[0].code == "cancelled"
    slow.go.set()
    assert slow(dark).shape == dark.shape


def test_no_more_wait_than_may(gain, dark, slow, monkeypatch):
    slow._turn = Turn(1)
    threads = [in_thread(lambda: slow(dark)) for _ in range(2)]
    while len(slow._turn._queue) < 2:
        time.sleep(0.01)
    with pytest.raises(PictureError, match="1 pictures wait already") as caught:
        slow(dark)
    assert caught.value.code == "busy"
    slow.go.set()
    for thread, made in threads:
        thread.join(30)
        assert made[0].shape == dark.shape


def test_turns_come_in_the_order_of_the_calls():
    turn, order = Turn(), []
    with turn.taken(Cancellation()):
        threads = []
        for number in range(5):

            def work(number=number):
                with turn.taken(Cancellation()):
                    order.append(number)

            threads.append(in_thread(work)[0])
            while len(turn._queue) < number + 2:
                time.sleep(0.005)
    for thread in threads:
        thread.join(30)
    assert order == list(range(5))


def test_closed(gain, dark):
    with Enhancer(gain) as enhancer:
        enhancer.warm_up(16, 8)
        assert enhancer(dark).shape == dark.shape
    with pytest.raises(UsageError, match="was closed"):
        enhancer(dark)
    assert enhancer.runtime == "onnxruntime float32"


def test_closed_before_any_call(gain):
    enhancer = Enhancer(gain)
    loaded = weakref.ref(enhancer._first)
    enhancer.close()
    assert enhancer.runtime == "onnxruntime float32"
    assert loaded() is None


def test_a_closed_enhancer_gives_its_model_back(gain, dark):
    enhancer = Enhancer(gain)
    enhancer(dark)
    loaded = weakref.ref(enhancer._first)
    enhancer.close()
    assert loaded() is None
    enhancer.close()


def test_pickled(gain, dark):
    enhancer = Enhancer(gain, tile=0, threads=1)
    copy = pickle.loads(pickle.dumps(enhancer))  # noqa: S301 - its own
    np.testing.assert_array_equal(copy(dark), enhancer(dark))
    assert copy._threads == 1


def _call(enhancer, image, pipe):
    try:
        pipe.send(enhancer(image))
    except Exception as error:
        pipe.send((type(error).__name__, str(error)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_after_a_fork(runtime, gain, dark):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    enhancer = Enhancer(gain, runtime=runtime)
    expected = enhancer(dark)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_call, args=(enhancer, dark, there))
    child.start()
    assert here.poll(60)
    result = here.recv()
    child.join(60)
    assert child.exitcode == 0
    if runtime == "onnxruntime":
        np.testing.assert_array_equal(result, expected)
    else:
        assert result[0] == "UsageError"
        assert "openvino does not survive" in result[1]
    np.testing.assert_array_equal(enhancer(dark), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_closed_one_says_so_after_a_fork_too(gain, dark):
    enhancer = Enhancer(gain)
    enhancer.close()
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_call, args=(enhancer, dark, there))
    child.start()
    assert here.poll(60)
    assert here.recv() == ("UsageError", "This enhancer was closed; make another one.")
    child.join(60)


def test_shares_of_a_picture_in_tiles_rise_to_one(tileable):
    shares = []
    Enhancer(tileable, tile=256)(np.full((600, 700, 3), 50, np.uint8), progress=shares.append)
    assert len(shares) > 9
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_weights_run_in_torch_by_their_own_path(tmp_path, dark):
    pytest.importorskip("torch")
    path = tmp_path / "own.safetensors"
    path.write_bytes((MODELS_FOLDER / "tiny.safetensors").read_bytes())
    shipped = Enhancer("tiny", runtime="torch", precision="float32")
    np.testing.assert_array_equal(Enhancer(path, runtime="torch", precision="float32")(dark), shipped(dark))
    with pytest.raises(ModelError, match="holds weights for PyTorch: take the runtime torch") as caught:
        Enhancer(path)
    assert caught.value.code == "weights"
