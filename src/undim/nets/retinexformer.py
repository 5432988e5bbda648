"""Retinexformer: an estimate of the illumination guides the attention of a three-level U-shape.

Paper: Cai et al., "Retinexformer: One-stage Retinex-based Transformer for Low-light Image Enhancement", ICCV 2023.
Licence: written from the paper. The parameter names equal those of the published checkpoints (MIT).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from undim.errors import ModelError
from undim.nets.backbone import Backbone, Depth, FeedForwardBase, FlopsRule, QkvAttention, Stage
from undim.nets.channel_attention import channel_attention
from undim.nets.hidden_channels import HiddenConv
from undim.nets.registry import Variant, register


def channels_last(features: Tensor) -> Tensor:
    """B x C x H x W seen as B x H x W x C."""
    return features.permute(0, 2, 3, 1)


def channels_first(features: Tensor) -> Tensor:
    """B x H x W x C seen as B x C x H x W."""
    return features.permute(0, 3, 1, 2)


class IlluminationEstimator(nn.Module):
    """Estimates how much each pixel is to be lit up, and features that say where (section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, channels, 1)
        self.depth_conv = nn.Conv2d(channels, channels, 5, padding=2, groups=4)
        self.conv2 = nn.Conv2d(channels, 3, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """B x 3 x H x W to illumination features B x C x H x W and the light-up map B x 3 x H x W."""
        prior = image.mean(dim=1, keepdim=True)
        features = self.depth_conv(self.conv1(torch.cat([image, prior], dim=1)))
        return features, self.conv2(features)


class Attention(QkvAttention):
    """Illumination-guided channel attention plus a position term from the unguided values (section 3.2)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(3 * channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.rescale = nn.Parameter(torch.ones(heads, 1, 1))
        self.proj = nn.Linear(channels, channels)
        self.pos_emb = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        )

    def forward(self, features: Tensor, illumination: Tensor) -> Tensor:
        """Mix the channels of B x C x H x W under the guidance of illumination features of the same shape."""
        pixels = channels_last(features)
        query, key, value = (channels_first(project(pixels)) for project in (self.to_q, self.to_k, self.to_v))
        if self.adr is not None:
            # Before the guidance: the backbone's own illumination keeps the last word.
            query, key, value = self.reallocate(torch.cat([query, key, value], dim=1)).chunk(3, dim=1)
        # The rows of this paper's attention belong to the keys (equation 6).
        mixed = channel_attention(key, query, value * illumination, self.rescale)
        projected = channels_first(self.proj(channels_last(mixed)))
        position: Tensor = self.pos_emb(value)
        return projected + position


class FeedForward(FeedForwardBase):
    """Two 1x1 convolutions around a depth-wise 3x3: B x C x H x W to the same shape."""

    hidden_convs: ClassVar[tuple[HiddenConv, ...]] = (
        HiddenConv("net.0", "makes"),
        HiddenConv("net.2", "passes"),
        HiddenConv("net.4", "reads"),
    )

    def __init__(self, channels: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = channels * expansion
        self.net = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False),
            nn.GELU(),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Transform B x C x H x W."""
        transformed: Tensor = self.net(features)
        return transformed


class Normalised(nn.Module):
    """A layer applied to features normalised over their channels."""

    def __init__(self, channels: int, layer: nn.Module) -> None:
        super().__init__()
        self.fn = layer
        self.norm = nn.LayerNorm(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise B x C x H x W over C and apply the layer."""
        transformed: Tensor = self.fn(channels_first(self.norm(channels_last(features))))
        return transformed


class Blocks(nn.Module):
    """A row of illumination-guided attention blocks; a block's two layers are entries 0 and 1 of a list."""

    blocks: nn.ModuleList

    def __init__(self, channels: int, heads: int, count: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList([Attention(channels, heads), Normalised(channels, FeedForward(channels))])
            for _ in range(count)
        )

    def forward(self, features: Tensor, illumination: Tensor) -> Tensor:
        """Refine B x C x H x W under the guidance of illumination features of the same shape."""
        for block in self.blocks:
            attention, feed_forward = block.children()
            features = features + attention(features, illumination)
            features = features + feed_forward(features)
        return features


class Restorer(nn.Module):
    """Removes from a lit-up picture the noise and the false colours that lighting up brought out (section 3.2)."""

    def __init__(self, channels: int, num_blocks: Sequence[int]) -> None:
        super().__init__()
        levels = len(num_blocks) - 1
        widths = [channels * 2**level for level in range(levels + 1)]

        def halve(width: int) -> nn.Conv2d:
            return nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False)

        self.embedding = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.encoder_layers = nn.ModuleList(
            nn.ModuleList([Blocks(width, 2**level, count), halve(width), halve(width)])
            for level, (width, count) in enumerate(zip(widths[:-1], num_blocks[:-1], strict=True))
        )
        self.bottleneck = Blocks(widths[-1], 2**levels, num_blocks[-1])
        self.decoder_layers = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.ConvTranspose2d(2 * widths[level], widths[level], 2, stride=2),
                    nn.Conv2d(2 * widths[level], widths[level], 1, bias=False),
                    Blocks(widths[level], 2**level, num_blocks[level]),
                ]
            )
            for level in reversed(range(levels))
        )
        self.mapping = nn.Conv2d(channels, 3, 3, padding=1, bias=False)

    def forward(self, lit: Tensor, illumination: Tensor) -> Tensor:
        """Clean B x 3 x H x W, given illumination features B x C x H x W."""
        features = self.embedding(lit)
        passed: list[tuple[Tensor, Tensor]] = []  # features and illumination of the levels above, for the way up
        for level in self.encoder_layers:
            blocks, halve_features, halve_illumination = level.children()
            features = blocks(features, illumination)
            passed.append((features, illumination))
            features, illumination = halve_features(features), halve_illumination(illumination)
        features = self.bottleneck(features, illumination)
        for level in self.decoder_layers:
            double, fuse, blocks = level.children()
            skipped, illumination = passed.pop()
            features = blocks(fuse(torch.cat([double(features), skipped], dim=1)), illumination)
        cleaned: Tensor = self.mapping(features) + lit
        return cleaned


