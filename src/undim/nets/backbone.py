"""What every backbone declares: its sizes, its attention layers and where they stand, and how any picture size fits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ShapeError
from undim.nets.hidden_channels import HiddenLayer
from undim.nets.padding import reflect
from undim.nets.whole_picture import WholeStatistics

Part = Literal["encoder", "latent", "decoder"]
FlopsRule = Literal["fvcore", "thop"]

MINIMUM_SIZE = 8
"""Smallest height and width, in pixels, that every backbone accepts."""


@dataclass(frozen=True)
class Stage:
    """Where in a backbone a group of layers stands."""

    name: str
    """The stage's own name, such as "encoder1", "latent", "decoder3" or "refinement"."""
    part: Part
    """What `add_adr(where=...)` selects by. Refinement blocks count as decoder."""


@dataclass(frozen=True)
class Depth:
    """One number of blocks among a backbone's constructor arguments, so that blocks can be left out."""

    argument: str
    index: int | None
    """Its place in the argument; None where the argument is the number."""
    rows: tuple[str, ...]
    """Patterns of the module paths of the rows that have so many blocks each."""
    block: type[nn.Module] = nn.Module
    """Children of a row of another type stay."""
    smallest: int = 1
    """How many blocks a row keeps at least."""


class QkvAttention(nn.Module):
    """Base of every attention module that first forms Q, K and V: the place where ADR can act.

    Attributes:
        qkv_channels: channels of Q, K and V concatenated (3C in the paper's equation 1).
        adr: `None`, or a module mapping B x 3C x H x W to the same shape (see `undim.nets.adr`).
        whole: `None`, or in a network made for tiles (`undim.nets.tile_network`) what stands in for the statistics of
            the layer's own input.
    """

    asks_whole: ClassVar[bool] = False
    """Whether the layer passes `whole` on to `channel_attention`, so that tiles of a picture can agree."""
    adr: nn.Module | None
    whole: WholeStatistics | None

    def __init__(self, qkv_channels: int) -> None:
        super().__init__()
        self.qkv_channels = qkv_channels
        self.register_module("adr", None)
        self.whole = None

    def reallocate(self, qkv: Tensor) -> Tensor:
        """Apply ADR (equations 1-3) where it was added: B x 3C x H x W to the same shape."""
        if self.adr is None:
            return qkv
        reallocated: Tensor = self.adr(qkv) if self.whole is None else self.adr(qkv, self.whole)
        return reallocated


class FeedForwardBase(HiddenLayer):
    """Base of every feed-forward module, so that redundancy studies find them by declared fact."""


@dataclass(frozen=True)
class Site:
    """One attention or feed-forward layer of a backbone."""

    name: str
    """Module path inside the backbone, such as "decoder_level3.0.attn"."""
    stage: Stage
    module: nn.Module


class Backbone(nn.Module, ABC):
    """A network from a dark to a clear picture: N x 3 x H x W in, the same shape out, values nominally in [0, 1].

    Any H, W >= 8 works: pictures are extended by reflection to a multiple of `multiple_of` and the result is cropped.
    The output is not clamped.

    Examples:
        >>> import torch
        >>> from undim.nets import create_model
        >>> model = create_model("candela_tiny").eval()
        >>> with torch.inference_mode():
        ...     model(torch.rand(1, 3, 19, 21)).shape  # any height and width
        torch.Size([1, 3, 19, 21])
    """

    multiple_of: ClassVar[int]
    """Height and width that `restore` accepts are multiples of this many pixels."""
    adr_bottleneck: ClassVar[int]
    """Dm of equation 2 as published for this backbone (our own: as chosen by us)."""
    flops_rule: ClassVar[FlopsRule]
    """The counting rule of this backbone's published FLOPs."""
    tile_overlap: ClassVar[int] = 64
    """How many pixels neighbouring tiles of a picture share, for the blend to start where their edges tell no more."""
    local: ClassVar[bool] = True
    """Whether, what its attention takes from the whole picture aside, each place of the output depends on what is
    around it alone, wherever in steps of `undim.contract.CELL` a part of the picture begins."""
    not_in_onnx: ClassVar[str] = ""
    """Why the network cannot be an ONNX file; empty where it can."""
    sees_whole: ClassVar[bool] = False
    """Whether `forward` takes, as second argument, a thumbnail of the whole picture that a crop comes from."""
    unread: ClassVar[tuple[str, ...]] = ()
    """Modules that published checkpoints hold but whose output nothing reads: resetting them changes nothing."""
    depths: ClassVar[tuple[Depth, ...]] = ()
    """Its numbers of blocks; none where each row is one block."""
    switched_on: ClassVar[Mapping[str, object]] = {}
    """Settings that build the parts that no registered variant has, so that resets find what their parameters start
    at."""
    stages: ClassVar[dict[str, Stage]]
    """Module-path prefix -> stage, `*` standing for anything; the first prefix that matches wins."""

    @abstractmethod
    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape, H and W being multiples of `multiple_of`."""

    def sees_nothing(self, thumbnails: Tensor) -> bool:
        """Whether a network that `sees_whole` makes the same of all these thumbnails, N x 3 x 64 x 96 in [0, 1]."""
        del thumbnails
        return False

    def forward(self, image: Tensor) -> Tensor:
        """Enhance pictures.

        Args:
            image: N x 3 x H x W RGB, values in [0, 1], H and W at least 8.

        Returns:
            N x 3 x H x W, not clamped.

        Raises:
            ShapeError: if the shape is another one.
        """
        return self.restore(self.extend(image))[..., : image.shape[-2], : image.shape[-1]]

    def extend(self, image: Tensor) -> Tensor:
        """Extend N x 3 x H x W to the right and below, by reflection, to multiples of `multiple_of`.

        Raises:
            ShapeError: if the shape is another one or a side is below 8 pixels.
        """
        self.check(image)
        if self.multiple_of == 1:
            return image
        height, width = image.shape[-2:]
        if torch.compiler.is_exporting() or self.multiple_of <= MINIMUM_SIZE:
            return F.pad(image, (0, -width % self.multiple_of, 0, -height % self.multiple_of), mode="reflect")
        return reflect(image, 0, -width % self.multiple_of, 0, -height % self.multiple_of)

    def check(self, image: Tensor) -> None:
        """See that pictures have a shape that the network takes.

        Raises:
            ShapeError: if it is not N x 3 x H x W or a side is below 8 pixels.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ShapeError(f"Pictures must have the shape N x 3 x H x W. Got {tuple(image.shape)}.")
        height, width = image.shape[-2:]
        if not torch.compiler.is_exporting() and min(height, width) < MINIMUM_SIZE:
            raise ShapeError(
                f"Pictures must be at least {MINIMUM_SIZE} x {MINIMUM_SIZE} pixels. Got {height} x {width}: extend the"
                " picture first (undim.Enhancer does)."
            )

    def attention_sites(self) -> list[Site]:
        """All attention layers, in the order of the module tree."""
        return self._sites(QkvAttention)

    def feedforward_sites(self) -> list[Site]:
        """All feed-forward layers, in the order of the module tree."""
        return self._sites(FeedForwardBase)

    def _sites(self, kind: type[nn.Module]) -> list[Site]:
        return [
            Site(name, self._stage(name), module) for name, module in self.named_modules() if isinstance(module, kind)
        ]

    def _stage(self, name: str) -> Stage:
        for pattern, stage in self.stages.items():
            if fnmatchcase(name, f"{pattern}*"):
                return stage
        raise LookupError(f"{type(self).__name__} declares no stage for its layer {name}")
