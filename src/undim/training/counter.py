"""Random numbers as a function of seed, step and place alone, computed on the device: no state that a run must keep.

Each number is a counter mixed with keys (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), by a
mixing function of 32 bits whose every output bit depends on every input bit. So a resumed run draws what an unbroken
one draws, two variants of one seed draw the same, and a CPU draws the same bits as a GPU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MASK = 2**32 - 1
GOLDEN = 0x9E3779B9
"""2^32 divided by the golden ratio: multiples of it are far apart."""
FIRST, SECOND = 0x21F0AAAD, 0x735A2D97
"""Odd factors below 2^31, so that products of 32-bit numbers fit in 63 bits."""


def mix(values: Tensor) -> Tensor:
    """Whole numbers from 0 to 2^32 - 1, int64, to others of them, one to one."""
    values = values ^ (values >> 16)
    values = (values * FIRST) & MASK
    values = values ^ (values >> 15)
    values = (values * SECOND) & MASK
    return values ^ (values >> 15)


def mix_number(value: int) -> int:
    """`mix` of one number, on the host."""
    value &= MASK
    value ^= value >> 16
    value = (value * FIRST) & MASK
    value ^= value >> 15
    value = (value * SECOND) & MASK
    return value ^ (value >> 15)


class Counter:
    """Draws of one step.

    Args:
        seed: of the run, any whole number.
        step: a whole number of int64 on the device where the numbers are wanted, or several of them: then each draw has
            their shape in front.
    """

    def __init__(self, seed: int, step: Tensor) -> None:
        low = mix_number((seed & MASK) ^ GOLDEN)
        high = mix_number((seed >> 32 & MASK) + low)
        self._first = mix((step + low) & MASK)
        self._second = mix(((step >> 32) + high + self._first * 3) & MASK)

    def bits(self, stream: int, *shape: int) -> Tensor:
        """Whole numbers from 0 to 2^32 - 1, evenly spread, int64, of a shape.

        Args:
            stream: what they are for; different streams are independent.
            *shape: of the result, behind that of the steps.
        """
        count = math.prod(shape)
        places = torch.arange(count, device=self._first.device).view(shape)
        keys = [
            mix((key + (stream * GOLDEN & MASK)) & MASK).view(*key.shape, *(1 for _ in shape))
            for key in (self._first, self._second)
        ]
        return mix((mix(places ^ keys[0]) + keys[1]) & MASK)

    def uniform(self, stream: int, *shape: int) -> Tensor:
        """Float32 in [0, 1), in steps of 2^-24."""
        return (self.bits(stream, *shape) >> 8).float() * 2.0**-24

    def below(self, stream: int, bounds: Tensor) -> Tensor:
        """Whole numbers from 0 to `bounds` - 1, each about equally likely: to within bounds / 2^32.

        Args:
            stream: as for `bits`.
            bounds: int64, from 1 to 2^31 - 1.
        """
        return (self.bits(stream, *bounds.shape) * bounds) >> 32

    def normal(self, stream: int, *shape: int) -> Tensor:
        """Float32 of mean zero and variance one (Box and Muller 1958); takes two streams, `stream` and the next."""
        radius = (-2 * (1 - self.uniform(stream, *shape)).log()).sqrt()
        return radius * (2 * math.pi * self.uniform(stream + 1, *shape)).cos()
