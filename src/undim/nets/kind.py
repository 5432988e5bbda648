"""KinD: a picture is split into reflectance and illumination; one is cleaned, the other raised by a ratio.

Paper: Zhang et al., "Kindling the Darkness: A Practical Low-light Image Enhancer", ACM Multimedia 2019.
Licence: written from the paper; no licence is stated for the authors' code, which was not read. The parameter names
equal those of the published TensorFlow checkpoints, "/" written as ".".
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ModelError
from undim.nets.convolutional import Convolutional
from undim.nets.registry import Variant, register
from undim.nets.rgb_weights import RgbWeights

SLOPE = 0.2
"""Of every leaky ReLU."""
DIMMING_SIGMA = 3.0
"""Standard deviation in pixels of the blur in the demo's dimming."""
REC709 = (0.2125, 0.7154, 0.0721)
"""Weights of red, green and blue in the demo's grey."""


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _act(features: Tensor) -> Tensor:
    return F.leaky_relu(features, SLOPE)


def _halve(features: Tensor) -> Tensor:
    return F.max_pool2d(features, 2, ceil_mode=True)


def _join(double: nn.Module, features: Tensor, skipped: Tensor) -> Tensor:
    """Doubled features, cut to the size of those that were skipped, and these behind them."""
    doubled: Tensor = double(features)
    return torch.cat([doubled[..., : skipped.shape[-2], : skipped.shape[-1]], skipped], dim=1)


class DecomNet(nn.Module):
    """Splits a picture into reflectance and illumination (section 3.2.1)."""

    def __init__(self) -> None:
        super().__init__()
        self.g_conv1_1 = _conv(3, 32)
        self.g_conv2_1 = _conv(32, 64)
        self.g_conv3_1 = _conv(64, 128)
        self.g_up_1 = nn.ConvTranspose2d(128, 64, 2, stride=2, bias=False)
        self.g_conv8_1 = _conv(128, 64)
        self.g_up_2 = nn.ConvTranspose2d(64, 32, 2, stride=2, bias=False)
        self.g_conv9_1 = _conv(64, 32)
        self.g_conv10 = nn.Conv2d(32, 3, 1)
        self.l_conv1_2 = _conv(32, 32)
        self.l_conv1_4 = nn.Conv2d(64, 1, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """N x 3 x H x W to reflectance N x 3 x H x W and illumination N x 1 x H x W, both in [0, 1]."""
        full = _act(self.g_conv1_1(image))
        half = _act(self.g_conv2_1(_halve(full)))
        quarter = _act(self.g_conv3_1(_halve(half)))
        half = _act(self.g_conv8_1(_join(self.g_up_1, quarter, half)))
        features = _act(self.g_conv9_1(_join(self.g_up_2, half, full)))
        reflectance = torch.sigmoid(self.g_conv10(features))
        illumination = torch.sigmoid(self.l_conv1_4(torch.cat([_act(self.l_conv1_2(full)), features], dim=1)))
        return reflectance, illumination


class RestorationNet(nn.Module):
    """Cleans the reflectance, knowing where it was dark: a U-shape of five levels (section 3.2.2)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (32, 64, 128, 256, 512)
        for level, (inputs, width) in enumerate(zip((4, *widths[:-1]), widths, strict=True), start=1):
            self._add_pair(level, inputs, width)
        for level, width in enumerate(reversed(widths[:-1]), start=6):
            self.add_module(f"up_{level}", nn.ConvTranspose2d(2 * width, width, 2, stride=2, bias=False))
            self._add_pair(level, 2 * width, width)
        self.de_conv10 = _conv(32, 3)

    def _add_pair(self, level: int, inputs: int, width: int) -> None:
        self.add_module(f"de_conv{level}_1", _conv(inputs, width))
        self.add_module(f"de_conv{level}_2", _conv(width, width))

    def _refine(self, level: int, features: Tensor) -> Tensor:
        for half in (1, 2):
            features = _act(self.get_submodule(f"de_conv{level}_{half}")(features))
        return features

    def forward(self, reflectance: Tensor, illumination: Tensor) -> Tensor:
        """N x 3 x H x W and N x 1 x H x W to a cleaned reflectance N x 3 x H x W in [0, 1]."""
        features = self._refine(1, torch.cat([reflectance, illumination], dim=1))
        passed = []
        for level in (2, 3, 4, 5):
            passed.append(features)
            features = self._refine(level, _halve(features))
        for level in (6, 7, 8, 9):
            features = self._refine(level, _join(self.get_submodule(f"up_{level}"), features, passed.pop()))
        return torch.sigmoid(self.de_conv10(features))


class IlluminationAdjustNet(nn.Module):
    """Raises the illumination by a ratio (section 3.2.3)."""

    def __init__(self) -> None:
        super().__init__()
        self.en_conv_1 = _conv(2, 32)
        self.en_conv_2 = _conv(32, 32)
        self.en_conv_3 = _conv(32, 32)
        self.en_conv_4 = _conv(32, 1)

    def forward(self, illumination: Tensor, ratio: float) -> Tensor:
        """N x 1 x H x W to the raised illumination, of the same shape, in [0, 1]."""
        features = torch.cat([illumination, torch.full_like(illumination, ratio)], dim=1)
        for conv in (self.en_conv_1, self.en_conv_2, self.en_conv_3, self.en_conv_4):
            features = _act(conv(features))  # the last one, too
        return torch.sigmoid(features)


class Kind(Convolutional):
    """KinD (figure 2 of the paper).

    Args:
        ratio: how many times brighter the illumination is to become, above 0. The authors' demo takes 5; their figures
            on LOL take the mean ratio to the reference picture, which nobody has who needs the picture enhanced.
        heuristics: whether to do what the demo does beside the network: reflectance is dimmed where its blurred grey is
            below a half, and where the illumination is high, the picture stays as it is. Written from a description of
            one line and not compared with the demo.
    """

    local: ClassVar[bool] = False  # it pools to a sixteenth, which depends on where in steps of 16 a part begins

    def __init__(self, ratio: float = 5.0, heuristics: bool = False) -> None:
        super().__init__()
        if not ratio > 0:
            raise ModelError(f"The ratio of brightening must be above 0. Got {ratio}.")
        self.ratio = ratio
        self.heuristics = heuristics
        self.grey = RgbWeights(REC709)
        self.DecomNet = DecomNet()
        self.Restoration_net = RestorationNet()
        self.Illumination_adjust_net = IlluminationAdjustNet()

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape."""
        reflectance, illumination = self.DecomNet(image)
        restored: Tensor = self.Restoration_net(reflectance, illumination)
        adjusted: Tensor = self.Illumination_adjust_net(illumination, self.ratio)
        if not self.heuristics:
            return restored * adjusted
        dimmed = restored * dim_dark(self.grey(reflectance)) * adjusted
        blended: Tensor = illumination * image + (1 - illumination) * dimmed
        return blended


def dim_dark(grey: Tensor) -> Tensor:
    """min(1, sqrt(2 g)), g being the blurred grey, N x 1 x H x W."""
    radius = round(4 * DIMMING_SIGMA)
    places = torch.arange(-radius, radius + 1, dtype=grey.dtype, device=grey.device)
    bell = torch.exp(-0.5 * (places / DIMMING_SIGMA).square())
    bell = bell / bell.sum()
    bordered = F.pad(grey, (radius,) * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(bordered, bell.view(1, 1, 1, -1)), bell.view(1, 1, -1, 1))
    return (2 * blurred).sqrt().clamp_max(1)


register({"kind": Variant(Kind, summary="KinD as published, brightening by 5")})
