"""SNR-Net: attention between patches where a picture is noisy, convolutions where it is not.

Paper: Xu et al., "SNR-Aware Low-light Image Enhancement", CVPR 2022.
Licence: written from the paper; no licence is stated for the authors' code, which was not read. The parameter names
equal those of the published checkpoints.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ModelError, ShapeError
from undim.nets.backbone import Backbone, FeedForwardBase, FlopsRule, QkvAttention, Stage
from undim.nets.hidden_channels import HiddenConv
from undim.nets.padding import reflect
from undim.nets.registry import Variant, register
from undim.nets.rgb_weights import RgbWeights

PATCH = 4
"""Height and width of a token in features of a quarter of the size."""
BLUR = 5
"""Width in pixels of the box that the signal is estimated with."""
EPS = 1e-4
KEPT = 0.5
"""A token can be attended to if the mean of the map over it is above this."""
DROPPED = -1e9
"""What the scores of other tokens are set to: not minus infinity, for all of them may be dropped."""
SLOPE = 0.1
"""Of every leaky ReLU."""


def estimate_snr(image: Tensor, luma: RgbWeights | None = None) -> Tensor:
    """How much signal each pixel has for its noise, as a part of the most in the picture (equations 2 and 3).

    Args:
        image: N x 3 x H x W RGB in [0, 1], H and W at least 3.
        luma: on the picture's device; made anew if `None`.

    Returns:
        N x 1 x H x W in [0, 1]. One bright and flat place makes all others small.
    """
    border = BLUR // 2
    luma = luma or RgbWeights().to(image.device)
    blurred = F.avg_pool2d(reflect(image, border, border, border, border), BLUR, stride=1)
    signal: Tensor = luma(blurred)
    noise: Tensor = (luma(image) - signal).abs()
    ratio: Tensor = signal / (noise + EPS)
    return (ratio / (ratio.amax(dim=(2, 3), keepdim=True) + EPS)).clamp(0, 1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to their input: B x C x H x W to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Refine B x C x H x W."""
        refined: Tensor = features + self.conv2(F.relu(self.conv1(features)))
        return refined


class Attention(QkvAttention):
    """Attention between tokens, of which some cannot be attended to (section 3.3), added to its input."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__(3 * heads * head_width)
        self.heads = heads
        self.w_qs = nn.Linear(width, heads * head_width, bias=False)
        self.w_ks = nn.Linear(width, heads * head_width, bias=False)
        self.w_vs = nn.Linear(width, heads * head_width, bias=False)
        self.fc = nn.Linear(heads * head_width, width, bias=False)
        self.layer_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Mix tokens.

        Args:
            tokens: B x T x width.
            kept: B x T booleans, which tokens can be attended to. Where none can, all count the same.
        """
        normalised = self.layer_norm(tokens)
        query, key, value = (project(normalised) for project in (self.w_qs, self.w_ks, self.w_vs))
        if self.adr is not None:
            # The tokens stand for pixels: ADR sees B x 3C x T x 1.
            joined = torch.cat([query, key, value], dim=-1).transpose(1, 2).unsqueeze(-1)
            query, key, value = self.reallocate(joined).squeeze(-1).transpose(1, 2).chunk(3, dim=-1)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, head_width)
            for part in (query, key, value)
        )
        scores = (query / query.shape[-1] ** 0.5) @ key.transpose(-2, -1)
        scores = scores.masked_fill(~kept[:, None, None, :], DROPPED)
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(-2)
        attended: Tensor = tokens + self.fc(mixed)
        return attended


class FeedForward(FeedForwardBase):
    """Two linear layers on each token, added to their input: B x T x width to the same shape."""

    # Linear layers cannot lose hidden channels one by one yet, so networks with them are not slimmed.
    hidden_convs: ClassVar[tuple[HiddenConv, ...]] = (HiddenConv("w_1", "makes"), HiddenConv("w_2", "reads"))

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, hidden)
        self.w_2 = nn.Linear(hidden, width)
        self.layer_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform each token."""
        transformed: Tensor = tokens + self.w_2(F.relu(self.w_1(self.layer_norm(tokens))))
        return transformed


class Layer(nn.Module):
    """Attention, then the feed-forward layer."""

    def __init__(self, width: int, hidden: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.slf_attn = Attention(width, heads, head_width)
        self.pos_ffn = FeedForward(width, hidden)

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Refine B x T x width; `kept` as in `Attention`."""
        refined: Tensor = self.pos_ffn(self.slf_attn(tokens, kept))
        return refined


