"""What attention layers take from the whole picture, in a form that crops of it can add up to.

A layer's attention map and ADR's kernels are functions of means over all pixels: of Q, K and V, of the products q_i k_j
and of the squares. Means over pixels are also means of the means of equally large crops. So a few crops tell what the
whole picture would have given, and a tile that is told behaves as a part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from undim.contract import GIVEN, OWN
from undim.nets.full_precision import widen, widen_half

SHORTEST = 1e-12
"""What `F.normalize` divides shorter vectors by."""


class Means(Protocol):
    """What stands in for the means over a layer's own input."""

    def mean(self, own: Tensor, features: Tensor) -> Tensor:
        """The mean to use for B x C x H x W features, whose own means are `own`: B x C."""


@dataclass
class WholeStatistics:
    """The statistics of one attention layer in one run, in the order in which the layer asks for them."""

    source: Tensor
    """A whole number: `OWN`, `CROPS` or `GIVEN` of `undim.contract`."""
    rows: Tensor
    """Rows of the features that count: those far enough from the edges, where a crop was cut."""
    columns: Tensor
    weights: Tensor
    """How much each image of the batch counts, summing to one."""
    given: Tensor | None = None
    """All statistics of the layer in one row, 1 x K, for `GIVEN`; `None` where that does not occur."""
    found: list[Tensor] = field(default_factory=list)
    """What the parts that count have, as 1 x k each; concatenated they are what `given` takes."""

    def mean(self, own: Tensor, features: Tensor) -> Tensor:
        """The mean over the whole picture of B x C x H x W features, whose own means are `own`: B x C."""
        return torch.where(self.source == OWN, own, self._settle(widen(self._inner(features)).mean((2, 3))))

    def scores(self, own: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """The cosines between the channels of B x C x H x W, whose own are `own`: B x heads x C / heads x C / heads."""
        heads, width = own.shape[1:3]
        query, key = (
            # (B, heads, C / heads, pixels); float16 holds neither the sums nor the squares.
            torch.unflatten(widen_half(self._inner(part)), 1, (heads, width)).flatten(-2)
            for part in (query, key)
        )
        products = query @ key.transpose(-2, -1) / query.shape[-1]
        squares = (query.square().mean(-1, keepdim=True), key.square().mean(-1, keepdim=True))
        moments = self._settle(torch.cat((products, *squares), -1).flatten(1)).unflatten(1, (heads, width, width + 2))
        products, query_square, key_square = moments.split((width, 1, 1), dim=-1)
        # `F.normalize` holds lengths, which are sqrt(pixels) rms, above 1e-12.
        shortest = SHORTEST * torch.ones_like(query[:1, :1, :1]).sum(-1, keepdim=True).rsqrt()
        query_rms, key_rms = (torch.maximum(square.sqrt(), shortest) for square in (query_square, key_square))
        return torch.where(self.source == OWN, own, (products / query_rms / key_rms.transpose(-2, -1)).to(own.dtype))

    def _inner(self, features: Tensor) -> Tensor:
        return features.index_select(2, self.rows).index_select(3, self.columns)

    def _settle(self, crops: Tensor) -> Tensor:
        """B x k statistics of crops to the 1 x k that all of them use, those of the crops being noted."""
        # Filled up to the batch: a whole picture's run has one weight, whatever its batch.
        batch = crops.shape[0]  # `len` would fix it in an export
        weights = torch.cat((self.weights, self.weights.new_zeros(batch)))[:batch]
        settled = (weights.unsqueeze(1) * crops).sum(0, keepdim=True)
        start = sum(part.shape[1] for part in self.found)
        self.found.append(settled)
        if self.given is None:
            return settled
        return torch.where(self.source == GIVEN, self.given[:, start : start + crops.shape[1]], settled)
