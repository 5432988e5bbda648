"""Restormer: channel attention and gated depth-wise convolutions in a four-level U-shape.

Paper: Zamir et al., "Restormer: Efficient Transformer for High-Resolution Image Restoration", CVPR 2022.
Licence: written from the paper; the authors' code (academic use only) was not read. The parameter names equal those of
the published checkpoints, whose own licence applies to whoever loads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ModelError
from undim.nets.backbone import Backbone, Depth, FeedForwardBase, FlopsRule, QkvAttention, Stage
from undim.nets.channel_attention import channel_attention
from undim.nets.full_precision import widen_half
from undim.nets.hidden_channels import HiddenConv
from undim.nets.registry import Variant, register

NormKind = Literal["WithBias", "BiasFree"]
EPS = 1e-5  # added to the variance in layer normalisation


class Attention(QkvAttention):
    """Multi-Dconv head transposed attention (section 3.1): B x C x H x W to the same shape."""

    def __init__(self, channels: int, heads: int, bias: bool) -> None:
        super().__init__(3 * channels)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=bias)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """Mix the channels of B x C x H x W."""
        qkv = self.reallocate(self.qkv_dwconv(self.qkv(features)))
        query, key, value = qkv.chunk(3, dim=1)
        mixed: Tensor = self.project_out(channel_attention(query, key, value, self.temperature))
        return mixed


class FeedForward(FeedForwardBase):
    """Gated-Dconv feed-forward network (section 3.2): B x C x H x W to the same shape."""

    hidden_convs: ClassVar[tuple[HiddenConv, ...]] = (
        HiddenConv("project_in", "makes", times=2),
        HiddenConv("dwconv", "passes", times=2),
        HiddenConv("project_out", "reads"),
    )

    def __init__(self, channels: int, expansion: float, bias: bool) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """Transform B x C x H x W, one half of the hidden channels gating the other."""
        gate, content = self.dwconv(self.project_in(features)).chunk(2, dim=1)
        transformed: Tensor = self.project_out(F.gelu(gate) * content)
        return transformed


class ChannelNorm(nn.Module):
    """Layer normalisation of every pixel over its channels: B x C x H x W to the same shape.

    "BiasFree" divides by the standard deviation and keeps the mean.
    """

    bias: nn.Parameter | None

    def __init__(self, channels: int, kind: NormKind) -> None:
        super().__init__()
        if kind not in ("WithBias", "BiasFree"):
            raise ModelError(f"layer_norm must be 'WithBias' or 'BiasFree'. Got {kind!r}.")
        self.weight = nn.Parameter(torch.ones(channels))
        self.register_parameter("bias", nn.Parameter(torch.zeros(channels)) if kind == "WithBias" else None)

    def reset_parameters(self) -> None:
        """Return to the constructor's values."""
        nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise B x C x H x W over C."""
        if self.bias is None:
            wide = widen_half(features)
            centred = wide - wide.mean(dim=1, keepdim=True)
            deviation = (centred.square().mean(dim=1, keepdim=True) + EPS).sqrt()
            return (wide / deviation).to(features.dtype) * self.weight[:, None, None]
        # The fused kernel wants the channels last; the convolution that follows then runs in that layout, too.
        pixels = F.layer_norm(features.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, EPS)
        return pixels.permute(0, 3, 1, 2)


class Norm(nn.Module):
    """Layer normalisation under the checkpoints' name `body`."""

    def __init__(self, channels: int, kind: NormKind) -> None:
        super().__init__()
        self.body = ChannelNorm(channels, kind)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise B x C x H x W over C."""
        normalised: Tensor = self.body(features)
        return normalised


class Block(nn.Module):
    """Attention and feed-forward, each on normalised features and added to its input."""

    def __init__(self, channels: int, heads: int, expansion: float, bias: bool, layer_norm: NormKind) -> None:
        super().__init__()
        self.norm1 = Norm(channels, layer_norm)
        self.attn = Attention(channels, heads, bias)
        self.norm2 = Norm(channels, layer_norm)
        self.ffn = FeedForward(channels, expansion, bias)

    def forward(self, features: Tensor) -> Tensor:
        """Refine B x C x H x W."""
        features = features + self.attn(self.norm1(features))
        refined: Tensor = features + self.ffn(self.norm2(features))
        return refined


class Embedding(nn.Module):
    """The 3x3 convolution from colours to features: B x 3 x H x W to B x C x H x W."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, 3, padding=1, bias=bias)

    def forward(self, image: Tensor) -> Tensor:
        """Embed B x 3 x H x W."""
        features: Tensor = self.proj(image)
        return features


class Resample(nn.Module):
    """A 3x3 convolution that halves or doubles the channels, then pixels moved from or into them.

    `down=True`: B x C x H x W to B x 2C x H/2 x W/2; otherwise to B x C/2 x 2H x 2W.
    """

    def __init__(self, channels: int, down: bool) -> None:
        super().__init__()
        width, shuffle = (channels // 2, nn.PixelUnshuffle(2)) if down else (channels * 2, nn.PixelShuffle(2))
        self.body = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), shuffle)

    def forward(self, features: Tensor) -> Tensor:
        """Change the resolution of B x C x H x W by the factor 2."""
        resampled: Tensor = self.body(features)
        return resampled


