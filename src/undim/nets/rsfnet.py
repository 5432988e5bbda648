"""RSFNet: a picture is unrolled into factors of decreasing specularity, and curves drawn from all of them.

Paper: Saini and Narayanan, "Specularity Factorization for Low-Light Enhancement", CVPR 2024.
Licence: written from the paper; the authors' code (GPL-3.0) was not read. The parameter names equal those of the
published checkpoint.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.nets.convolutional import Convolutional
from undim.nets.padding import reflect
from undim.nets.registry import Variant, register
from undim.nets.zero_dce import apply_curves

FACTORS = 5
STEPS = 3
ROUNDS = 5
"""How often the six curves are applied."""
EPS = torch.finfo(torch.float32).eps
RANGE_SIGMA = 0.5
"""Of the final blur, in units of full white summed over the channels."""


def _scalars(value: float) -> nn.ModuleList:
    """One learned number per factor and step, under the checkpoints' names FACTOR.STEP."""
    return nn.ModuleList(
        nn.ParameterList(nn.Parameter(torch.tensor(value)) for _ in range(STEPS)) for _ in range(FACTORS)
    )


def shrink_pixels(values: Tensor, threshold: Tensor) -> Tensor:
    """Shorten the colour vector of each pixel of N x 3 x H x W by the threshold, at most to zero."""
    lengths = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    shortened: Tensor = (1 - threshold / (lengths + EPS)).clamp_min(0) * values
    return shortened


def shrink_pictures(values: Tensor, threshold: Tensor) -> Tensor:
    """Shorten each picture of N x 3 x H x W as a whole, its length being sqrt(sum of the lengths of its pixels)."""
    lengths = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    length = (lengths.sum(dim=(2, 3), keepdim=True) + EPS).sqrt()
    shortened: Tensor = (1 - threshold / (length + EPS)).clamp_min(0) * values
    return shortened


class FactorNet(nn.Module):
    """Five factors of a picture, each by three unrolled steps of alternating directions (section 3.2).

    The numbers that its thresholds start at are ours; the authors set some of them from the first picture that a
    network meets, also after its weights were loaded, which is left out here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lmbda_A = _scalars(0.1)
        self.lmbda_E = _scalars(0.1)
        self.step = _scalars(1.0)

    def forward(self, image: Tensor) -> Tensor:
        """N x 3 x H x W to its five factors, N x 15 x H x W."""
        kept: list[Tensor] = []
        rest = image
        for factor in range(FACTORS):
            specular = F.relu(self._split(rest, factor))
            kept.append((specular - kept[-1]).abs() if kept else specular)
            rest = rest - specular
        return torch.cat(kept, dim=1)

    def _split(self, image: Tensor, factor: int) -> Tensor:
        """The specular part E of one factor; the steps' names are the paper's."""
        sparse = diffuse = dual = torch.zeros_like(image)
        for number in range(STEPS):
            step, of_sparse, of_diffuse = (
                cast("nn.ParameterList", numbers[factor])[number] for numbers in (self.step, self.lmbda_E, self.lmbda_A)
            )
            if number == 0:
                sparse = shrink_pixels(image, of_sparse / step)
                diffuse = shrink_pictures(image - sparse, of_diffuse / step)
                dual = image / torch.linalg.vector_norm(image, dim=(1, 2, 3), keepdim=True).clamp_min(EPS)
                continue
            sparse = shrink_pixels(image - diffuse - dual / step, of_sparse / step)
            diffuse = shrink_pictures(image - sparse - dual / step, of_diffuse / step)
            dual = dual + step * (sparse + diffuse - image)
        return sparse


class FuseNet(nn.Module):
    """Draws six curves from a picture and its factors, in the shape of Zero-DCE, and applies them in five rounds."""

    def __init__(self, filters: int = 3) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1)

        channels = 3 * (1 + FACTORS)
        self.e_conv1 = conv(channels, filters)
        self.e_conv2 = conv(filters, filters)
        self.e_conv3 = conv(filters, filters)
        self.e_conv4 = conv(filters, filters)  # in checkpoints, and nothing runs it
        self.d_conv5 = conv(2 * filters, filters)
        self.d_conv6 = conv(2 * filters, filters)
        self.d_conv7 = conv(2 * filters, channels)
        # Checkpoints hold every layer under a second name.
        self.encoder = nn.ModuleList([self.e_conv1, self.e_conv2, self.e_conv3, self.e_conv4])
        self.decoder = nn.ModuleList([self.d_conv5, self.d_conv6, self.d_conv7])

    def forward(self, image: Tensor, factors: Tensor) -> Tensor:
        """N x 3 x H x W and N x 15 x H x W to the fused picture N x 3 x H x W."""
        features1 = F.relu(self.e_conv1(torch.cat([image, factors], dim=1)))
        features2 = F.relu(self.e_conv2(features1))
        features3 = F.relu(self.e_conv3(features2))
        features = F.relu(self.e_conv3(features3))
        features = F.relu(self.d_conv5(torch.cat([features3, features], dim=1)))
        features = F.relu(self.d_conv6(torch.cat([features2, features], dim=1)))
        curves = torch.tanh(self.d_conv7(torch.cat([features1, features], dim=1)))
        for _ in range(ROUNDS):
            image = apply_curves(image, curves)
        return image


def blur_bilateral(image: Tensor, radius: int = 2, space_sigma: float = 1.0) -> Tensor:
    """Mean of the neighbours of each pixel, weighted by nearness in space and in colour: N x 3 x H x W to the same.

    The distance in colour is the sum of absolute differences; the border is reflected.
    """
    height, width = image.shape[-2:]
    bordered = reflect(image, radius, radius, radius, radius)
    total, weights = torch.zeros_like(image), torch.zeros_like(image[:, :1])
    for down in range(2 * radius + 1):
        for right in range(2 * radius + 1):
            neighbour = bordered[..., down : down + height, right : right + width]
            away = ((down - radius) ** 2 + (right - radius) ** 2) / space_sigma**2
            distance = (neighbour - image).abs().sum(dim=1, keepdim=True) / RANGE_SIGMA
            weight = torch.exp(-0.5 * (distance.square() + away))
            total, weights = total + weight * neighbour, weights + weight
    return total / weights


class RsfNet(Convolutional):
    """RSFNet (figure 2 of the paper).

    Args:
        bypass: whether six copies of the picture go to the fusion in place of the picture and its factors, which is
            what the published code runs.
    """

    local: ClassVar[bool] = False  # it shortens whole pictures by their length
    unread = ("fuseNet.e_conv4",)

    def __init__(self, bypass: bool = False) -> None:
        super().__init__()
        self.bypass = bypass
        self.factNet = FactorNet()
        self.fuseNet = FuseNet()

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape."""
        factors = image.repeat(1, FACTORS, 1, 1) if self.bypass else self.factNet(image)
        return blur_bilateral(self.fuseNet(image, factors))


register({"rsfnet": Variant(RsfNet, summary="RSFNet with the paper's factorisation")})
