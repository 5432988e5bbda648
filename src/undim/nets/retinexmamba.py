"""RetinexMamba: Retinexformer's shape, its blocks fusing the illumination by attention and scanning in four directions.

Paper: Bai et al., "RetinexMamba: Retinex-based Mamba for Low-light Image Enhancement", 2024.
Licence: written from the paper. The parameter names equal those of the published network (MIT).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ModelError
from undim.nets.backbone import Backbone, FlopsRule, QkvAttention, Stage
from undim.nets.channel_attention import channel_attention
from undim.nets.registry import Variant, register
from undim.nets.restormer import FeedForward as GatedFeedForward
from undim.nets.restormer import Norm
from undim.nets.retinexformer import FeedForward, IlluminationEstimator, Normalised, channels_first, channels_last
from undim.nets.selective_scan import selective_scan

DIRECTIONS = 4
SHORTEST, LONGEST = 0.001, 0.1
"""Steps of the scan at the start, drawn between them on a logarithmic scale."""


class Attention(QkvAttention):
    """Channel attention that asks with the illumination: B x C x H x W to the same shape."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(3 * channels)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.kv = nn.Conv2d(channels, 2 * channels, 1)
        self.kv_dwconv = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.q_dwconv = nn.Conv2d(channels, channels, 3, padding=1)  # not depth-wise, for all its name
        self.project_out = nn.Conv2d(channels, channels, 1)

    def forward(self, illumination: Tensor, features: Tensor) -> Tensor:
        """Mix the channels of the features, asked for by the illumination, both B x C x H x W."""
        query = self.q_dwconv(self.q(illumination))
        key, value = self.kv_dwconv(self.kv(features)).chunk(2, dim=1)
        if self.adr is not None:
            query, key, value = self.reallocate(torch.cat([query, key, value], dim=1)).chunk(3, dim=1)
        mixed: Tensor = self.project_out(channel_attention(query, key, value, self.temperature))
        return mixed


class IlluminationFusion(nn.Module):
    """Attention between illumination and features, then a gated feed-forward layer (section 3.3)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.norm1 = Norm(channels, "WithBias")
        self.attn = Attention(channels, heads)
        self.norm2 = Norm(channels, "WithBias")
        self.ffn = GatedFeedForward(channels, 2.66, bias=True)

    def forward(self, features: Tensor, illumination: Tensor) -> Tensor:
        """B x C x H x W of each to features of the same shape, without what they were before."""
        guide = F.interpolate(self.conv1(illumination), size=features.shape[-2:], mode="nearest")
        fused = self.norm1(features)
        fused = fused + self.attn(self.norm1(guide), fused)
        added: Tensor = fused + self.ffn(self.norm2(fused))
        return added


class ScanFourWays(nn.Module):
    """A state space model along rows and columns, forwards and backwards (section 3.4): B x C x H x W to the same.

    Args:
        channels: C; inside there are twice as many.
        states: numbers in the state of each inner channel.
    """

    def __init__(self, channels: int, states: int) -> None:
        super().__init__()
        inner, rank = 2 * channels, math.ceil(channels / 16)
        self.states, self.rank = states, rank
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, rank + 2 * states, inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, inner, rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(DIRECTIONS, inner))
        self.A_logs = nn.Parameter(torch.empty(DIRECTIONS * inner, states))
        self.Ds = nn.Parameter(torch.empty(DIRECTIONS * inner))
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, channels, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the scan's own parameters as Mamba does: A_n = -n, steps between 0.001 and 0.1."""
        nn.init.uniform_(
            self.x_proj_weight, -(self.x_proj_weight.shape[-1] ** -0.5), self.x_proj_weight.shape[-1] ** -0.5
        )
        nn.init.uniform_(self.dt_projs_weight, -(self.rank**-0.5), self.rank**-0.5)
        steps = torch.empty_like(self.dt_projs_bias).uniform_(math.log(SHORTEST), math.log(LONGEST)).exp()
        self.dt_projs_bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # the inverse of softplus
        self.A_logs.copy_(torch.arange(1, self.states + 1, dtype=torch.float32).log().expand_as(self.A_logs))
        nn.init.ones_(self.Ds)

    def forward(self, features: Tensor) -> Tensor:
        """Scan B x C x H x W."""
        height, width = features.shape[-2:]
        inner, gate = self.in_proj(channels_last(features)).chunk(2, dim=-1)
        inner = F.silu(self.conv2d(channels_first(inner)))
        scanned = channels_last(self._scan(inner).unflatten(-1, (height, width)))
        mixed: Tensor = channels_first(self.out_proj(self.out_norm(scanned) * F.silu(gate)))
        return mixed

    def _scan(self, inner: Tensor) -> Tensor:
        """The sum of the four scans of B x D x H x W, in the order of rows: B x D x H W."""
        height, width = inner.shape[-2:]
        both = torch.stack([inner.flatten(2), inner.transpose(2, 3).flatten(2)], dim=1)
        sequences = torch.cat([both, both.flip(-1)], dim=1)  # (B, 4, D, L)
        projected = self.x_proj_weight @ sequences  # (B, 4, rank + 2 n, L)
        steps, to_state, from_state = projected.split([self.rank, self.states, self.states], dim=2)
        steps = F.softplus(self.dt_projs_weight @ steps + self.dt_projs_bias.unsqueeze(-1))
        decay = -self.A_logs.exp().unflatten(0, (DIRECTIONS, -1))
        scanned = selective_scan(
            sequences.float(), steps.float(), decay.float(), to_state.float(), from_state.float()
        ).to(sequences.dtype)
        scanned = scanned + self.Ds.view(DIRECTIONS, -1, 1) * sequences
        forth = scanned[:, :2] + scanned[:, 2:].flip(-1)
        columns = forth[:, 1].unflatten(-1, (width, height)).transpose(2, 3).flatten(2)
        joined: Tensor = forth[:, 0] + columns
        return joined


