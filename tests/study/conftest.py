"""A study of four networks, each of a few steps, on small pictures in LOL-v1's layout."""

import numpy as np
import pytest
from PIL import Image

STUDY = """
about: Two kernels
recipe: tiny.yaml
common: {steps: 6}
variants:
  base: {about: the backbone alone}
  pog:
    change: {model: {adr: {kernel: pog, bottleneck: 4, embedding: 4}}}
  further: {after: base, change: {steps: 2}}
seeds: [0, 1]
measure: {pictures: 2, draws: 1}
"""
RECIPE = """
model: {name: candela_tiny, settings: {dims: [4, 4, 4], heads: [1, 1], global_width: 2}}
data: {name: lol-v1, root: ROOT, crop: 16}
optimiser: {lr: 2.0e-3, warmup: 2}
steps: 50
batch: 2
precision: 32-true
validate_every: 3
checkpoint_every: 2
"""


@pytest.fixture(autouse=True)
def _calm(one_thread):
    """All tests here."""


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """The data set's folder; references are four times as bright as the dark pictures."""
    folder = tmp_path_factory.mktemp("lol")
    rng = np.random.default_rng(0)
    for part, count in (("our485", 60), ("eval15", 2)):
        for name in range(1, count + 1):
            high = rng.integers(0, 256, (3, 4, 3)).repeat(8, 0).repeat(8, 1)
            for side, pixels in (("low", high // 4), ("high", high)):
                target = folder / part / side / f"{name}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(target)
    return folder


@pytest.fixture
def study_file(tmp_path, pictures):
    """Path of the study."""
    (tmp_path / "tiny.yaml").write_text(RECIPE.replace("ROOT", str(pictures)))
    path = tmp_path / "kernels.yaml"
    path.write_text(STUDY)
    return path
