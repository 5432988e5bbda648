"""A data set of eight small pictures in LOL-v1's layout, and a recipe of a few steps on it."""

import numpy as np
import pytest
from PIL import Image

RECIPE = """
model:
  name: candela_tiny
  adr: {kernel: pog, embedding: 8, identity: true}
data: {name: lol-v1, root: ROOT, crop: 16, identity: 0.2}
optimiser: {lr: 2.0e-3, warmup: 2}
steps: 8
batch: 2
precision: 32-true
validate_every: 4
checkpoint_every: 3
"""


@pytest.fixture
def recipe(tmp_path):
    """Path of the recipe; the pictures' reference is four times as bright as the dark one."""
    rng = np.random.default_rng(0)
    for folder, count in (("our485", 30), ("eval15", 2)):
        for name in range(1, count + 1):
            high = rng.integers(0, 256, (3, 4, 3)).repeat(8, 0).repeat(8, 1)
            for side, pixels in (("low", high // 4), ("high", high)):
                target = tmp_path / "lol" / folder / side / f"{name}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(target)
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.replace("ROOT", str(tmp_path / "lol")))
    return path