class Restormer(Backbone):
    """Restormer (figure 2 of the paper).

    Args:
        dim: channels of the first level; even, and level l has `dim * 2**l`.
        num_blocks: blocks of levels 1 to 4; the decoder repeats the first three.
        num_refinement_blocks: blocks at full resolution after the decoder.
        heads: attention heads of levels 1 to 4; refinement uses the first.
        ffn_expansion_factor: hidden channels of the feed-forward layers per channel.
        bias: whether convolutions have a bias.
        layer_norm: "WithBias", or "BiasFree" as published for denoising.
    """

    multiple_of: ClassVar[int] = 8
    adr_bottleneck: ClassVar[int] = 4
    flops_rule: ClassVar[FlopsRule] = "fvcore"
    depths: ClassVar[tuple[Depth, ...]] = (
        Depth("num_blocks", 0, ("encoder_level1", "decoder_level1")),
        Depth("num_blocks", 1, ("encoder_level2", "decoder_level2")),
        Depth("num_blocks", 2, ("encoder_level3", "decoder_level3")),
        Depth("num_blocks", 3, ("latent",)),
        Depth("num_refinement_blocks", None, ("refinement",)),
    )
    stages: ClassVar[dict[str, Stage]] = {
        "encoder_level1": Stage("encoder1", "encoder"),
        "encoder_level2": Stage("encoder2", "encoder"),
        "encoder_level3": Stage("encoder3", "encoder"),
        "latent": Stage("latent", "latent"),
        "decoder_level3": Stage("decoder3", "decoder"),
        "decoder_level2": Stage("decoder2", "decoder"),
        "decoder_level1": Stage("decoder1", "decoder"),
        "refinement": Stage("refinement", "decoder"),
    }

    def __init__(
        self,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        layer_norm: NormKind = "WithBias",
    ) -> None:
        super().__init__()

        def stage(channels: int, count: int, heads: int) -> nn.Sequential:
            return nn.Sequential(
                *(Block(channels, heads, ffn_expansion_factor, bias, layer_norm) for _ in range(count))
            )

        self.patch_embed = Embedding(dim, bias)
        self.encoder_level1 = stage(dim, num_blocks[0], heads[0])
        self.down1_2 = Resample(dim, down=True)
        self.encoder_level2 = stage(2 * dim, num_blocks[1], heads[1])
        self.down2_3 = Resample(2 * dim, down=True)
        self.encoder_level3 = stage(4 * dim, num_blocks[2], heads[2])
        self.down3_4 = Resample(4 * dim, down=True)
        self.latent = stage(8 * dim, num_blocks[3], heads[3])

        self.up4_3 = Resample(8 * dim, down=False)
        self.reduce_chan_level3 = nn.Conv2d(8 * dim, 4 * dim, 1, bias=bias)
        self.decoder_level3 = stage(4 * dim, num_blocks[2], heads[2])
        self.up3_2 = Resample(4 * dim, down=False)
        self.reduce_chan_level2 = nn.Conv2d(4 * dim, 2 * dim, 1, bias=bias)
        self.decoder_level2 = stage(2 * dim, num_blocks[1], heads[1])
        # The first level keeps the 2 dim channels of its concatenation.
        self.up2_1 = Resample(2 * dim, down=False)
        self.decoder_level1 = stage(2 * dim, num_blocks[0], heads[0])
        self.refinement = stage(2 * dim, num_refinement_blocks, heads[0])
        self.output = nn.Conv2d(2 * dim, 3, 3, padding=1, bias=bias)

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape, H and W being multiples of 8."""
        encoder1 = self.encoder_level1(self.patch_embed(image))  # (N, dim, H, W)
        encoder2 = self.encoder_level2(self.down1_2(encoder1))  # (N, 2 dim, H / 2, W / 2)
        encoder3 = self.encoder_level3(self.down2_3(encoder2))  # (N, 4 dim, H / 4, W / 4)
        features = self.latent(self.down3_4(encoder3))  # (N, 8 dim, H / 8, W / 8)

        features = self.reduce_chan_level3(torch.cat([self.up4_3(features), encoder3], dim=1))
        features = self.decoder_level3(features)
        features = self.reduce_chan_level2(torch.cat([self.up3_2(features), encoder2], dim=1))
        features = self.decoder_level2(features)
        features = torch.cat([self.up2_1(features), encoder1], dim=1)  # (N, 2 dim, H, W)
        features = self.refinement(self.decoder_level1(features))
        restored: Tensor = self.output(features) + image
        return restored


register(
    {
        "restormer": Variant(Restormer, summary="Restormer as published"),
        "restormer_small": Variant(
            Restormer,
            {"dim": 12, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1},
            summary="Restormer for controlled studies on a CPU",
        ),
    }
)
