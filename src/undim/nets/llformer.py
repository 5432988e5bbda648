"""LLFormer: attention along rows and columns in an encoder, a U-shape and a refinement that are fused across layers.

Paper: Wang et al., "Ultra-High-Definition Low-Light Image Enhancement: A Benchmark and Transformer-Based Method",
AAAI 2023.
Licence: written from the paper; the authors' code (CC BY-NC-SA 4.0) was not read. The parameter names equal those of
the published checkpoints, whose own licence applies to whoever loads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.nets.backbone import Backbone, FeedForwardBase, FlopsRule, QkvAttention, Stage
from undim.nets.hidden_channels import HiddenConv
from undim.nets.registry import Variant, register
from undim.nets.restormer import Embedding, Norm, Resample


class RowAttention(QkvAttention):
    """Every pixel attends to the pixels of its row (section 4.1): B x C x H x W to the same shape."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(3 * channels)
        self.heads = heads
        self.fac = nn.Parameter(torch.ones(1))
        self.fin = nn.Conv2d(channels, channels, 1)
        self.q1 = nn.Conv2d(channels, 3 * channels, 1)
        self.q2 = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels)
        self.q3 = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels)

    def forward(self, features: Tensor) -> Tensor:
        """Mix the pixels of each row of B x C x H x W."""
        qkv = self.reallocate(self.q3(self.q2(self.q1(features))))
        query, key, value = (
            # (B heads, H, W, C / heads): rows are what attends to itself
            torch.unflatten(part, 1, (self.heads, -1)).permute(0, 1, 3, 4, 2).flatten(0, 1).contiguous()
            for part in qkv.chunk(3, dim=1)
        )
        query, key = F.normalize(query, dim=-1) * self.fac, F.normalize(key, dim=-1)
        # In one call, which never holds the W x W scores of all rows: 0.6 GB of a head at 600 x 400.
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        mixed = mixed.unflatten(0, (features.shape[0], self.heads))
        attended: Tensor = self.fin(mixed.permute(0, 1, 4, 2, 3).flatten(1, 2))
        return attended


class AxisAttention(nn.Module):
    """Attention along rows, then along columns: B x C x H x W to the same shape."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.row_att = RowAttention(channels, heads)
        self.col_att = RowAttention(channels, heads)

    def forward(self, features: Tensor) -> Tensor:
        """Mix the pixels of B x C x H x W."""
        turned: Tensor = self.col_att(self.row_att(features).transpose(-2, -1))
        return turned.transpose(-2, -1)


class FeedForward(FeedForwardBase):
    """Dual gated feed-forward network (section 4.1): B x C x H x W to the same shape."""

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
        """Transform B x C x H x W, each half of the hidden channels gating the other."""
        first, second = self.dwconv(self.project_in(features)).chunk(2, dim=1)
        transformed: Tensor = self.project_out(F.gelu(second) * first + F.gelu(first) * second)
        return transformed


class Block(nn.Module):
    """Attention and feed-forward, each on normalised features and added to its input."""

    def __init__(self, channels: int, heads: int, expansion: float, bias: bool) -> None:
        super().__init__()
        self.norm1 = Norm(channels, "WithBias")
        self.attn = AxisAttention(channels, heads)
        self.norm2 = Norm(channels, "WithBias")
        self.ffn = FeedForward(channels, expansion, bias)

    def forward(self, features: Tensor) -> Tensor:
        """Refine B x C x H x W."""
        features = features + self.attn(self.norm1(features))
        refined: Tensor = features + self.ffn(self.norm2(features))
        return refined


class LayerFusion(nn.Module):
    """Attention between the outputs of three stages (section 4.2): B x 3C x H x W to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(1))
        self.qkv = nn.Conv2d(3 * channels, 9 * channels, 1)
        self.qkv_dwconv = nn.Conv2d(9 * channels, 9 * channels, 3, padding=1, groups=9 * channels)
        self.project_out = nn.Conv2d(3 * channels, 3 * channels, 1)

    def forward(self, stages: Tensor) -> Tensor:
        """Mix three stages of C channels each, joined."""
        query, key, value = (
            torch.unflatten(part, 1, (3, -1)).flatten(2)  # (B, 3, C H W)
            for part in self.qkv_dwconv(self.qkv(stages)).chunk(3, dim=1)
        )
        scores = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        mixed = (scores * self.temperature).softmax(dim=-1) @ value
        fused: Tensor = stages + self.project_out(mixed.view_as(stages))
        return fused