class Transformer(nn.Module):
    """Layers in a row, without a code for positions."""

    def __init__(self, layers: int, width: int, hidden: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.layer_stack = nn.ModuleList(Layer(width, hidden, heads, head_width) for _ in range(layers))

    def forward(self, features: Tensor, snr: Tensor) -> Tensor:
        """B x C x h x w and its map B x 1 x h x w to B x C x h x w, h and w being multiples of `PATCH`."""
        tokens = F.unfold(features, PATCH, stride=PATCH).transpose(1, 2)  # (B, T, 16 C)
        kept = F.unfold(snr, PATCH, stride=PATCH).mean(dim=1) > KEPT
        for layer in self.layer_stack:
            tokens = layer(tokens, kept)
        return F.fold(tokens.transpose(1, 2), features.shape[-2:], PATCH, stride=PATCH)


class SnrNet(Backbone):
    """SNR-Net (figure 3 of the paper).

    Args:
        nf: channels of the convolutions; a token has 16 times as many.
        front_blocks: residual blocks of the encoder. The authors' constructor has 5, all their published settings 1.
        back_blocks: residual blocks after the fusion. The constructor has 10, the settings 1.
        light_blocks: residual blocks of the branch of convolutions.
        layers: of the branch of attention.
        ffn_width: channels inside its feed-forward layers.
        heads: of its attention.
        head_width: channels of a head.
        resize: height and width, multiples of 16, that picture and map are brought to (bilinear) and the result back
            from: (400, 608) in the authors' evaluation on LOL-v1 and LOL-v2-real. `None` keeps the picture's own.
    """

    multiple_of: ClassVar[int] = 16
    adr_bottleneck: ClassVar[int] = 16
    flops_rule: ClassVar[FlopsRule] = "fvcore"
    # No decoder has attention: all of it stands in one branch, which ADR is for.
    stages: ClassVar[dict[str, Stage]] = {"transformer": Stage("transformer", "decoder")}

    def __init__(
        self,
        nf: int = 64,
        front_blocks: int = 1,
        back_blocks: int = 1,
        light_blocks: int = 6,
        layers: int = 6,
        ffn_width: int = 2048,
        heads: int = 8,
        head_width: int = 64,
        resize: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if resize is not None and (len(resize) != 2 or any(side < 1 or side % self.multiple_of for side in resize)):
            raise ModelError(f"The size to resize to must be two multiples of {self.multiple_of}. Got {resize}.")
        self.luma = RgbWeights()
        self.resize = None if resize is None else tuple(resize)

        def blocks(count: int) -> nn.Sequential:
            return nn.Sequential(*(ResidualBlock(nf) for _ in range(count)))

        self.conv_first_1 = nn.Conv2d(3, nf, 3, padding=1)
        self.conv_first_2 = nn.Conv2d(nf, nf, 3, stride=2, padding=1)
        self.conv_first_3 = nn.Conv2d(nf, nf, 3, stride=2, padding=1)
        self.feature_extraction = blocks(front_blocks)
        self.recon_trunk = blocks(back_blocks)
        self.upconv1 = nn.Conv2d(2 * nf, 4 * nf, 3, padding=1)
        self.upconv2 = nn.Conv2d(2 * nf, 4 * nf, 3, padding=1)
        self.HRconv = nn.Conv2d(2 * nf, nf, 3, padding=1)
        self.conv_last = nn.Conv2d(nf, 3, 3, padding=1)
        self.transformer = Transformer(layers, PATCH**2 * nf, ffn_width, heads, head_width)
        self.recon_trunk_light = blocks(light_blocks)

    def forward(self, image: Tensor, snr: Tensor | None = None) -> Tensor:
        """Enhance pictures.

        Args:
            image: N x 3 x H x W RGB, values in [0, 1], H and W at least 8.
            snr: N x 1 x H x W in [0, 1], how much signal each pixel has for its noise; `estimate_snr` if `None`.

        Returns:
            N x 3 x H x W, not clamped.

        Raises:
            ShapeError: if a shape is another one.
        """
        self.check(image)
        size = image.shape[-2:]
        if snr is None:
            snr = estimate_snr(image, self.luma)
        if snr.shape != (image.shape[0], 1, *size):
            raise ShapeError(f"The map must have the shape {(image.shape[0], 1, *size)}. Got {tuple(snr.shape)}.")
        both = torch.cat([image, snr], dim=1)
        if self.resize is not None:
            both = F.interpolate(both, self.resize, mode="bilinear", align_corners=False)
            return F.interpolate(self._restore(both), size, mode="bilinear", align_corners=False)
        step = self.multiple_of
        both = reflect(both, 0, -size[1] % step, 0, -size[0] % step)
        return self._restore(both)[..., : size[0], : size[1]]

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape, H and W being multiples of 16."""
        return self._restore(torch.cat([image, estimate_snr(image, self.luma)], dim=1))

    def _restore(self, both: Tensor) -> Tensor:
        """From picture and map, N x 4 x H x W."""
        image = both[:, :3]
        full = self._act(self.conv_first_1(image))  # (N, nf, H, W)
        half = self._act(self.conv_first_2(full))
        quarter = self._act(self.conv_first_3(half))
        features = self.feature_extraction(quarter)
        short = self.recon_trunk_light(features)
        snr = F.interpolate(both[:, 3:], size=features.shape[-2:], mode="nearest")
        long = self.transformer(features, snr)
        features = self.recon_trunk(long * (1 - snr) + short * snr)
        features = self._act(F.pixel_shuffle(self.upconv1(torch.cat([features, quarter], dim=1)), 2))
        features = self._act(F.pixel_shuffle(self.upconv2(torch.cat([features, half], dim=1)), 2))
        restored: Tensor = self.conv_last(self._act(self.HRconv(torch.cat([features, full], dim=1)))) + image
        return restored

    @staticmethod
    def _act(features: Tensor) -> Tensor:
        return F.leaky_relu(features, SLOPE)


register(
    {
        "snr_net": Variant(SnrNet, summary="SNR-Net as published for LOL"),
        "snr_net_small": Variant(
            SnrNet,
            {"nf": 12, "light_blocks": 2, "layers": 2, "ffn_width": 192, "heads": 4, "head_width": 16},
            summary="SNR-Net for controlled studies on a CPU",
        ),
    }
)
