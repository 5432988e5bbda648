"""Pictures that the image tests share."""

import numpy as np
import pytest


@pytest.fixture
def rgb():
    """9 x 7 with no symmetry, so that a wrong turn or flip shows."""
    return np.random.default_rng(3).integers(0, 256, (7, 9, 3), dtype=np.uint8)


@pytest.fixture
def smooth():
    """A gradient that lossy codecs keep within a few levels."""
    y, x = np.mgrid[0:40, 0:56]
    return np.stack([x * 4, y * 5, 60 + x + y], axis=-1).astype(np.uint8)
