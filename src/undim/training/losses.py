"""Losses: pure, differentiable functions of N x C x H x W float32 tensors in [0, 1], each a mean over all of them.

Means over equal parts of a batch average to the mean over the whole, so micro-batches and processes change nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from undim.nets.cidnet import rgb_to_hvi
from undim.training.recipe import LossSection

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
CHARBONNIER_EPS = 1e-3
"""Where the Charbonnier distance turns from a parabola into the absolute value, in units of full white."""
BINOMIAL = (0.05, 0.25, 0.4, 0.25, 0.05)
"""The generating kernel of Burt and Adelson's Laplacian pyramid (1983), a = 0.4."""
HVI_DENSITY = 0.2
"""k of the HVI space where the network has none of its own: CIDNet's at the start."""


def recipe_loss(
    output: Tensor,
    target: Tensor,
    terms: LossSection,
    *,
    weight: Tensor | None = None,
    density: Tensor | None = None,
) -> Tensor:
    """Weighted sum of a recipe's terms, a scalar.

    Args:
        output: N x 3 x H x W; values outside [0, 1] are taken as they are, but clamped for HVI.
        target: of the same shape, in [0, 1].
        terms: the weights of the terms.
        weight: N x 1 x H x W in [0, 1], the share with which a pixel counts. A pixel's difference from the target is
            scaled by it before any term sees it, so that |difference| in L1 is weighted by exactly that share and the
            neighbourhoods of other terms take the pixel to be right so far as it does not count.
        density: k of the HVI space, one number; `None` is `HVI_DENSITY`.
    """
    output = output.float()
    if weight is not None:
        output = torch.lerp(target, output, weight)
    loss = _sum_of_terms(output, target, terms)
    if terms.hvi:
        k = output.new_tensor([HVI_DENSITY]) if density is None else density
        loss = loss + terms.hvi * _sum_of_terms(rgb_to_hvi(output.clamp(0, 1), k), rgb_to_hvi(target, k), terms)
    return loss


def _sum_of_terms(output: Tensor, target: Tensor, terms: LossSection) -> Tensor:
    loss = output.new_zeros(())
    if terms.l1:
        loss = loss + terms.l1 * F.l1_loss(output, target)
    if terms.charbonnier:
        loss = loss + terms.charbonnier * charbonnier(output, target)
    if terms.ssim:
        loss = loss + terms.ssim * (1 - ssim_index(output, target))
    if terms.edge:
        loss = loss + terms.edge * charbonnier(laplacian(output), laplacian(target))
    if terms.edge_squared:
        loss = loss + terms.edge_squared * F.mse_loss(laplacian(output), laplacian(target))
    return loss


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(d^2 + eps^2), d the difference of two tensors of one shape (Charbonnier et al. 1994); a scalar.

    From eps (equal tensors) to about 1.
    """
    return (output - target).square().add(CHARBONNIER_EPS**2).sqrt().mean()


def laplacian(image: Tensor) -> Tensor:
    """First level of the Laplacian pyramid (Burt and Adelson 1983): what halving and doubling the size loses.

    Args:
        image: N x C x H x W.

    Returns:
        image - 4 G * up(down(G * image)), of the same shape, within the range of the image on both sides of 0; G is the
        5 x 5 kernel of `BINOMIAL` with the border pixels repeated, down keeps every other pixel, up puts zeros between.
    """
    coarse = _blur(image)[..., ::2, ::2]
    spread = torch.zeros_like(image)
    spread[..., ::2, ::2] = 4 * coarse
    return image - _blur(spread)


def _blur(image: Tensor) -> Tensor:
    channels = image.shape[1]
    rows = image.new_tensor(BINOMIAL).view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    padded = F.pad(image, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(padded, rows, groups=channels), rows.transpose(2, 3), groups=channels)


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
