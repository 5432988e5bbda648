"""Borders around pictures that torch's own padding does not offer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def reflect(image: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Extend N x C x H x W by reflection without repeating the edge, by any number of pixels.

    torch's own reflection stops at one pixel less than the picture has; here the picture goes on to swing to and fro.
    A side of one pixel is repeated.
    """
    height, width = image.shape[-2:]
    if max(left, right) < width and max(top, bottom) < height:
        return F.pad(image, (left, right, top, bottom), mode="reflect")
    rows = _swing(-top, height + bottom, height, image.device)
    columns = _swing(-left, width + right, width, image.device)
    return image.index_select(-2, rows).index_select(-1, columns)


def _swing(start: int, end: int, length: int, device: torch.device) -> Tensor:
    """Places `start` to `end` - 1 reflected into 0 to `length` - 1."""
    period = max(2 * (length - 1), 1)
    places = torch.arange(start, end, device=device).remainder(period)
    return torch.minimum(places, period - places).clamp(0, length - 1)


def pad_same(features: Tensor, stride: int = 2, kernel: int = 3) -> Tensor:
    """Zeros around N x C x H x W so that a convolution without padding gives ceil(H / stride) x ceil(W / stride).

    TensorFlow's rule "SAME": where the number of zeros is odd, the additional one stands at the right and the bottom.
    """
    # Not by a quotient of a negative number, which ONNX rounds towards zero.
    height, width = (max(-side % stride + kernel - stride, 0) for side in features.shape[-2:])
    return F.pad(features, (width // 2, width - width // 2, height // 2, height - height // 2))
