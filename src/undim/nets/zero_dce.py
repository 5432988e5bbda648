"""Zero-DCE: a small network draws eight curves for every pixel, which are applied one after another.

Paper: Guo et al., "Zero-Reference Deep Curve Estimation for Low-Light Image Enhancement", CVPR 2020.
Licence: written from the paper. The parameter names equal those of the published checkpoint, whose own licence
(CC BY-NC 4.0 by its README) applies to whoever loads it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.nets.convolutional import Convolutional
from undim.nets.registry import Variant, register

CURVES = 8


def apply_curves(image: Tensor, curves: Tensor) -> Tensor:
    """Brighten or darken every value by one curve after another: x + r (x^2 - x) (equation 4 of the paper).

    Args:
        image: N x 3 x H x W in [0, 1].
        curves: N x 3K x H x W in [-1, 1], the parameters r of K curves, three channels each.

    Returns:
        N x 3 x H x W, in [0, 1].
    """
    for curve in curves.split(3, dim=1):
        image = image + curve * (image.square() - image)
    return image


class ZeroDce(Convolutional):
    """Zero-DCE (figure 2 of the paper).

    Args:
        filters: channels of every layer but the last.
    """

    def __init__(self, filters: int = 32) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1)

        self.e_conv1 = conv(3, filters)
        self.e_conv2 = conv(filters, filters)
        self.e_conv3 = conv(filters, filters)
        self.e_conv4 = conv(filters, filters)
        self.e_conv5 = conv(2 * filters, filters)
        self.e_conv6 = conv(2 * filters, filters)
        self.e_conv7 = conv(2 * filters, 3 * CURVES)

    def estimate_curves(self, image: Tensor) -> Tensor:
        """The parameters of the eight curves in [-1, 1]: N x 3 x H x W to N x 24 x H x W."""
        features1 = F.relu(self.e_conv1(image))
        features2 = F.relu(self.e_conv2(features1))
        features3 = F.relu(self.e_conv3(features2))
        features = F.relu(self.e_conv4(features3))
        features = F.relu(self.e_conv5(torch.cat([features3, features], dim=1)))
        features = F.relu(self.e_conv6(torch.cat([features2, features], dim=1)))
        return torch.tanh(self.e_conv7(torch.cat([features1, features], dim=1)))

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape."""
        return apply_curves(image, self.estimate_curves(image))


register({"zero_dce": Variant(ZeroDce, summary="Zero-DCE as published")})