class Blocks(nn.Module):
    """A row of blocks; a block's three layers are entries 0 to 2 of a list."""

    blocks: nn.ModuleList

    def __init__(self, channels: int, heads: int, count: int, states: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    IlluminationFusion(channels, heads),
                    ScanFourWays(channels, states),
                    Normalised(channels, FeedForward(channels)),
                ]
            )
            for _ in range(count)
        )

    def forward(self, features: Tensor, illumination: Tensor) -> Tensor:
        """Refine B x C x H x W under the guidance of illumination features of the same shape."""
        for block in self.blocks:
            fuse, scan, feed_forward = block.children()
            features = features + scan(fuse(features, illumination))
            features = features + feed_forward(features)
        return features


class Restorer(nn.Module):
    """Cleans a picture that was lit up (figure 2 of the paper)."""

    def __init__(self, channels: int, num_blocks: Sequence[int], states: int) -> None:
        super().__init__()
        levels = len(num_blocks) - 1
        widths = [channels * 2**level for level in range(levels + 1)]

        def halve(width: int) -> nn.Conv2d:
            return nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False)

        self.embedding = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.encoder_layers = nn.ModuleList(
            nn.ModuleList([Blocks(width, 2**level, count, states * 2**level), halve(width), halve(width)])
            for level, (width, count) in enumerate(zip(widths[:-1], num_blocks[:-1], strict=True))
        )
        self.bottleneck = Blocks(widths[-1], 2**levels, num_blocks[-1], states * 2**levels)
        self.decoder_layers = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.ConvTranspose2d(2 * widths[level], widths[level], 2, stride=2),
                    nn.Conv2d(2 * widths[level], widths[level], 1, bias=False),
                    # As many states as the level below: so it was published.
                    Blocks(widths[level], 2**level, num_blocks[level], states * 2 ** (level + 1)),
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
            double, join, blocks = level.children()
            skipped, illumination = passed.pop()
            features = blocks(join(torch.cat([double(features), skipped], dim=1)), illumination)
        cleaned: Tensor = self.mapping(features) + lit
        return cleaned


class RetinexStage(nn.Module):
    """Light up, then clean: B x 3 x H x W to the same shape."""

    def __init__(self, channels: int, num_blocks: Sequence[int], states: int) -> None:
        super().__init__()
        self.estimator = IlluminationEstimator(channels)
        self.Restorer = Restorer(channels, num_blocks, states)

    def forward(self, image: Tensor) -> Tensor:
        """Enhance B x 3 x H x W."""
        illumination, light_up = self.estimator(image)
        cleaned: Tensor = self.Restorer(image + image * light_up, illumination)
        return cleaned


class RetinexMamba(Backbone):
    """RetinexMamba (figure 2 of the paper).

    Args:
        n_feat: channels of the first level, a multiple of 4; level l has `n_feat * 2**l` in `2**l` heads.
        stage: how many times the whole network is applied, each time with weights of its own.
        num_blocks: blocks of level 1, level 2 and the bottleneck; the decoder repeats the first two.
        d_state: numbers in the states of level 1, doubled from level to level.
    """

    multiple_of: ClassVar[int] = 4
    adr_bottleneck: ClassVar[int] = 16
    not_in_onnx: ClassVar[str] = "its scan goes from pixel to pixel, in a loop that the exporter does not take"
    flops_rule: ClassVar[FlopsRule] = "fvcore"
    stages: ClassVar[dict[str, Stage]] = {
        "body.*.Restorer.encoder_layers.0": Stage("encoder1", "encoder"),
        "body.*.Restorer.encoder_layers.1": Stage("encoder2", "encoder"),
        # As in Retinexformer, whose shape it has.
        "body.*.Restorer.bottleneck": Stage("bottleneck", "decoder"),
        "body.*.Restorer.decoder_layers.0": Stage("decoder2", "decoder"),
        "body.*.Restorer.decoder_layers.1": Stage("decoder1", "decoder"),
    }

    def __init__(
        self, n_feat: int = 40, stage: int = 1, num_blocks: Sequence[int] = (1, 2, 2), d_state: int = 16
    ) -> None:
        super().__init__()
        if len(num_blocks) != 3:
            raise ModelError(f"RetinexMamba has three levels. Got num_blocks={tuple(num_blocks)}: give three numbers.")
        self.body = nn.Sequential(*(RetinexStage(n_feat, num_blocks, d_state) for _ in range(stage)))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape, H and W being multiples of 4."""
        restored: Tensor = self.body(image)
        return restored


register(
    {
        "retinexmamba": Variant(RetinexMamba, summary="RetinexMamba as published"),
        "retinexmamba_small": Variant(
            RetinexMamba,
            {"n_feat": 12, "num_blocks": (1, 1, 1), "d_state": 4},
            summary="RetinexMamba for controlled studies on a CPU",
        ),
    }
)
