"""Losses: pure, differentiable functions of N x C x H x W float32 tensors in [0, 1], one number for each picture.

Means over equal parts of a batch average to the mean over the whole, so micro-batches and processes change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from undim.luma import REC601
from undim.nets.cidnet import rgb_to_hvi
from undim.training.recipe import LossSection

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
CHARBONNIER_EPS = 1e-3
"""Where the Charbonnier distance turns from a parabola into the absolute value, in units of full white."""
BINOMIAL = (0.05, 0.25, 0.4, 0.25, 0.05)
"""The generating kernel of Burt and Adelson's Laplacian pyramid (1983), a = 0.4."""
LUMA_SPREAD = 0.1
"""Standard deviation of a picture's mean luma that GT-mean loss assumes, as a share of the mean: the paper's."""
GREATEST_GAIN = 10.0
"""GT-mean loss raises no output further: a nearly black one would give no picture to compare."""
PLACE = 16
"""Side in pixels of the squares whose brightness is compared."""
PLACE_FLOOR = 1 / 255
"""Luma that is added to both before their ratio is taken: one grey level."""
HVI_DENSITY = 0.2
"""k of the HVI space where the network has none of its own: CIDNet's at the start."""


@dataclass(frozen=True)
class Constants:
    """The numbers that terms multiply by, on the device and of the type of what they are computed on.

    Made once for a run: numbers copied from the host in every step would make a GPU wait, and could not be captured.
    """

    rec601: Tensor
    """3 x 1 x 1, weights of red, green and blue in luma."""
    binomial: Tensor
    """`BINOMIAL`, 1 x 1 x 5 x 1."""
    density: Tensor
    """`HVI_DENSITY`, one number."""

    @classmethod
    def beside(cls, like: Tensor) -> Self:
        """On the device of a tensor and of its type."""
        return cls(
            like.new_tensor(REC601).view(3, 1, 1),
            like.new_tensor(BINOMIAL).view(1, 1, -1, 1),
            like.new_tensor([HVI_DENSITY]),
        )


def recipe_loss(
    output: Tensor,
    target: Tensor,
    terms: LossSection,
    *,
    weight: Tensor | None = None,
    density: Tensor | None = None,
    constants: Constants | None = None,
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
        constants: in float32; made anew if `None`.
    """
    output = output.float()
    if weight is not None:
        output = torch.lerp(target, output, weight)
    constants = constants or Constants.beside(output)
    k = constants.density if density is None else density
    loss = _of_pictures(output, target, terms, k, constants)
    if terms.gt_mean:
        gain, mismatch = brightness_mismatch(output, target, constants.rec601)
        raised = gain.view(-1, 1, 1, 1) * output
        loss = mismatch * loss + (1 - mismatch) * _of_pictures(raised, target, terms, k, constants)
    return loss.mean()


def brightness_mismatch(output: Tensor, target: Tensor, rec601: Tensor) -> tuple[Tensor, Tensor]:
    """What GT-mean loss weighs by (Liao et al., ICCV 2025): how far the brightness of two pictures is apart.

    Args:
        output: N x 3 x H x W.
        target: of the same shape, in [0, 1].
        rec601: of `Constants`.

    Returns:
        N numbers each: the gain that gives the output its target's mean luma, at most `GREATEST_GAIN`, which carries
        gradients; and the Bhattacharyya distance of two normal distributions about the two means, their standard
        deviations `LUMA_SPREAD` of these, at most 1, without gradients.
    """
    mean_o, mean_t = ((rec601 * image).sum(1).mean((1, 2)).clamp_min(1e-3) for image in (output, target))
    gain = (mean_t / mean_o).clamp_max(GREATEST_GAIN)
    variances = LUMA_SPREAD**2 * (mean_o**2 + mean_t**2)
    deviations = LUMA_SPREAD**2 * mean_o * mean_t
    distance = (mean_o - mean_t) ** 2 / (4 * variances) + (variances / (2 * deviations)).log() / 2
    return gain, distance.detach().clamp(0, 1)


def _of_pictures(output: Tensor, target: Tensor, terms: LossSection, k: Tensor, constants: Constants) -> Tensor:
    loss = _sum_of_terms(output, target, terms, constants.binomial)
    if terms.places:
        loss = loss + terms.places * place_brightness(output, target, constants.rec601)
    if terms.hvi:
        seen, wanted = rgb_to_hvi(output.clamp(0, 1), k), rgb_to_hvi(target, k)
        loss = loss + terms.hvi * _sum_of_terms(seen, wanted, terms, constants.binomial)
    return loss


def _sum_of_terms(output: Tensor, target: Tensor, terms: LossSection, binomial: Tensor) -> Tensor:
    loss = output.new_zeros(len(output))
    if terms.l1:
        loss = loss + terms.l1 * _mean(output.sub(target).abs())
    if terms.charbonnier:
        loss = loss + terms.charbonnier * charbonnier(output, target)
    if terms.ssim:
        loss = loss + terms.ssim * (1 - ssim_index(output, target))
    if terms.edge:
        loss = loss + terms.edge * charbonnier(laplacian(output, binomial), laplacian(target, binomial))
    if terms.edge_squared:
        loss = loss + terms.edge_squared * _mean((laplacian(output, binomial) - laplacian(target, binomial)).square())
    return loss


def _mean(values: Tensor) -> Tensor:
    return values.mean((1, 2, 3))


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(d^2 + eps^2) over each picture, d the difference of two N x C x H x W (Charbonnier et al. 1994).

    N numbers from eps (equal tensors) to about 1.
    """
    return _mean((output - target).square().add(CHARBONNIER_EPS**2).sqrt())


def place_brightness(output: Tensor, target: Tensor, rec601: Tensor) -> Tensor:
    """Mean |ln((luma of the output + floor) / (of the target + floor))| over squares of `PLACE` pixels; N numbers.

    A place that is half as bright as it should be counts as much in a shadow as in the light. `rec601` is of
    `Constants`.
    """
    first, second = (
        F.avg_pool2d((rec601 * image).sum(1, keepdim=True), PLACE, ceil_mode=True).clamp_min(0).add(PLACE_FLOOR).log()
        for image in (output, target)
    )
    return _mean((first - second).abs())


def laplacian(image: Tensor, binomial: Tensor | None = None) -> Tensor:
    """First level of the Laplacian pyramid (Burt and Adelson 1983): what halving and doubling the size loses.

    Args:
        image: N x C x H x W.
        binomial: of `Constants`; made anew if `None`.

    Returns:
        image - 4 G * up(down(G * image)), of the same shape, within the range of the image on both sides of 0; G is the
        5 x 5 kernel of `BINOMIAL` with the border pixels repeated, down keeps every other pixel, up puts zeros between.
    """
    rows = Constants.beside(image).binomial if binomial is None else binomial
    coarse = _blur(image, rows)[..., ::2, ::2]
    spread = torch.zeros_like(image)
    spread[..., ::2, ::2] = 4 * coarse
    return image - _blur(spread, rows)


def _blur(image: Tensor, binomial: Tensor) -> Tensor:
    channels = image.shape[1]
    rows = binomial.expand(channels, 1, -1, 1)
    padded = F.pad(image, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(padded, rows, groups=channels), rows.transpose(2, 3), groups=channels)


def ssim_index(output: Tensor, target: Tensor) -> Tensor:
    """Mean structural similarity of N x C x H x W tensors in [0, 1], differentiable; N numbers.

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
    return _mean(luminance * structure)
