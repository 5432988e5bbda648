"""What of a picture's time went to what, for a picture in one piece, in tiles and by the fast path."""

import threading
import time

import numpy as np
import pytest

from undim.enhance.enhancer import Enhancer
from undim.enhance.parts import PARTS, noting, part


@pytest.fixture(scope="module")
def tiny():
    with Enhancer("tiny", threads=1, tile=256) as enhancer:
        yield enhancer


@pytest.mark.parametrize(
    ("shape", "fast", "expected"),
    [
        ((64, 64), False, {"prepare", "network", "blend"}),
        ((264, 300), False, set(PARTS)),
        ((264, 300), True, set(PARTS)),
    ],
)
def test_parts_add_up_to_no_more_than_the_call(tiny, shape, fast, expected, monkeypatch):
    monkeypatch.setattr("undim.enhance.fast.REDUCED_PIXELS", 20_000)
    picture = np.random.default_rng(0).integers(0, 60, (*shape, 3)).astype(np.uint8)
    begin = time.perf_counter()
    with noting() as parts:
        tiny(picture, fast=fast)
    assert set(parts) == expected
    assert all(seconds > 0 for seconds in parts.values())
    assert sum(parts.values()) <= time.perf_counter() - begin


def test_a_part_counts_to_the_thread_that_asked_and_to_nobody_outside_a_note():
    with part("network"):
        pass
    other = {}

    def elsewhere():
        with noting() as noted:
            other["noted"] = noted
            with part("survey"):
                pass

    with noting() as noted:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with pytest.raises(ZeroDivisionError), part("network"):
            _ = 1 / 0
    with part("blend"):
        pass
    assert set(noted) == {"network"}
    assert set(other["noted"]) == {"survey"}
