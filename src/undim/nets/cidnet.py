"""CIDNet: intensity and colour restored by two U-shapes that attend to each other, in the HVI colour space.

Paper: Yan et al., "HVI: A New Color Space for Low-light Image Enhancement", CVPR 2025 (arXiv 2502.20272; first as
arXiv 2402.05809). Licence: written from the paper. The parameter names equal those of the published checkpoints (MIT).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from undim.errors import ModelError
from undim.nets.backbone import Backbone, FeedForwardBase, FlopsRule, QkvAttention, Stage
from undim.nets.channel_attention import channel_attention
from undim.nets.full_precision import widen, widen_half
from undim.nets.hidden_channels import HiddenConv
from undim.nets.registry import Variant, register

EPS = 1e-8  # keeps divisions of the colour transform finite
NORM_EPS = 1e-6  # added to the variance in layer normalisation
EXPANSION = 2.66  # hidden channels of the feed-forward layers per channel


def collapse_radius(intensity: Tensor, density: Tensor) -> Tensor:
    """C_k = sin(pi I / 2)^k, by which HVI shrinks the colour plane of dark pixels: same shape as the intensity."""
    # An intensity just below 0 or above 2, where the sine is negative, counts as black.
    return torch.pow((intensity * (math.pi / 2)).sin().clamp_min(0) + EPS, density)


def rgb_to_hvi(image: Tensor, density: Tensor) -> Tensor:
    """Transform RGB to HVI: two polarised colour axes and the intensity.

    H = C_k S cos(2 pi h), V = C_k S sin(2 pi h), I = max(R, G, B), with hue h and saturation S as in HSV.
    Computed at least in float32: `EPS` is zero in float16. Branch-free, and differentiable in the picture and in k. The
    order of the operations is the published one: the first
    normalisation of a network amplifies a difference in the last bit of a float up to a thousandfold.

    Args:
        image: N x 3 x H x W RGB, values in [0, 1].
        density: k of C_k, one positive number; a smaller k keeps more of the colour of dark pixels.

    Returns:
        N x 3 x H x W: H and V in [-1, 1], I in [0, 1].
    """
    wide = widen(image)
    red, green, blue = wide.unbind(dim=1)
    intensity = wide.amax(dim=1)
    chroma = intensity - wide.amin(dim=1)
    divisor = chroma + EPS
    sixths = torch.where(  # the hue in sixths of the circle; grey pixels get 0, and their saturation is 0 as well
        red == intensity,
        torch.remainder((green - blue) / divisor, 6),
        torch.where(green == intensity, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    radius = collapse_radius(intensity, density) * (chroma / (intensity + EPS))
    angle = sixths / 6 * (2 * math.pi)
    return torch.stack([radius * angle.cos(), radius * angle.sin(), intensity], dim=1).to(image.dtype)


def hvi_to_rgb(hvi: Tensor, density: Tensor) -> Tensor:
    """Transform HVI back to RGB: the inverse of `rgb_to_hvi` with the same k, for values it cannot have produced, too.

    Computed at least in float32. Branch-free, and differentiable in HVI and in k: the derivative in k goes through both
    directions.

    Args:
        hvi: N x 3 x H x W; H and V are clamped to [-1, 1], I to [0, 1].
        density: k of C_k, one positive number.

    Returns:
        N x 3 x H x W RGB, values in [0, 1].
    """
    horizontal, vertical, intensity = widen(hvi).unbind(dim=1)
    intensity = intensity.clamp(0, 1)
    radius = collapse_radius(intensity, density) + EPS
    horizontal = (horizontal.clamp(-1, 1) / radius).clamp(-1, 1)
    vertical = (vertical.clamp(-1, 1) / radius).clamp(-1, 1)
    # EPS and its square keep the derivatives finite on grey pixels, where hue has no meaning.
    sixths = torch.atan2(vertical + EPS, horizontal + EPS) * (3 / math.pi)  # in (-3, 3]
    saturation = (horizontal.square() + vertical.square() + EPS**2).sqrt().clamp(max=1)
    # Distance along the circle, in sixths, from the hue to red (0), green (2) and blue (-2): 0 to 3. A primary is full
    # up to 1 away, absent from 2 on.
    distance = torch.stack(
        [sixths.abs(), 3 - ((sixths - 2).abs() - 3).abs(), 3 - ((sixths + 2).abs() - 3).abs()], dim=1
    )
    lacking = (distance - 1).clamp(0, 1)
    return (intensity.unsqueeze(1) * (1 - saturation.unsqueeze(1) * lacking)).to(hvi.dtype)


class ColourTransform(nn.Module):
    """The learned parameter of HVI, and both directions of the transform with it.

    Attributes:
        density_k: k of C_k, one number, 0.2 at the start as published.
    """

    def __init__(self) -> None:
        super().__init__()
        self.density_k = nn.Parameter(torch.full([1], 0.2))

    def reset_parameters(self) -> None:
        """Return to the constructor's value."""
        nn.init.constant_(self.density_k, 0.2)

    def to_hvi(self, image: Tensor) -> Tensor:
        """N x 3 x H x W RGB in [0, 1] to HVI."""
        return rgb_to_hvi(image, self.density_k)

    def to_rgb(self, hvi: Tensor) -> Tensor:
        """N x 3 x H x W HVI to RGB in [0, 1]."""
        return hvi_to_rgb(hvi, self.density_k)