class RetinexStage(nn.Module):
    """Light up, then clean: B x 3 x H x W to the same shape."""

    def __init__(self, channels: int, num_blocks: Sequence[int]) -> None:
        super().__init__()
        self.estimator = IlluminationEstimator(channels)
        self.denoiser = Restorer(channels, num_blocks)

    def forward(self, image: Tensor) -> Tensor:
        """Enhance B x 3 x H x W."""
        illumination, light_up = self.estimator(image)
        cleaned: Tensor = self.denoiser(image + image * light_up, illumination)
        return cleaned


class Retinexformer(Backbone):
    """Retinexformer (figure 2 of the paper).

    Args:
        n_feat: channels of the first level, a multiple of 4; level l has `n_feat * 2**l` in `2**l` heads.
        stage: how many times the whole network is applied, each time with weights of its own.
        num_blocks: attention blocks of level 1, level 2 and the bottleneck; the decoder repeats the first two.
    """

    multiple_of: ClassVar[int] = 4
    adr_bottleneck: ClassVar[int] = 16
    flops_rule: ClassVar[FlopsRule] = "thop"
    depths: ClassVar[tuple[Depth, ...]] = (
        Depth("num_blocks", 0, ("body.*.encoder_layers.0.0.blocks", "body.*.decoder_layers.1.2.blocks")),
        Depth("num_blocks", 1, ("body.*.encoder_layers.1.0.blocks", "body.*.decoder_layers.0.2.blocks")),
        Depth("num_blocks", 2, ("body.*.bottleneck.blocks",)),
    )
    stages: ClassVar[dict[str, Stage]] = {
        "body.*.denoiser.encoder_layers.0": Stage("encoder1", "encoder"),
        "body.*.denoiser.encoder_layers.1": Stage("encoder2", "encoder"),
        # The paper's ADR acts in the bottleneck too, which its FLOPs settle.
        "body.*.denoiser.bottleneck": Stage("bottleneck", "decoder"),
        "body.*.denoiser.decoder_layers.0": Stage("decoder2", "decoder"),
        "body.*.denoiser.decoder_layers.1": Stage("decoder1", "decoder"),
    }

    def __init__(self, n_feat: int = 40, stage: int = 1, num_blocks: Sequence[int] = (1, 2, 2)) -> None:
        super().__init__()
        if len(num_blocks) != 3:
            raise ModelError(f"Retinexformer has three levels. Got num_blocks={tuple(num_blocks)}: give three numbers.")
        self.body = nn.Sequential(*(RetinexStage(n_feat, num_blocks) for _ in range(stage)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the linear layers as published for training: truncated normal, standard deviation 0.02, zero bias."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape, H and W being multiples of 4."""
        restored: Tensor = self.body(image)
        return restored


register(
    {
        "retinexformer": Variant(Retinexformer, summary="Retinexformer as published for LOL"),
        "retinexformer_small": Variant(
            Retinexformer, {"n_feat": 16}, summary="Retinexformer for controlled studies on a CPU"
        ),
    }
)
