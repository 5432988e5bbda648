"""Attention between channels: the product that Restormer introduced and the other backbones share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from undim.nets.dynamic_conv import from_pixels
from undim.nets.full_precision import widen_half
from undim.nets.whole_picture import WholeStatistics


def channel_attention(
    query: Tensor, key: Tensor, value: Tensor, temperature: Tensor, whole: WholeStatistics | None = None
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
    if _by_pixels(query, key, value) and whole is None:
        return _attend_by_pixels(query, key, value, temperature)
    heads = temperature.shape[0]
    size = value.shape[-2:]
    queries, keys, values = (
        torch.unflatten(part, 1, (heads, -1)).flatten(-2)  # (B, heads, C / heads, H W)
        for part in (query, key, value)
    )
    # Unit length before the product, not after: q k^T over a whole picture overflows half precision.
    # And in float32 where q and k are float16, in which lengths overflow and the 1e-12 that guards them is zero.
    queries, keys = (F.normalize(widen_half(part), dim=-1).to(part.dtype) for part in (queries, keys))
    scores = queries @ keys.transpose(-2, -1)
    if whole is not None:
        scores = whole.scores(scores, query, key)
    mixed = (scores * temperature).softmax(dim=-1) @ values
    return torch.unflatten(mixed, -1, size).flatten(1, 2)


def _by_pixels(*parts: Tensor) -> bool:
    """Whether on a CPU the channels of each pixel lie together, in a format that q k^T cannot overflow."""
    return all(part.device.type == "cpu" and part.stride(1) == 1 and part.dtype != torch.float16 for part in parts)


def _attend_by_pixels(query: Tensor, key: Tensor, value: Tensor, temperature: Tensor) -> Tensor:
    """`channel_attention` head by head, each a matrix product in place: batched, all heads would be copied first."""
    heads = temperature.shape[0]
    queries, keys = query.flatten(2), key.flatten(2)  # (B, C, H W), views
    lengths = [
        torch.linalg.vector_norm(part, dim=-1, keepdim=True).clamp_min(1e-12).chunk(heads, 1)
        for part in (queries, keys)
    ]
    products = zip(queries.chunk(heads, 1), keys.chunk(heads, 1), *lengths, strict=True)
    scores = torch.stack(
        [q @ k.transpose(1, 2) / (long_q * long_k.transpose(1, 2)) for q, k, long_q, long_k in products], 1
    )
    maps = (scores * temperature).softmax(dim=-1).transpose(-2, -1).unbind(1)
    pixels = value.flatten(2).transpose(1, 2).chunk(heads, 2)  # (B, H W, C / heads) each
    mixed = torch.cat([part @ attention for part, attention in zip(pixels, maps, strict=True)], 2)
    return from_pixels(mixed, value.shape[-2:])