class ChannelNorm(nn.Module):
    """Layer normalisation of every pixel over its channels: B x C x H x W to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def reset_parameters(self) -> None:
        """Return to the constructor's values."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise B x C x H x W over C."""
        # Not F.layer_norm, which rounds differently: see rgb_to_hvi.
        wide = widen_half(features)
        centred = wide - wide.mean(dim=1, keepdim=True)
        deviation = (centred.square().mean(dim=1, keepdim=True) + NORM_EPS).sqrt()
        return (centred / deviation).to(features.dtype) * self.weight[:, None, None] + self.bias[:, None, None]


class CrossAttention(QkvAttention):
    """Cross attention block (section 4.2): queries from one branch; keys and values from the other."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(3 * channels)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = nn.Conv2d(channels, channels, 1, bias=False)
        self.q_dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.kv = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.kv_dwconv = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels, bias=False)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, features: Tensor, other: Tensor) -> Tensor:
        """Mix the channels of `other`, as `features` ask for it: both B x C x H x W, and so is the result."""
        query = self.q_dwconv(self.q(features))
        key_value = self.kv_dwconv(self.kv(other))
        if self.adr is None:
            key, value = key_value.chunk(2, dim=1)
        else:
            query, key, value = self.reallocate(torch.cat([query, key_value], dim=1)).chunk(3, dim=1)
        mixed: Tensor = self.project_out(channel_attention(query, key, value, self.temperature))
        return mixed


class FeedForward(FeedForwardBase):
    """Intensity enhancement or colour denoising layer (section 4.2): B x C x H x W to the same shape."""

    hidden_convs: ClassVar[tuple[HiddenConv, ...]] = (
        HiddenConv("project_in", "makes", times=2),
        HiddenConv("dwconv", "passes", times=2),
        HiddenConv("dwconv1", "passes"),
        HiddenConv("dwconv2", "passes"),
        HiddenConv("project_out", "reads"),
    )

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = int(channels * EXPANSION)

        def depthwise(width: int) -> nn.Conv2d:
            return nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)

        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=False)
        self.dwconv = depthwise(2 * hidden)
        self.dwconv1 = depthwise(hidden)
        self.dwconv2 = depthwise(hidden)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Transform B x C x H x W as a product of two halves, each the sum of itself and a squashed neighbourhood."""
        first, second = self.dwconv(self.project_in(features)).chunk(2, dim=1)
        first = first + self.dwconv1(first).tanh()
        second = second + self.dwconv2(second).tanh()
        transformed: Tensor = self.project_out(first * second)
        return transformed


