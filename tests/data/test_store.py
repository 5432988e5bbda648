"""The store of decoded pictures: the same pixels wherever they lie, and no more memory than allowed."""

from functools import partial

import numpy as np
import pytest

from undim.data.store import PixelStore


@pytest.fixture
def pictures():
    return [np.random.default_rng(i).integers(0, 256, (10, 10 + i, 3)).astype(np.uint8) for i in range(5)]


@pytest.mark.parametrize("budget", [0, 700, 1e9])
def test_pixels_are_the_same_within_and_beyond_the_budget(pictures, budget):
    store = PixelStore([partial(np.copy, picture) for picture in pictures], budget)
    assert len(store) == 5
    assert all(np.array_equal(store[i], picture) for i, picture in enumerate(pictures))
    assert store.held <= budget
    assert store.held + store.mapped == sum(picture.nbytes for picture in pictures)


def test_each_picture_is_decoded_once(pictures):
    calls = []

    def load(index):
        calls.append(index)
        return pictures[index]

    store = PixelStore([partial(load, i) for i in range(5)], 700)
    for _ in range(3):
        for i in range(5):
            store[i].sum()
    assert sorted(calls) == [0, 1, 2, 3, 4]
