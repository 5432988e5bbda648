"""Sums of red, green and blue with fixed weights, such as luma, on the device of the network that takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from undim.luma import REC601


class RgbWeights(nn.Module):
    """The weighted sum of a picture's colours.

    The weights lie on the network's device, in no file of weights: numbers copied from the host in every run would make
    a GPU wait, and could not be captured in a CUDA graph. They stay float32 in a network of 16-bit floats, and are
    rounded to the type of what they multiply.

    Args:
        values: weights of red, green and blue; by default those of luma (Rec.601).

    Attributes:
        weights: 3 x 1 x 1, float32.
    """

    weights: Tensor

    def __init__(self, values: tuple[float, float, float] = REC601) -> None:
        super().__init__()
        self.values = values
        self.register_buffer("weights", torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """N x 3 x H x W to N x 1 x H x W of the same type."""
        return (image * self.weights.to(image.dtype)).sum(1, keepdim=True)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: ARG002 - as nn.Module has it
        """Follow the network to another device, but keep the type."""
        self.weights = torch.tensor(self.values, device=fn(self.weights).device).view(3, 1, 1)
        return self
