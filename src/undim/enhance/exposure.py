"""The exposure curve: brighter or darker by so many stops, black and white fixed.

Of an encoded (sRGB) value x in [0, 1] of each channel, with g = 2^EV:

    y = g x / (1 + (g - 1) x)

It is the curve of a projective map of [0, 1] to itself: EV 0 is the identity, EV a after EV b is EV a + b, its slope is
g in black and 1 / g in white. `tests/enhance/exposure_vectors.json` has values for other implementations.
"""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from undim.arrays import Doubles, Pixels
from undim.errors import UsageError
from undim.images.picture import full_scale

LIMIT = 2.0
"""Largest EV up and down, in stops."""


def check_exposure(exposure: float) -> float:
    """The exposure as a plain number.

    Raises:
        UsageError: unless it is a number of stops in [-2, 2].
    """
    if not isinstance(exposure, Real) or isinstance(exposure, bool) or not -LIMIT <= exposure <= LIMIT:
        raise UsageError(
            f"exposure is {exposure}; allowed: {-LIMIT:+g} (darker) to {LIMIT:+g} (brighter) stops.",
            code="option",
            subject="exposure",
        )
    return float(exposure)


def expose(values: Doubles, exposure: float, white: float = 1.0) -> Doubles:
    """The curve above, of any shape: encoded values from 0 to `white` to such values.

    Scaled so that whole numbers of 8 or 16 bits with a whole EV give exact halves where they are halves.

    Args:
        values: double precision.
        exposure: EV, in stops.
        white: the value of white, such as 255.
    """
    gain = math.exp2(exposure)
    return white * gain * values / (white + (gain - 1) * values)


def expose_pixels(pixels: Pixels, exposure: float) -> Pixels:
    """The curve on uint8 or uint16 values, rounded to the nearest, halves to even; EV 0 gives a copy.

    By a table of all values that there are.
    """
    if exposure == 0:
        return pixels.copy()
    white = full_scale(pixels)
    table = np.rint(expose(np.arange(white + 1, dtype=np.float64), exposure, white)).astype(pixels.dtype)
    exposed: Pixels = table[pixels]
    return exposed