class ColourBlock(nn.Module):
    """Lighten cross attention of the colour branch; its feed-forward layer replaces the features."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.gdfn = FeedForward(channels)
        self.norm = ChannelNorm(channels)
        self.ffn = CrossAttention(channels, heads)

    def forward(self, features: Tensor, other: Tensor) -> Tensor:
        """Refine B x C x H x W by what the other branch, of the same shape, knows."""
        features = features + self.ffn(self.norm(features), self.norm(other))
        refined: Tensor = self.gdfn(self.norm(features))
        return refined


class IntensityBlock(nn.Module):
    """Lighten cross attention of the intensity branch; its feed-forward layer adds to the features."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.gdfn = FeedForward(channels)
        self.ffn = CrossAttention(channels, heads)

    def forward(self, features: Tensor, other: Tensor) -> Tensor:
        """Refine B x C x H x W by what the other branch, of the same shape, knows."""
        features = features + self.ffn(self.norm(features), self.norm(other))
        refined: Tensor = features + self.gdfn(self.norm(features))
        return refined


class Edge(nn.Sequential):
    """A 3x3 convolution that repeats the border pixels: B x C x H x W to B x C' x H x W."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(nn.ReplicationPad2d(1), nn.Conv2d(channels_in, channels_out, 3, bias=False))


class Down(nn.Module):
    """Convolution and bilinear reduction: B x C x H x W to B x C' x H/2 x W/2."""

    def __init__(self, channels_in: int, channels_out: int, norm: bool) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels_out) if norm else nn.Identity()
        self.prelu = nn.PReLU()
        self.down = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.UpsamplingBilinear2d(scale_factor=0.5)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Halve the resolution of B x C x H x W."""
        halved: Tensor = self.norm(self.prelu(self.down(features)))
        return halved


class Up(nn.Module):
    """Convolution, bilinear enlargement and fusion with the encoder's features: to B x C' x 2H x 2W."""

    def __init__(self, channels_in: int, channels_out: int, norm: bool) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels_out) if norm else nn.Identity()
        self.prelu = nn.PReLU()
        self.up_scale = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.UpsamplingBilinear2d(scale_factor=2)
        )
        self.up = nn.Conv2d(2 * channels_out, channels_out, 1, bias=False)

    def forward(self, features: Tensor, skipped: Tensor) -> Tensor:
        """Double the resolution of B x C x H x W and fuse with B x C' x 2H x 2W."""
        fused = self.up(torch.cat([self.up_scale(features), skipped], dim=1))
        doubled: Tensor = self.norm(self.prelu(fused))
        return doubled


