"""EnlightenGAN: a U-shape whose features are weighted by how dark each place is (the generator alone).

Paper: Jiang et al., "EnlightenGAN: Deep Light Enhancement Without Paired Supervision", IEEE TIP 2021.
Licence: written from the paper. The parameter names equal those of the published checkpoint (BSD style licence).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ModelError, ShapeError
from undim.nets.convolutional import Convolutional
from undim.nets.padding import reflect
from undim.nets.registry import Variant, register
from undim.nets.rgb_weights import RgbWeights

SLOPE = 0.2
"""Of every leaky ReLU."""


class EnlightenGan(Convolutional):
    """EnlightenGAN's generator (figure 2 of the paper). Its output is scaled from [-1, 1] to [0, 1].

    Args:
        width: channels of the first level; level l has `width * 2**l`.
        align_corners: how features are enlarged. The authors' weights were trained with a PyTorch that aligned corners;
            run with one of today, their code does not.
        halve_above: width in pixels; wider pictures are halved (means of 2 x 2), and the result is doubled (bilinear).
            2200 in the authors' evaluation; 0 for never.

    Raises:
        ModelError: if `halve_above` is negative.
    """

    multiple_of: ClassVar[int] = 16

    def __init__(self, width: int = 32, align_corners: bool = False, halve_above: int = 0) -> None:
        super().__init__()
        if halve_above < 0:
            raise ModelError(f"The width above which pictures are halved must not be negative. Got {halve_above}.")
        self.align_corners = align_corners
        self.halve_above = halve_above
        self.luma = RgbWeights()
        widths = [width * 2**level for level in range(5)]
        for level, (inputs, outputs) in enumerate(zip((4, *widths[:-1]), widths, strict=True), start=1):
            self._add_units(level, inputs, outputs)
        for level, outputs in enumerate(reversed(widths[:-1]), start=5):
            self.add_module(f"deconv{level}", nn.Conv2d(2 * outputs, outputs, 3, padding=1))
            self._add_units(level + 1, 2 * outputs, outputs)
        del self.bn9_2
        self.conv10 = nn.Conv2d(width, 3, 1)

    def _add_units(self, level: int, inputs: int, outputs: int) -> None:
        for half in (1, 2):
            self.add_module(f"conv{level}_{half}", nn.Conv2d(inputs, outputs, 3, padding=1))
            self.add_module(f"bn{level}_{half}", nn.BatchNorm2d(outputs))
            inputs = outputs

    def _unit(self, name: str, features: Tensor) -> Tensor:
        """Convolution, activation, then normalisation where there is one."""
        features = F.leaky_relu(self.get_submodule(f"conv{name}")(features), SLOPE)
        norm = self._modules.get(f"bn{name}")
        return features if norm is None else norm(features)

    def forward(self, image: Tensor, attention: Tensor | None = None) -> Tensor:
        """Enhance pictures.

        Args:
            image: N x 3 x H x W RGB, values in [0, 1], H and W at least 8.
            attention: N x 1 x H x W in [0, 1], how much each place is to be enhanced; 1 - luma (Rec.601) if `None`.

        Returns:
            N x 3 x H x W, not clamped.

        Raises:
            ShapeError: if the shape of the pictures or of `attention` is another one.
        """
        self.check(image)
        if attention is None:
            attention = 1 - self.luma(image)
        if attention.shape != (expected := (image.shape[0], 1, *image.shape[-2:])):
            raise ShapeError(f"The attention must have the shape {expected}. Got {tuple(attention.shape)}.")
        if not self.halve_above or image.shape[-1] <= self.halve_above:
            return self._pad_and_generate(image, attention)
        half = (F.avg_pool2d(part, 2, ceil_mode=True, count_include_pad=False) for part in (image, attention))
        size = image.shape[-2:]
        return F.interpolate(self._pad_and_generate(*half), size, mode="bilinear", align_corners=self.align_corners)

    def _pad_and_generate(self, image: Tensor, attention: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        top, left = -height % self.multiple_of // 2, -width % self.multiple_of // 2
        bottom, right = -height % self.multiple_of - top, -width % self.multiple_of - left
        both = reflect(torch.cat([image, attention], dim=1), left, right, top, bottom)
        return self._generate(both[:, :3], both[:, 3:])[..., top : top + height, left : left + width]

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape, H and W being multiples of 16."""
        return self._generate(image, 1 - self.luma(image))

    def _generate(self, image: Tensor, attention: Tensor) -> Tensor:
        signed, whole = 2 * image - 1, attention
        features = torch.cat([signed, attention], dim=1)
        passed: list[Tensor] = []
        for level in (1, 2, 3, 4):
            features = self._unit(f"{level}_2", self._unit(f"{level}_1", features))
            passed.append(features * attention)
            features, attention = F.max_pool2d(features, 2), F.max_pool2d(attention, 2)
        features = self._unit("5_2", self._unit("5_1", features) * attention)
        for level in (5, 6, 7, 8):
            enlarged = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=self.align_corners)
            enlarged = self.get_submodule(f"deconv{level}")(enlarged)
            joined = torch.cat([enlarged, passed.pop()], dim=1)
            features = self._unit(f"{level + 1}_2", self._unit(f"{level + 1}_1", joined))
        residual = self.conv10(features) * whole
        generated: Tensor = (residual + signed + 1) / 2
        return generated


register({"enlightengan": Variant(EnlightenGan, summary="EnlightenGAN's generator as published")})
