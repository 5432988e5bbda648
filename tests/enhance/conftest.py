"""Dark pictures."""

import numpy as np
import pytest


@pytest.fixture
def dark():
    return np.random.default_rng(0).integers(0, 60, (21, 17, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def half_dark():
    """480 x 720: waves of several lengths with noise, the right half in shadow."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:480, :720] / 100
    light = np.stack([60 + 40 * np.sin(a * x + b * y) for a, b in ((1, 2), (2, 1), (7, 5))], -1)
    light[:, 360:] *= 0.2
    return np.clip(light + random.normal(0, 3, light.shape), 0, 255).astype(np.uint8)