class LLFormer(Backbone):
    """LLFormer (figure 3 of the paper). It learns the picture itself, not a residual.

    Args:
        dim: channels of the first level, a multiple of 2; level l below it has `dim * 2**l`.
        num_blocks: blocks of the four levels below; the first number is also that of the stages at full resolution.
        num_refinement_blocks: blocks of each of the three stages of the refinement.
        heads: of full resolution and the three levels below it; the lowest level has as many as the one above.
        ffn_expansion_factor: hidden channels of the feed-forward layers per channel.
        bias: whether feed-forward layers and the convolutions between stages have a bias.
    """

    multiple_of: ClassVar[int] = 16
    adr_bottleneck: ClassVar[int] = 16
    flops_rule: ClassVar[FlopsRule] = "fvcore"
    unread: ClassVar[tuple[str, ...]] = ("skip_2_1",)  # and the parameter `coefficient`
    stages: ClassVar[dict[str, Stage]] = {
        "encoder_1": Stage("encoder1", "encoder"),
        "encoder_2": Stage("encoder2", "encoder"),
        "encoder_3": Stage("encoder3", "encoder"),
        "latent": Stage("latent", "latent"),
        "decoder_level1_0": Stage("down1", "encoder"),
        "decoder_level2_0": Stage("down2", "encoder"),
        "decoder_level3_0": Stage("down3", "encoder"),
        "decoder_level4": Stage("lowest", "latent"),
        "decoder_level3_1": Stage("up3", "decoder"),
        "decoder_level2_1": Stage("up2", "decoder"),
        "decoder_level1_1": Stage("up1", "decoder"),
        "refinement_1": Stage("refinement1", "decoder"),
        "refinement_2": Stage("refinement2", "decoder"),
        "refinement_3": Stage("refinement3", "decoder"),
    }

    def __init__(
        self,
        dim: int = 16,
        num_blocks: Sequence[int] = (2, 4, 8, 16),
        num_refinement_blocks: int = 2,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
    ) -> None:
        super().__init__()

        def stage(level: int, count: int) -> nn.Sequential:
            number = heads[min(level, 3)]
            return nn.Sequential(*(Block(dim * 2**level, number, ffn_expansion_factor, bias) for _ in range(count)))

        def pair(channels: int) -> nn.Parameter:
            return nn.Parameter(torch.ones(2, channels))

        self.coefficient = nn.Parameter(torch.ones(4, 2, 8 * dim))
        self.patch_embed = Embedding(dim, bias)
        self.encoder_1 = stage(0, num_blocks[0])
        self.encoder_2 = stage(0, num_blocks[0])
        self.encoder_3 = stage(0, num_blocks[0])
        self.layer_fussion = LayerFusion(dim)
        self.conv_fuss = nn.Conv2d(3 * dim, dim, 1, bias=bias)
        self.latent = stage(0, num_blocks[0])

        self.down_1 = Resample(dim, down=True)
        self.decoder_level1_0 = stage(1, num_blocks[0])
        self.down_2 = Resample(2 * dim, down=True)
        self.decoder_level2_0 = stage(2, num_blocks[1])
        self.down_3 = Resample(4 * dim, down=True)
        self.decoder_level3_0 = stage(3, num_blocks[2])
        self.down_4 = Resample(8 * dim, down=True)
        self.decoder_level4 = stage(4, num_blocks[3])

        self.up4_3 = Resample(16 * dim, down=False)
        self.decoder_level3_1 = stage(3, num_blocks[2])
        self.up3_2 = Resample(8 * dim, down=False)
        self.decoder_level2_1 = stage(2, num_blocks[1])
        self.up2_1 = Resample(4 * dim, down=False)
        self.decoder_level1_1 = stage(1, num_blocks[0])
        self.up2_0 = Resample(2 * dim, down=False)
        self.coefficient_4_3, self.coefficient_3_2 = pair(8 * dim), pair(4 * dim)
        self.coefficient_2_1, self.coefficient_1_0 = pair(2 * dim), pair(dim)
        self.skip_4_3 = nn.Conv2d(8 * dim, 8 * dim, 1, bias=bias)
        self.skip_3_2 = nn.Conv2d(4 * dim, 4 * dim, 1, bias=bias)
        self.skip_2_1 = nn.Conv2d(2 * dim, 2 * dim, 1, bias=bias)
        self.skip_1_0 = nn.Conv2d(2 * dim, 2 * dim, 1, bias=bias)

        self.refinement_1 = stage(0, num_refinement_blocks)
        self.refinement_2 = stage(0, num_refinement_blocks)
        self.refinement_3 = stage(0, num_refinement_blocks)
        self.layer_fussion_2 = LayerFusion(dim)
        self.conv_fuss_2 = nn.Conv2d(3 * dim, dim, 1, bias=bias)
        self.output = nn.Conv2d(dim, 3, 3, padding=1, bias=bias)

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape, H and W being multiples of 16."""
        encoder1 = self.encoder_1(self.patch_embed(image))  # (N, dim, H, W)
        encoder2 = self.encoder_2(encoder1)
        encoder3 = self.encoder_3(encoder2)
        fused = self.conv_fuss(self.layer_fussion(torch.cat([encoder1, encoder2, encoder3], dim=1)))

        down1 = self.decoder_level1_0(self.down_1(fused))  # (N, 2 dim, H / 2, W / 2)
        down2 = self.decoder_level2_0(self.down_2(down1))
        down3 = self.decoder_level3_0(self.down_3(down2))
        features = self.decoder_level4(self.down_4(down3))  # (N, 16 dim, H / 16, W / 16)
        features = self.skip_4_3(_blend(self.coefficient_4_3, down3, self.up4_3(features)))
        features = self.decoder_level3_1(features)
        features = self.skip_3_2(_blend(self.coefficient_3_2, down2, self.up3_2(features)))
        features = self.decoder_level2_1(features)
        # `skip_1_0`, although `skip_2_1` was made for it: so it was published.
        features = self.skip_1_0(_blend(self.coefficient_2_1, down1, self.up2_1(features)))
        features = self.decoder_level1_1(features)
        features = _blend(self.coefficient_1_0, self.latent(fused), self.up2_0(features))

        refined1 = self.refinement_1(features)
        refined2 = self.refinement_2(refined1)
        refined3 = self.refinement_3(refined2)
        fused = self.conv_fuss_2(self.layer_fussion_2(torch.cat([refined1, refined2, refined3], dim=1)))
        restored: Tensor = self.output(fused)
        return restored


def _blend(weights: Tensor, skipped: Tensor, features: Tensor) -> Tensor:
    """Weighted sum per channel, weights 2 x C."""
    return weights[0, :, None, None] * skipped + weights[1, :, None, None] * features


register(
    {
        "llformer": Variant(LLFormer, summary="LLFormer as published"),
        "llformer_small": Variant(
            LLFormer,
            {"dim": 6, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1, "ffn_expansion_factor": 1.5},
            summary="LLFormer for controlled studies on a CPU",
        ),
    }
)