class CIDNet(Backbone):
    """CIDNet (figure 4 of the paper).

    Two facts that published checkpoints depend on: nothing reads the output of `I_LCA5` (its intensity branch goes on
    from its input), and level 3 of both encoders reads the input of `LCA2`, whose output goes to the decoder only.

    Args:
        channels: of the full-resolution level and the three below it.
        heads: attention heads of the same four levels; the first is not used.
        norm: whether changes of resolution end in a normalisation.
    """

    multiple_of: ClassVar[int] = 8
    adr_bottleneck: ClassVar[int] = 32
    flops_rule: ClassVar[FlopsRule] = "thop"
    unread: ClassVar[tuple[str, ...]] = ("I_LCA5",)
    stages: ClassVar[dict[str, Stage]] = {
        "*_LCA1": Stage("encoder1", "encoder"),
        "*_LCA2": Stage("encoder2", "encoder"),
        "*_LCA3": Stage("encoder3", "encoder"),
        "*_LCA4": Stage("decoder3", "decoder"),
        "*_LCA5": Stage("decoder2", "decoder"),
        "*_LCA6": Stage("decoder1", "decoder"),
    }

    def __init__(
        self,
        channels: Sequence[int] = (36, 36, 72, 144),
        heads: Sequence[int] = (1, 2, 4, 8),
        norm: bool = False,
    ) -> None:
        super().__init__()
        if len(channels) != 4 or len(heads) != 4:
            raise ModelError(
                f"CIDNet has four levels. Got channels={tuple(channels)} and heads={tuple(heads)}: give four of each."
            )
        c0, c1, c2, c3 = channels
        _, h1, h2, h3 = heads
        self.HVE_block0 = Edge(3, c0)
        self.HVE_block1 = Down(c0, c1, norm)
        self.HVE_block2 = Down(c1, c2, norm)
        self.HVE_block3 = Down(c2, c3, norm)

        self.HVD_block3 = Up(c3, c2, norm)
        self.HVD_block2 = Up(c2, c1, norm)
        self.HVD_block1 = Up(c1, c0, norm)
        self.HVD_block0 = Edge(c0, 2)

        self.IE_block0 = Edge(1, c0)
        self.IE_block1 = Down(c0, c1, norm)
        self.IE_block2 = Down(c1, c2, norm)
        self.IE_block3 = Down(c2, c3, norm)

        self.ID_block3 = Up(c3, c2, norm)
        self.ID_block2 = Up(c2, c1, norm)
        self.ID_block1 = Up(c1, c0, norm)
        self.ID_block0 = Edge(c0, 1)

        self.HV_LCA1 = ColourBlock(c1, h1)
        self.HV_LCA2 = ColourBlock(c2, h2)
        self.HV_LCA3 = ColourBlock(c3, h3)
        self.HV_LCA4 = ColourBlock(c3, h3)
        self.HV_LCA5 = ColourBlock(c2, h2)
        self.HV_LCA6 = ColourBlock(c1, h1)

        self.I_LCA1 = IntensityBlock(c1, h1)
        self.I_LCA2 = IntensityBlock(c2, h2)
        self.I_LCA3 = IntensityBlock(c3, h3)
        self.I_LCA4 = IntensityBlock(c3, h3)
        self.I_LCA5 = IntensityBlock(c2, h2)
        self.I_LCA6 = IntensityBlock(c1, h1)

        self.trans = ColourTransform()

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape, values in [0, 1], H and W being multiples of 8."""
        hvi = self.trans.to_hvi(image)
        # Two branches, colour (from all of HVI) and intensity (from I): level l has C_l x H / 2^l x W / 2^l.
        colour0, intensity0 = self.HVE_block0(hvi), self.IE_block0(hvi[:, 2:])
        colour, intensity = self.HVE_block1(colour0), self.IE_block1(intensity0)
        colour1, intensity1 = self.HV_LCA1(colour, intensity), self.I_LCA1(intensity, colour)
        colour, intensity = self.HVE_block2(colour1), self.IE_block2(intensity1)
        colour2, intensity2 = self.HV_LCA2(colour, intensity), self.I_LCA2(intensity, colour)
        colour, intensity = self.HVE_block3(colour), self.IE_block3(intensity)  # not of colour2, intensity2
        colour, intensity = self.HV_LCA3(colour, intensity), self.I_LCA3(intensity, colour)

        colour, intensity = self.HV_LCA4(colour, intensity), self.I_LCA4(intensity, colour)
        colour, intensity = self.HVD_block3(colour, colour2), self.ID_block3(intensity, intensity2)
        # Nothing reads what I_LCA5 returns. It runs because the published FLOPs count it; exported graphs drop it.
        colour, _ = self.HV_LCA5(colour, intensity), self.I_LCA5(intensity, colour)
        colour, intensity = self.HVD_block2(colour, colour1), self.ID_block2(intensity, intensity1)
        colour, intensity = self.HV_LCA6(colour, intensity), self.I_LCA6(intensity, colour)
        colour, intensity = self.HVD_block1(colour, colour0), self.ID_block1(intensity, intensity0)
        residual = torch.cat([self.HVD_block0(colour), self.ID_block0(intensity)], dim=1)
        return self.trans.to_rgb(hvi + residual)


register(
    {
        "cidnet": Variant(CIDNet, summary="HVI-CIDNet as published"),
        "cidnet_small": Variant(
            CIDNet, {"channels": (12, 12, 24, 48)}, summary="HVI-CIDNet for controlled studies on a CPU"
        ),
    }
)
