"""Dark pictures."""

import numpy as np
import pytest


@pytest.fixture
def dark():
    return np.random.default_rng(0).integers(0, 60, (21, 17, 3), dtype=np.uint8)
