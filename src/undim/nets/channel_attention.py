"""Attention between channels: the product that Restormer introduced and the other backbones share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from undim.nets.whole_picture import WholePicture


def channel_attention(
    query: Tensor, key: Tensor, value: Tensor, temperature: Tensor, whole: WholePicture | None = None
) -> Tensor:
    """Transposed attention: every channel of a head attends to the other channels of that head.

    `softmax(temperature * q k^T) v` with q and k scaled to unit length over the pixels, so that its cost is linear in
    H W (Zamir et al., Restormer, CVPR 2022, equation 1; Retinexformer and CIDNet use the same product).

    Args:
        query: B x C x H x W.
        key: B x C x H x W.
        value: B x C x H x W.
        temperature: heads x 1 x 1, a learned factor per head; C is a multiple of the number of heads.
        whole: what stands in for q and k of these images where they are parts of one picture.

    Returns:
        B x C x H x W.
    """
    heads = temperature.shape[0]
    size = value.shape[-2:]
    queries, keys, values = (
        torch.unflatten(part, 1, (heads, -1)).flatten(-2)  # (B, heads, C / heads, H W)
        for part in (query, key, value)
    )
    # Unit length before the product, not after: q k^T over a whole picture overflows half precision.
    scores = F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).transpose(-2, -1)
    if whole is not None:
        scores = whole.scores(scores, query, key)
    mixed = (scores * temperature).softmax(dim=-1) @ values
    return torch.unflatten(mixed, -1, size).flatten(1, 2)
