"""The tone curve of sRGB (IEC 61966-2-1), for arrays in whatever precision they come."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from undim.arrays import Doubles, Floats

ArrayT = TypeVar("ArrayT", Floats, Doubles)


def decode_srgb(encoded: ArrayT) -> ArrayT:
    """SRGB values in [0, 1] to linear light in [0, 1]."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def encode_srgb(linear: ArrayT) -> ArrayT:
    """Linear light, at least 0, to sRGB values; inverse of `decode_srgb`."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
