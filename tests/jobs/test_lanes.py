"""Lanes: several pictures at a time, small ones first; and which models are loaded."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from undim import Enhancer
from undim.cancellation import Cancellation
from undim.errors import CancelledError, ModelError
from undim.jobs import lanes
from undim.jobs.lanes import Lanes, Models, share_cores
from undim.jobs.options import EnhanceOptions

PLAIN = {"strength": 1.0, "exposure": 0.0, "fast": False, "look": None, "cancellation": None, "deadline": None}


def run(some, image, **more):
    return some(image, **{**PLAIN, "progress": lambda _: None, **more})


@pytest.fixture
def options(gain):
    return EnhanceOptions(model=str(gain), threads=1)


@pytest.mark.parametrize(
    ("cores", "asked", "shared"),
    [(1, (None, None), (2, 1)), (2, (None, None), (2, 1)), (8, (None, None), (4, 2)), (8, (3, None), (3, 2)),
     (8, (None, 4), (2, 4)), (2, (5, 7), (5, 7))],
)  # fmt: skip
def test_cores_are_shared(monkeypatch, cores, asked, shared):
    monkeypatch.setattr(lanes, "count_cores", lambda: cores)
    assert share_cores(*asked) == shared


def test_results_are_those_of_an_enhancer(options, gain):
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)
    some = Lanes(options, 2)
    np.testing.assert_array_equal(run(some, image, exposure=0.5), Enhancer(gain)(image, exposure=0.5))
    some.close()


def test_a_small_picture_overtakes_a_large_one_that_came_just_before_and_not_one_that_waits_for_long(options):
    some = Lanes(options, 1)
    order = []

    def go(name, side):
        run(some, np.zeros((side, side, 3), np.uint8), progress=lambda _: None)
        order.append(name)

    threads = []
    with some._taken(1, Cancellation()):
        for name, side in (("large", 3000), ("small", 30)):
            threads.append(threading.Thread(target=go, args=(name, side)))
            threads[-1].start()
            while some.waiting < len(threads):
                time.sleep(0.01)
        assert not order
    for thread in threads:
        thread.join()
    assert order == ["small", "large"]
    some.close()


def test_a_small_picture_passes_a_large_one_between_two_tiles(options, tileable):
    some = Lanes(replace(options, model=str(tileable), tile=256), 1)
    image = np.random.default_rng(0).integers(0, 255, (900, 700, 3), np.uint8)
    order, threads, cancellation = [], [], Cancellation()

    def small():
        order.append(run(some, image[:50, :60]).shape)

    def progress(_share):
        if not threads:
            threads.append(threading.Thread(target=small))
            threads[0].start()
            while not some.waiting:
                time.sleep(0.01)

    enhanced = run(some, image, progress=progress)
    assert order == [(50, 60, 3)]
    threads.pop().join()
    np.testing.assert_array_equal(enhanced, Enhancer(tileable, tile=256, threads=1)(image))

    def cancel(share):
        progress(share)
        cancellation.cancel()  # while it lets the other one pass

    with pytest.raises(CancelledError):
        run(some, image, progress=cancel, cancellation=cancellation)
    threads.pop().join()
    assert len(order) == 2
    assert (some.waiting, len(some._free), some._paused) == (0, 2, None)
    some.close()


def test_who_waits_can_be_cancelled_and_the_next_one_comes(options):
    some = Lanes(options, 1)
    cancellation, image = Cancellation(), np.zeros((20, 20, 3), np.uint8)
    with some._taken(1, Cancellation()):
        threading.Timer(0.1, cancellation.cancel).start()
        with pytest.raises(CancelledError, match="was stopped"):
            run(some, image, cancellation=cancellation)
        with pytest.raises(CancelledError, match="took longer"):
            run(some, image, deadline=time.monotonic() + 0.1)
    assert some.waiting == 0
    assert run(some, image).shape == image.shape
    some.close()


def test_one_model_makes_way_for_another(options, gain, tileable):
    models = Models({"one": str(gain), "two": str(tileable)}, options, most=1, lanes=1)
    assert models.resident == []
    with models.used("one") as first:
        assert models.resident == ["one"]
        with models.used("one") as again:
            assert again is first
        late = Cancellation(time.monotonic() + 0.2)
        with pytest.raises(CancelledError), models.used("two", late):
            pass
    with models.used("two"):
        assert models.resident == ["two"]
    both = Models({"one": str(gain), "two": str(tileable)}, options, most=2, lanes=1)
    with both.used("one"), both.used("two"):
        assert both.resident == ["one", "two"]
    models.close()
    both.close()


def test_whoever_waits_for_another_model_is_not_passed_for_ever(options, gain, tileable):
    models = Models({"one": str(gain), "two": str(tileable)}, options, most=1, lanes=1)
    order, waits = [], threading.Event()

    def ask(name):
        with models.used(name):
            order.append(name)

    with models.used("one"):
        other = threading.Thread(target=ask, args=("two",))
        other.start()
        while not models._queue:
            time.sleep(0.01)
        later = threading.Thread(target=ask, args=("one",))
        later.start()
        waits.wait(0.2)
        assert order == []
    other.join()
    later.join()
    assert order == ["two", "one"]
    models.close()


def test_a_model_that_is_not_offered_or_cannot_be_loaded(options, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    models = Models({"photo": "photo", "bad": str(tmp_path / "bad.onnx")}, options)
    with (
        pytest.raises(ModelError, match=r"no model 'foto' here\. Did you mean 'photo'\? Offered: photo, bad"),
        models.used("foto"),
    ):
        pass
    for _ in range(2):  # the second one does not wait for the first
        with pytest.raises(ModelError), models.used("bad"):
            pass
