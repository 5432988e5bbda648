"""PairLIE: a cleaned picture is split into reflectance and illumination, and the illumination raised by a power.

Paper: Fu et al., "Learning a Simple Low-light Image Enhancer from Paired Low-light Instances", CVPR 2023.
Licence: written from the paper; no licence is stated for the authors' code, which was not read. The parameter names
equal those of the published checkpoint.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from undim.errors import ModelError
from undim.nets.convolutional import Convolutional
from undim.nets.registry import Variant, register

WIDTH = 64


def _convolutions(outputs: int) -> nn.Sequential:
    """Five 3x3 convolutions over a reflected border, ReLU between them and a sigmoid at the end."""
    widths = (3, WIDTH, WIDTH, WIDTH, WIDTH, outputs)
    layers: list[nn.Module] = []
    for inputs, outs in itertools.pairwise(widths):
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(inputs, outs, 3), nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Sigmoid())


class IlluminationNet(nn.Module):
    """N x 3 x H x W to its illumination N x 1 x H x W, in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.L_net = _convolutions(1)

    def forward(self, image: Tensor) -> Tensor:
        """Estimate the illumination."""
        illumination: Tensor = self.L_net(image)
        return illumination


class ReflectanceNet(nn.Module):
    """N x 3 x H x W to its reflectance, of the same shape, in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.R_net = _convolutions(3)

    def forward(self, image: Tensor) -> Tensor:
        """Estimate the reflectance."""
        reflectance: Tensor = self.R_net(image)
        return reflectance


class NoiseNet(nn.Module):
    """N x 3 x H x W to the same picture without what does not fit a product of the other two, in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.N_net = _convolutions(3)

    def forward(self, image: Tensor) -> Tensor:
        """Clean the picture."""
        cleaned: Tensor = self.N_net(image)
        return cleaned


class PairLie(Convolutional):
    """PairLIE (figure 2 of the paper).

    Args:
        exponent: power of the illumination, above 0; the smaller, the brighter. The authors take 0.14 for LOL, which
            was chosen on its test pictures, and 0.2 for all others.
    """

    def __init__(self, exponent: float = 0.14) -> None:
        super().__init__()
        if not exponent > 0:
            raise ModelError(f"The exponent of the illumination must be above 0. Got {exponent}.")
        self.exponent = exponent
        self.L_net = IlluminationNet()
        self.R_net = ReflectanceNet()
        self.N_net = NoiseNet()

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape."""
        cleaned = self.N_net(image)
        illumination, reflectance = self.L_net(cleaned), self.R_net(cleaned)
        lit: Tensor = torch.pow(illumination, self.exponent) * reflectance
        return lit


register({"pairlie": Variant(PairLie, summary="PairLIE as published, with the authors' exponent for LOL")})
