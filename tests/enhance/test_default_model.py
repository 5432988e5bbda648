from pathlib import Path

import numpy as np
from PIL import Image

from undim import Enhancer

ROCKET = Path(__file__).parent.parent.parent / "examples" / "rocket.jpg"


def test_night_picture_becomes_brighter_at_its_size():
    dark = Image.open(ROCKET)
    enhancer = Enhancer()
    clear = enhancer(dark)
    assert (clear.mode, clear.size) == (dark.mode, dark.size)
    assert np.asarray(clear.convert("L")).mean() > 1.2 * np.asarray(dark.convert("L")).mean()
    np.testing.assert_array_equal(np.asarray(enhancer(dark)), np.asarray(clear))


def test_small_and_odd_sizes():
    enhancer = Enhancer()
    for shape in ((1, 1, 3), (8, 8, 3), (13, 37, 3), (9, 70)):
        assert enhancer(np.full(shape, 20, np.uint8)).shape == shape
