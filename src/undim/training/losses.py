"""Losses, as functions of float32 tensors in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def ssim_index(output: Tensor, target: Tensor) -> Tensor:
    """Mean structural similarity of N x C x H x W tensors in [0, 1], differentiable; a scalar.

    Gaussian window 11 of sigma 1.5, K1 0.01, K2 0.03, over the places where the window fits (Wang et al. 2004).
    """
    offsets = torch.arange(SSIM_WINDOW, device=output.device, dtype=output.dtype) - SSIM_WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    window = window / window.sum()
    channels = output.shape[1]
    maps = torch.cat((output, target, output * output, target * target, output * target), 1)
    rows = window.view(1, 1, -1, 1).expand(5 * channels, 1, -1, 1)
    blurred = F.conv2d(F.conv2d(maps, rows, groups=5 * channels), rows.transpose(2, 3), groups=5 * channels)
    mean_o, mean_t, square_o, square_t, product = blurred.chunk(5, dim=1)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_o * mean_t + c1) / (mean_o**2 + mean_t**2 + c1)
    variances = square_o - mean_o**2 + square_t - mean_t**2
    structure = (2 * (product - mean_o * mean_t) + c2) / (variances + c2)
    return (luminance * structure).mean()
