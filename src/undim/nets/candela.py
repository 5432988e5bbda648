"""Candela: a backbone of our own, made for CPUs.

What bounds the published backbones on a CPU is memory traffic: depth-wise convolutions and normalisation at full
resolution. Candela un-shuffles the picture by two, so nothing runs at full resolution, and spends its arithmetic in
dense 3x3 residual blocks without normalisation, which CPUs run near their peak (channels-last, bf16). Channel
attention, the place where ADR acts, stands at 1/4 and 1/8 of the size, where it costs little.

How bright a picture should become can hardly be told from a crop. So a small branch sees a 64 x 96 thumbnail of the
whole picture: it sets the gain of each colour and modulates the coarse levels. It can be given a memory of the
training scenes (`undim.nets.scene_memory`), off by default.

Licence: Apache-2.0, as the project.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ModelError, ShapeError
from undim.nets.backbone import Backbone, Depth, FlopsRule, QkvAttention, Stage
from undim.nets.channel_attention import channel_attention
from undim.nets.hidden_channels import HiddenConv, HiddenLayer
from undim.nets.registry import Variant, register
from undim.nets.rgb_weights import RgbWeights
from undim.nets.scene_memory import BrightnessPin, SceneMemory
from undim.nets.thumbnail import THUMBNAIL, make_thumbnail

Curve = Literal["linear", "shoulder"]
Known = tuple[Tensor, Tensor] | None
"""Of a network with a memory: ln of the remembered mean luma and the likeness of the nearest scene, N x 1 each."""
TARGET_LUMA = 0.4
"""Mean luma that the picture is scaled to before the network: about that of the references of LOL-v1."""
DARKEST = 0.01
"""Mean luma under which a picture is not scaled further (a gain of at most 40)."""
KeepLit = bool | Literal["luma"]
LIT = (0.85, 0.99)
"""Of a place's brightest channel: with `keep_lit`, the output fades to the input between these two values."""
LIT_LUMA = (0.6, 1.0)
"""Of a place's luma: likewise, with `keep_lit="luma"`."""
WELL_LIT = (0.3, 0.335)
"""Of the geometric mean of a picture's luma: with `keep_well_lit`, the output fades to the input between these two."""


class ResidualBlock(HiddenLayer):
    """x + conv(relu(conv(x))), both 3x3 and dense."""

    hidden_convs: ClassVar[tuple[HiddenConv, ...]] = (HiddenConv("conv1", "makes"), HiddenConv("conv2", "reads"))

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.2)  # without normalisation, branches start small

    def forward(self, features: Tensor) -> Tensor:
        """B x C x H x W to the same shape."""
        branch: Tensor = self.conv2(F.relu(self.conv1(features)))
        return features + branch


class ChannelAttention(QkvAttention):
    """x + project(softmax(temperature Q K^T) V): attention between channels, in Restormer's form, not normalised.

    Q and K have unit length over the pixels, so a map entry is a cosine. The projection starts small, as the residual
    blocks do.

    Args:
        channels: C.
        heads: groups of channels that attend among themselves.
    """

    asks_whole: ClassVar[bool] = True

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(3 * channels)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels)
        self.project_out = nn.Conv2d(channels, channels, 1)
        with torch.no_grad():
            self.project_out.weight.mul_(0.2)

    def forward(self, features: Tensor) -> Tensor:
        """B x C x H x W to the same shape."""
        qkv = self.reallocate(self.qkv_dwconv(self.qkv(features)))
        q, k, v = qkv.chunk(3, dim=1)
        branch: Tensor = self.project_out(channel_attention(q, k, v, self.temperature, self.whole))
        return features + branch


