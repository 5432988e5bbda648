"""Computing in float32 inside a network that otherwise computes in fewer bits.

What a layer takes from the whole picture differs little from picture to picture. In bfloat16, with its eight bits, that
difference drowns in rounding: so means over pixels, and kernels generated from them, are computed here.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F


def without_autocast(like: Tensor) -> AbstractContextManager[object]:
    """A context in which nothing on the device of `like` is computed in fewer bits than its operands have."""
    # The meta device, where operators are counted, has no autocasting to turn off.
    if like.is_meta or not torch.is_autocast_enabled(like.device.type):
        return nullcontext()
    return torch.autocast(like.device.type, enabled=False)


def widen(values: Tensor) -> Tensor:
    """Numbers of 16 bits as float32; wider ones as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def widen_half(values: Tensor) -> Tensor:
    """Numbers of float16 as float32, where its range would not do; others, bfloat16 among them, as they are."""
    return values.float() if values.dtype == torch.float16 else values


def pool(images: Tensor) -> Tensor:
    """Mean over the pixels, float32 also of features of 16 bits: B x C x H x W to B x C."""
    with without_autocast(images):
        return F.adaptive_avg_pool2d(widen(images), 1).flatten(1)


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` in the type of `inputs`, whatever type the weights are stored in."""
    return F.linear(inputs, weight.to(inputs.dtype), None if bias is None else bias.to(inputs.dtype))


def split_for(kernels: Tensor, images: Tensor) -> list[Tensor]:
    """Kernels of at least float32 as addends in the type that their product with `images` is computed in.

    Rounding a kernel to 16 bits would lose how it differs from another picture's, which is often less than a thousandth
    of it. Three bfloat16 or two float16 addends hold all of it, and cost little where one side of the product is
    narrow. The gradient flows through the first, which is the kernel rounded.
    """
    dtype = images.dtype
    if not images.is_meta and torch.is_autocast_enabled(images.device.type):
        dtype = torch.get_autocast_dtype(images.device.type)
    if torch.finfo(dtype).bits > 16 or torch.finfo(kernels.dtype).bits <= 16:
        return [kernels.to(dtype)]
    first = kernels.to(dtype)
    parts, rest = [first], (kernels - first).detach()
    for _ in range(2 if dtype == torch.bfloat16 else 1):
        parts.append(rest.to(dtype))
        rest = rest - parts[-1]
    return parts
