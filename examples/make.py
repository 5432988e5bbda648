"""Make the example pictures from the photographs in scikit-image: `python examples/make.py`.

`rocket.jpg` is copied. `coffee.png` and `cat.png` are darkened as a shorter exposure would: less linear light, then
shot noise (a Poisson number of electrons) and read noise (Gaussian), both from a fixed seed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data

HERE = Path(__file__).parent
FULL_WELL = 4000.0
"""Electrons of a pixel that is just white, at the gain of a high ISO setting."""
READ_NOISE = 3.0
"""Standard deviation in electrons."""


def to_linear(encoded: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Encoded sRGB in [0, 1] to linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The inverse of `to_linear`; clips to [0, 1]."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def darken(image: npt.NDArray[np.uint8], exposure: float, seed: int) -> npt.NDArray[np.uint8]:
    """H x W x 3 uint8 as if taken with `exposure` (1 unchanged) times the light."""
    random = np.random.default_rng(seed)
    electrons = to_linear(image / 255) * exposure * FULL_WELL
    electrons = random.poisson(electrons) + random.normal(0, READ_NOISE, electrons.shape)
    return np.rint(to_srgb(electrons / FULL_WELL) * 255).astype(np.uint8)


def main() -> None:
    """Write the three pictures beside this file."""
    shutil.copyfile(Path(data.__file__).parent / "rocket.jpg", HERE / "rocket.jpg")
    Image.fromarray(darken(data.coffee(), 0.06, seed=1)).save(HERE / "coffee.png", optimize=True)
    Image.fromarray(darken(data.chelsea(), 0.04, seed=2)).save(HERE / "cat.png", optimize=True)


if __name__ == "__main__":
    main()