class GlobalBranch(nn.Module):
    """What the whole picture says about each colour's gain and about the coarse features.

    Args:
        width: channels after the first convolution; they double twice.
        modulated: channels of the feature levels to modulate.
        memory: slots of the memory of scenes; 0 for none.
        dropout: share of the features of the whole picture that a training step leaves out.
    """

    def __init__(self, width: int, modulated: tuple[int, ...], memory: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.modulated = modulated
        self.dropout = dropout
        self.memory = SceneMemory(memory) if memory else None
        self.luma = RgbWeights()
        self.body = nn.Sequential(
            nn.Conv2d(6, width, 3, stride=2, padding=1),
            nn.ReLU(),
            ResidualBlock(width),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            ResidualBlock(2 * width),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            ResidualBlock(4 * width),
        )
        cells = 4 * 6  # the 8 x 12 map is averaged to 4 x 6 places before the fully connected layer
        self.reduce = nn.Conv2d(4 * width, width, 1)
        self.fc1 = nn.Linear(width * cells + 4 * width, 4 * width)
        self.recall = nn.Linear(5, 4 * width, bias=False) if memory else None
        self.fc2 = nn.Linear(4 * width, 3 + 2 * sum(modulated))
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, thumbnail: Tensor, exposure: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]], Known]:
        """Look at the whole picture.

        Args:
            thumbnail: N x 3 x 64 x 96, values in [0, 1].
            exposure: N x 1 x 1 x 1, the factor that brings its mean luma to `TARGET_LUMA`.

        Returns:
            Natural logarithm of each colour's gain, N x 3 x 1 x 1; for each level its scale and shift, N x C x 1 x 1
            each (to be used as x (1 + scale) + shift); with a memory, natural logarithm of the mean luma that it
            recalls and the likeness of the nearest scene, N x 1 each.
        """
        hidden, shift, known = self._look(thumbnail, exposure)
        hidden = F.dropout(F.relu(hidden), self.dropout, self.training)
        parts = self.fc2(hidden)[..., None, None].split([3, *(c for c in self.modulated for _ in range(2))], dim=1)
        colour = parts[0] if shift is None else parts[0] + shift[..., None, None].to(parts[0].dtype)
        return colour, list(zip(parts[1::2], parts[2::2], strict=True)), known

    def is_silent(self, thumbnail: Tensor, exposure: Tensor) -> bool:
        """Whether no unit of the hidden layer answers to any of these pictures; arguments as of `forward`."""
        hidden, _, _ = self._look(thumbnail, exposure)
        return not bool((hidden > 0).any())

    def _look(self, thumbnail: Tensor, exposure: Tensor) -> tuple[Tensor, Tensor | None, Known]:
        """The hidden layer before its ReLU, N x 4 width, and of the memory what `forward` adds and returns."""
        level = exposure.log().expand(-1, 3, *thumbnail.shape[-2:])
        features = self.body(torch.cat((thumbnail * exposure, level), 1))
        places = F.avg_pool2d(F.relu(self.reduce(features)), 2).flatten(1)
        seen = torch.cat((places, F.adaptive_avg_pool2d(features, 1).flatten(1)), 1)
        seen = F.dropout(seen, self.dropout, self.training)
        hidden, shift, known = self.fc1(seen), None, None
        if self.memory is not None and self.recall is not None:
            recalled, trust, likeness = self.memory(thumbnail)
            now = (thumbnail * exposure).mean((2, 3)).clamp_min(1e-3).log()
            shift = trust * (recalled - now)  # (N, 3): ln of the gain that gives the remembered colours
            hidden = hidden + self.recall(torch.cat((shift, trust, likeness), 1).to(self.recall.weight.dtype))
            weights = self.luma.weights.view(3, 1).to(recalled.dtype)
            known = (recalled.exp() @ weights).log(), likeness
        return hidden, shift, known


