"""RUAS: an unrolled estimate of the illumination and an unrolled denoiser, both of searched cells of a few channels.

Paper: Liu et al., "Retinex-inspired Unrolling with Cooperative Prior Architecture Search for Low-light Image
Enhancement", CVPR 2021.
Licence: written from the paper; no licence is stated for the authors' code, which was not read. The parameter names
equal those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ModelError
from undim.nets.convolutional import Convolutional
from undim.nets.registry import Variant, register

Trained = Literal["lol", "upe", "dark"]
OpKind = Literal["skip", "conv3", "residual1", "residual3"]

SLOPE = 0.05
"""Of the cells' leaky ReLU."""
DARKEST = 0.001
"""The least illumination that the picture is divided by."""
OPS = ("c1_d", "c1_r", "c2_d", "c2_r", "c3_d", "c3_r", "c4")
"""Names of a cell's seven operations: d distils, r refines."""
LIGHT_CELL: tuple[OpKind, ...] = ("skip", "residual1", "residual3", "conv3", "conv3", "skip", "conv3")
"""What the search of the paper found for the illumination."""
NOISE_CELL: tuple[OpKind, ...] = ("residual1", "residual1", "residual3", "skip", "residual1", "residual1", "skip")
"""What it found for the denoiser."""


class Operation(nn.Module):
    """One searched operation: N x C x H x W to the same shape.

    "residual1" is a 1x1 and "residual3" a dilated 3x3 convolution, each added to its input.
    """

    def __init__(self, kind: OpKind, channels: int) -> None:
        super().__init__()
        self.residual = kind.startswith("residual")
        make: dict[str, Callable[[], nn.Module]] = {
            "skip": nn.Identity,
            "conv3": lambda: nn.Conv2d(channels, channels, 3, padding=1),
            "residual1": lambda: nn.Conv2d(channels, channels, 1),
            "residual3": lambda: nn.Conv2d(channels, channels, 3, padding=2, dilation=2),
        }
        self.op = make[kind]()

    def forward(self, features: Tensor) -> Tensor:
        """Transform N x C x H x W."""
        transformed: Tensor = self.op(features)
        return features + transformed if self.residual else transformed


class Cell(nn.Module):
    """The distillation cell that the operations stand in: N x C x H x W to the same shape."""

    def __init__(self, kinds: tuple[OpKind, ...], channels: int) -> None:
        super().__init__()
        for name, kind in zip(OPS, kinds, strict=True):
            self.add_module(name, Operation(kind, channels))
        self.c5 = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Refine step by step, and join what each step distils."""
        distilled = []
        for distil, refine in (("c1_d", "c1_r"), ("c2_d", "c2_r"), ("c3_d", "c3_r")):
            distilled.append(self._act(self.get_submodule(distil)(features)))
            features = self._act(self.get_submodule(refine)(features) + features)
        distilled.append(self._act(self.get_submodule("c4")(features)))
        joined: Tensor = self.c5(torch.cat(distilled, dim=1))
        return joined

    @staticmethod
    def _act(features: Tensor) -> Tensor:
        return F.leaky_relu(features, SLOPE)


class IlluminationStep(nn.Module):
    """From a guess of the illumination, N x 3 x H x W, to a better one in [0.001, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell(LIGHT_CELL, 3)

    def forward(self, guess: Tensor) -> Tensor:
        """Refine the guess."""
        return torch.sigmoid(self.cell(guess)).clamp(DARKEST, 1.0)


def spread_light(image: Tensor) -> Tensor:
    """Maximum of each value and its neighbours to the right, below and both: N x 3 x H x W to the same shape.

    Behind the last row and column stand zeros, which negative values meet.
    """
    return F.max_pool2d(F.pad(image, (0, 1, 0, 1)), 2, stride=1)


class EnhanceNet(nn.Module):
    """Divides the picture by an illumination estimated in three steps (equation 6 of the paper)."""

    def __init__(self) -> None:
        super().__init__()
        self.iems = nn.ModuleList(IlluminationStep() for _ in range(3))

    def forward(self, image: Tensor) -> Tensor:
        """Light up N x 3 x H x W; the result lies in [0, 1]."""
        lit = image
        guess = spread_light(image)
        for step in self.iems:
            lit = (image / step(guess)).clamp(0, 1)
            guess = spread_light(lit) - 0.5 * (lit - image)
        return lit


class DenoiseNet(nn.Module):
    """Estimates the noise of a lit picture in three cells and takes it away."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.nrms = nn.ModuleList(Cell(NOISE_CELL, channels) for _ in range(3))
        self.activate = nn.Sequential(nn.Conv2d(channels, 3, 3, padding=1))

    def forward(self, lit: Tensor) -> Tensor:
        """Clean N x 3 x H x W."""
        features = self.stem(lit)
        for cell in self.nrms:
            features = cell(features)
        cleaned: Tensor = lit - self.activate(features)
        return cleaned


class Ruas(Convolutional):
    """RUAS (figure 2 of the paper).

    Args:
        variant: which of the authors' three models it is: "lol" denoises, "upe" and "dark" (trained on MIT-Adobe
            FiveK and DarkFace) give the picture before the denoiser, although their files hold one, too.
    """

    def __init__(self, variant: Trained = "lol") -> None:
        super().__init__()
        if variant not in get_args(Trained):
            raise ModelError(f"RUAS's variant must be one of {', '.join(get_args(Trained))}. Got {variant!r}.")
        self.variant = variant
        self.enhance_net = EnhanceNet()
        self.denoise_net = DenoiseNet(6)

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape."""
        lit: Tensor = self.enhance_net(image)
        return self.denoise_net(lit) if self.variant == "lol" else lit


register({"ruas": Variant(Ruas, summary="RUAS as published for LOL")})