class Candela(Backbone):
    """U-Net over the un-shuffled picture that predicts a gain map and a residual.

    With the linear curve, output = scaled * exp(gain) + residual, scaled = image * exposure * exp(colour gain of the
    whole picture). With the shoulder, a gain g acts as x -> g x / (1 + (g - 1) x), which is linear in the dark and
    leaves white white, and the residual fades towards white: what was not white before does not become so. What is
    nearly white still becomes indistinguishable from white; with `keep_lit` it stays what it was.

    Args:
        dims: channels at 1/2, 1/4 and 1/8 of the size.
        blocks: residual blocks on each side at each of these levels.
        heads: attention heads at 1/4 and 1/8.
        global_width: first width of the branch that sees the thumbnail.
        curve: "linear" or "shoulder".
        memory: slots of the memory of training scenes; 0 for none.
        dropout: of the features of the whole picture, in training.
        keep_lit: whether what is lit already, a bright sky or a lamp, keeps its values: by its brightest channel
            (`LIT`), or with "luma" by its luma (`LIT_LUMA`), which leaves no coloured rim about the sun.
        keep_well_lit: share of the input in the output, in [0, 1], of a picture that is well-lit as a whole
            (`WELL_LIT`). Not in training: a network that trains with it would raise such pictures the more.

    Raises:
        ModelError: for an unknown curve or way to keep what is lit, or a share outside [0, 1].
    """

    multiple_of: ClassVar[int] = 8
    adr_bottleneck: ClassVar[int] = 8
    flops_rule: ClassVar[FlopsRule] = "fvcore"
    tile_overlap: ClassVar[int] = 32  # what is wrong at a tile's edges is then 85 dB below the picture, at 64 109 dB
    sees_whole: ClassVar[bool] = True
    depths: ClassVar[tuple[Depth, ...]] = (
        Depth("blocks", 0, ("encoder1", "decoder1"), ResidualBlock, 0),
        Depth("blocks", 1, ("encoder2", "decoder2"), ResidualBlock, 0),
        Depth("blocks", 2, ("latent", "decoder3"), ResidualBlock, 0),
    )
    switched_on: ClassVar[Mapping[str, object]] = {"memory": 1}
    stages: ClassVar[dict[str, Stage]] = {
        "encoder2": Stage("encoder2", "encoder"),
        "latent": Stage("latent", "latent"),
        "decoder3": Stage("decoder3", "decoder"),
        "decoder2": Stage("decoder2", "decoder"),
    }

    def __init__(
        self,
        dims: tuple[int, int, int] = (24, 40, 64),
        blocks: tuple[int, int, int] = (1, 2, 3),
        heads: tuple[int, int] = (2, 4),
        global_width: int = 32,
        curve: Curve = "linear",
        memory: int = 0,
        dropout: float = 0.0,
        keep_lit: KeepLit = False,
        keep_well_lit: float = 0.0,
    ) -> None:
        super().__init__()
        if curve not in ("linear", "shoulder"):
            raise ModelError(f"The curve must be 'linear' or 'shoulder'. Got {curve!r}.")
        if keep_lit not in (False, True, "luma"):
            raise ModelError(f"keep_lit must be true, false or 'luma'. Got {keep_lit!r}.")
        if not 0 <= keep_well_lit <= 1:
            raise ModelError(f"keep_well_lit must lie in [0, 1]. Got {keep_well_lit}.")
        self.curve = curve
        self.keep_lit = keep_lit
        self.keep_well_lit = keep_well_lit
        self.luma = RgbWeights()
        self.pin = BrightnessPin()
        d1, d2, d3 = dims
        self.embed = nn.Conv2d(24, d1, 3, padding=1)
        self.encoder1 = nn.Sequential(*(ResidualBlock(d1) for _ in range(blocks[0])))
        self.down1 = nn.Conv2d(d1, d2, 2, stride=2)
        self.encoder2 = nn.Sequential(*(ResidualBlock(d2) for _ in range(blocks[1])), ChannelAttention(d2, heads[0]))
        self.down2 = nn.Conv2d(d2, d3, 2, stride=2)
        self.latent = nn.Sequential(*(ResidualBlock(d3) for _ in range(blocks[2])), ChannelAttention(d3, heads[1]))
        self.decoder3 = nn.Sequential(ChannelAttention(d3, heads[1]), *(ResidualBlock(d3) for _ in range(blocks[2])))
        self.up2 = nn.Conv2d(d3, 4 * d2, 1)
        self.decoder2 = nn.Sequential(ChannelAttention(d2, heads[0]), *(ResidualBlock(d2) for _ in range(blocks[1])))
        self.up1 = nn.Conv2d(d2, 4 * d1, 1)
        self.decoder1 = nn.Sequential(*(ResidualBlock(d1) for _ in range(blocks[0])))
        self.predict = nn.Conv2d(d1, 24, 3, padding=1)
        self.whole = GlobalBranch(global_width, (d1, d2, d3), memory, dropout)
        for parameter in self.predict.parameters():
            nn.init.zeros_(parameter)  # at first, the output is the scaled picture

    def forward(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Enhance pictures, or crops of pictures.

        Args:
            image: N x 3 x H x W RGB, values in [0, 1], H and W at least 8.
            context: N x 3 x 64 x 96, `make_thumbnail` of the pictures that `image` was cut from; `None` if they are
                whole.

        Returns:
            N x 3 x H x W, not clamped.

        Raises:
            ShapeError: if the shape is another one.
        """
        if context is not None and context.shape != (image.shape[0], 3, *THUMBNAIL):
            expected = (image.shape[0], 3, *THUMBNAIL)
            raise ShapeError(f"The context must have the shape {expected}. Got {tuple(context.shape)}.")
        output, known = self._restore(self.extend(image), make_thumbnail(image) if context is None else context)
        output = output[..., : image.shape[-2], : image.shape[-1]]
        return self._pinned(output, known, whole=context is None)

    def restore(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Map N x 3 x H x W to the same shape, H and W being multiples of 8; `context` as in `forward`."""
        output, known = self._restore(image, make_thumbnail(image) if context is None else context)
        return self._pinned(output, known, whole=context is None)

    def _restore(self, image: Tensor, thumbnail: Tensor) -> tuple[Tensor, Known]:
        exposure = self._exposure(thumbnail)
        colour, ((s1, b1), (s2, b2), (s3, b3)), known = self.whole(thumbnail, exposure)
        scaled = self._raise(image, exposure * colour.exp())

        first = self.embed(F.pixel_unshuffle(torch.cat((image, scaled), 1), 2))
        first = self.encoder1(first * (1 + s1) + b1)
        second = self.down1(first)
        second = self.encoder2(second * (1 + s2) + b2)
        third = self.down2(second)
        third = self.decoder3(self.latent(third * (1 + s3) + b3))
        second = self.decoder2(second + F.pixel_shuffle(self.up2(third), 2))
        first = self.decoder1(first + F.pixel_shuffle(self.up1(second), 2))
        predicted: Tensor = F.pixel_shuffle(self.predict(first), 2)
        gain, residual = predicted.chunk(2, dim=1)
        raised = self._raise(scaled, gain.clamp(-3, 3).exp())
        output = raised + (residual * (1 - raised) if self.curve == "shoulder" else residual)
        if self.keep_lit:
            output = torch.lerp(output, image, lit_share(image, self.luma(image) if self.keep_lit == "luma" else None))
        if self.keep_well_lit and not self.training:
            output = torch.lerp(output, image, self.keep_well_lit * well_lit_share(self.luma(thumbnail)))
        return output, known

    def _exposure(self, thumbnail: Tensor) -> Tensor:
        """The factor that brings each picture's mean luma to `TARGET_LUMA`: N x 1 x 1 x 1."""
        exposure: Tensor = TARGET_LUMA / self.luma(thumbnail).mean((2, 3), keepdim=True).clamp_min(DARKEST)
        return exposure

    def _pinned(self, output: Tensor, known: Known, *, whole: bool) -> Tensor:
        """Whole pictures, or tiles that are told of theirs, at the remembered brightness."""
        if known is None or self.training or not (whole or self.pin.whole is not None):
            return output
        pinned: Tensor = self.pin(output, *known)
        return pinned

    def _raise(self, image: Tensor, gain: Tensor) -> Tensor:
        return image * gain if self.curve == "linear" else image * gain / (1 + (gain - 1) * image)

    @torch.no_grad()
    def sees_nothing(self, thumbnails: Tensor) -> bool:
        """Whether all of these pictures look alike to the branch that sees the whole picture.

        Adam's steps on features that are never negative can silence all of its units for good, most of all where it
        begins anew at a high learning rate; the network then knows of the whole picture no more than its mean.
        """
        return self.whole.is_silent(thumbnails, self._exposure(thumbnails))

    def remember(self, thumbnails: Tensor, references: Tensor) -> None:
        """Store the training scenes, as `SceneMemory.store` says; without a memory, nothing happens."""
        if self.whole.memory is not None:
            self.whole.memory.store(thumbnails, references)


def lit_share(image: Tensor, luma: Tensor | None = None) -> Tensor:
    """How far each place is lit already: N x 3 x H x W to N x 1 x H x W, from 0 to 1.

    By its luma, N x 1 x H x W, if that is given, else by its brightest channel: 0 up to the first value of `LIT_LUMA`
    or `LIT`, 1 from the second; between them 3 t^2 - 2 t^3, so that no edge appears.
    """
    return _rise(image.amax(1, keepdim=True), LIT) if luma is None else _rise(luma, LIT_LUMA)


def well_lit_share(luma: Tensor) -> Tensor:
    """How far each picture is well-lit as a whole: luma of N x 1 x H x W to N x 1 x 1 x 1, from 0 to 1.

    By the geometric mean of luma + 0.02, which a dark part lowers more than a bright window raises it.
    """
    return _rise((luma + 0.02).log().mean((2, 3), keepdim=True).exp(), WELL_LIT)


def _rise(values: Tensor, between: tuple[float, float]) -> Tensor:
    """0 up to the first of two values, 1 from the second, 3 t^2 - 2 t^3 between."""
    start, end = between
    t = ((values - start) / (end - start)).clamp(0, 1)
    return t * t * (3 - 2 * t)


register(
    {
        "candela": Variant(Candela, {}, "our own, for CPUs: 1/2-size U-Net with a view of the whole picture"),
        "candela_tiny": Variant(
            Candela,
            {"dims": (12, 16, 20), "blocks": (1, 1, 1), "heads": (1, 2), "global_width": 5},
            "the smallest Candela; below 100 k parameters also with ADR and POG of De 16",
        ),
    }
)
