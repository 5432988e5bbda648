"""Attention Dynamic Reallocation (ADR), and its addition to any registered backbone.

Paper: Li et al., "Rethinking Model Redundancy for Low-light Image Enhancement", equations 1-3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from undim.errors import ModelError, ShapeError
from undim.nets.backbone import Backbone, QkvAttention
from undim.nets.dynamic_conv import (
    DynamicKernel,
    GeneratedConv2d,
    per_image_channel_map,
    per_image_conv2d_unfolded,
)
from undim.nets.full_precision import pool, without_autocast
from undim.nets.pog import Basis, Mixing, PogKernel
from undim.nets.whole_picture import Means, WholeStatistics

KernelKind = Literal["pog", "dynamic", "static"]
Where = Literal["decoder", "encoder", "all"]
BackboneT = TypeVar("BackboneT", bound=Backbone)
ModuleT = TypeVar("ModuleT", bound=nn.Module)


class StaticKernel(nn.Module):
    """One learned kernel for all images, behind the interface of a generator.

    Args:
        shape: (Cout, Cin/groups, k, k).
    """

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the kernel as `nn.Conv2d` does."""
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def zero_output(self) -> None:
        """Make the kernel zero, with gradients that still move it."""
        nn.init.zeros_(self.weight)

    @torch.no_grad()
    def keep(self, channels: Sequence[int], axis: Literal[0, 1]) -> None:
        """Drop all output (axis 0) or input channels (1) of the kernel but these, in place."""
        self.weight = nn.Parameter(self.weight.index_select(axis, torch.tensor(channels, device=self.weight.device)))

    def forward(self, images: Tensor) -> Tensor:
        """The same kernel for each of B images or pooled inputs: B x Cout x Cin/groups x k x k, a view."""
        return self.weight.expand(images.shape[0], *self.weight.shape)


KernelGenerator = StaticKernel | DynamicKernel | PogKernel
"""What gives a kernel, each with `zero_output` and `keep`."""


def make_generator(
    kind: KernelKind,
    in_channels: int,
    shape: tuple[int, int, int, int],
    embedding: int,
    *,
    reflections: int = 1,
    basis: Basis = "householder",
    mixing: Mixing = "softmax",
) -> KernelGenerator:
    """A module from pooled inputs B x in_channels to kernels B x Cout x Cin/groups x k x k."""
    if kind == "pog":
        return PogKernel(in_channels, shape, embedding, reflections=reflections, basis=basis, mixing=mixing)
    if (reflections, basis, mixing) != (1, "householder", "softmax"):
        raise ModelError(f"Reflections, basis and mixing belong to the kernel 'pog'. Got them for {kind!r}.")
    if kind == "dynamic":
        return DynamicKernel(in_channels, shape)
    if kind == "static":
        return StaticKernel(shape)
    raise ModelError(f"The kernel must be 'pog', 'dynamic' or 'static'. Got {kind!r}.")


class Adr(nn.Module):
    """f + P2 (*) (P1 (*) f), with P1 generated from f and P2 from P1 (*) f (equation 2).

    Both kernels have size 1 as in the paper, so each image gets one channel map of rank Dm. As the mean over pixels
    commutes with a channel map, f is pooled once: mean(P1 f) = P1 mean(f).

    Args:
        channels: 3C, those of Q, K and V concatenated.
        bottleneck: Dm, at least 1 and below 3C.
        kernel: "pog", "dynamic" (Chen et al. 2020) or "static" (two plain learned convolutions).
        embedding: De of POG.
        identity: start at f* = f exactly: the last decode layer of P2 is zero. P1's is not, so gradients flow.
        kernel_size: of both kernels, odd.
        reflections: of POG, see `undim.nets.pog.PogKernel`.
        basis: of POG, likewise.
        mixing: of POG, likewise.
        balanced: of POG, whether its layers start as `undim.nets.pog.PogKernel.balance` draws them.

    Attributes:
        means: `None`, or what the kernels are generated from instead of the input's own means (`undim.nets.view`).

    Raises:
        ShapeError: for a bottleneck out of range or an even kernel size, or from `forward` if the input is not
            B x 3C x H x W.
        ModelError: for options of POG with another kernel.

    Examples:
        >>> import torch
        >>> from undim.nets import Adr
        >>> qkv = torch.rand(1, 24, 4, 6)  # N x 3C x H x W
        >>> Adr(24, bottleneck=4, embedding=8)(qkv).shape
        torch.Size([1, 24, 4, 6])
    """

    means: Means | None

    def __init__(
        self,
        channels: int,
        bottleneck: int,
        *,
        kernel: KernelKind = "pog",
        embedding: int = 64,
        identity: bool = False,
        kernel_size: int = 1,
        reflections: int = 1,
        basis: Basis = "householder",
        mixing: Mixing = "softmax",
        balanced: bool = False,
    ) -> None:
        super().__init__()
        if balanced and kernel != "pog":
            raise ModelError(f"A balanced start belongs to the kernel 'pog'. Got it for {kernel!r}.")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ShapeError(f"The kernel size must be odd. Got {kernel_size}.")
        if not 1 <= bottleneck < channels:
            raise ShapeError(f"The bottleneck Dm must be from 1 to {channels - 1} (below 3C). Got {bottleneck}.")
        self.channels = channels
        self.bottleneck = bottleneck
        self.kernel_size = kernel_size
        self.means = None

        def make(inputs: int, outputs: int) -> KernelGenerator:
            shape = (outputs, inputs, kernel_size, kernel_size)
            return make_generator(kernel, inputs, shape, embedding, reflections=reflections, basis=basis, mixing=mixing)

        self.p1 = make(channels, bottleneck)
        self.p2 = make(bottleneck, channels)
        if balanced:
            for generator in (self.p1, self.p2):
                if isinstance(generator, PogKernel):
                    generator.balance()
        if identity:
            self.p2.zero_output()

    def keep_bottleneck(self, channels: Sequence[int]) -> None:
        """Drop all channels of the bottleneck but these, in place; what makes the others stays.

        Args:
            channels: their numbers, from 0 to Dm - 1, at least one.
        """
        self.p1.keep(channels, 0)
        self.p2.keep(channels, 1)
        self.bottleneck = len(channels)

    def kernels(self, qkv: Tensor, whole: WholeStatistics | None = None) -> tuple[Tensor, Tensor]:
        """P1 (B x Dm x 3C) and P2 (B x 3C x Dm) for these inputs, B x 3C x H x W, or for the picture they are of.

        Generated ones come at least in float32, whatever autocasting says. Larger kernels than those of size 1 have two
        more axes.
        """
        if qkv.ndim != 4 or qkv.shape[1] != self.channels:
            raise ShapeError(f"Q, K, V must come as B x {self.channels} x H x W. Got {tuple(qkv.shape)}.")
        if isinstance(self.p1, StaticKernel):
            p1, p2 = self.p1(qkv), self.p2(qkv)
            return (p1[..., 0, 0], p2[..., 0, 0]) if self.kernel_size == 1 else (p1, p2)
        means = self.means if whole is None else whole
        pooled = pool(qkv) if means is None else means.mean(pool(qkv), qkv)
        if self.kernel_size > 1:
            p1 = self.p1(pooled)
            narrow = per_image_conv2d_unfolded(qkv, p1)
            return p1, self.p2(pool(narrow) if means is None else means.mean(pool(narrow), narrow))
        p1 = self.p1(pooled)[..., 0, 0]
        with without_autocast(qkv):
            narrow_means = (p1 @ pooled.unsqueeze(-1)).squeeze(-1)
        return p1, self.p2(narrow_means)[..., 0, 0]

    def forward(self, qkv: Tensor, whole: WholeStatistics | None = None) -> Tensor:
        """Reallocate attention: B x 3C x H x W to the same shape and memory layout."""
        p1, p2 = self.kernels(qkv, whole)
        if self.kernel_size > 1:
            return qkv + per_image_conv2d_unfolded(per_image_conv2d_unfolded(qkv, p1), p2)
        return per_image_channel_map(per_image_channel_map(qkv, p1), p2, base=qkv)


def add_adr(
    model: BackboneT,
    *,
    where: Where = "decoder",
    kernel: KernelKind = "pog",
    bottleneck: int | None = None,
    embedding: int = 64,
    identity: bool = False,
    kernel_size: int = 1,
    reflections: int = 1,
    basis: Basis = "householder",
    mixing: Mixing = "softmax",
    balanced: bool = False,
) -> BackboneT:
    """Add ADR to the attention layers of a backbone, in place.

    State-dict keys are added (`<attention>.adr.*`), none is renamed.

    Args:
        model: any registered backbone.
        where: which attention layers: those of the decoder (the paper's choice; Restormer's includes refinement),
            of the encoder, or all of them, latent ones included.
        kernel: how the two kernels are made: "pog", "dynamic" (Chen et al. 2020) or "static".
        bottleneck: Dm; `None` takes the backbone's published value.
        embedding: De of POG.
        identity: keep the model's output exactly until it is trained further.
        kernel_size: of both kernels, odd; the paper's is 1.
        reflections: of POG, how many Householder reflections make a basis; the paper has one.
        basis: of POG, see `undim.nets.pog.Basis`.
        mixing: of POG, see `undim.nets.pog.Mixing`.
        balanced: of POG, whether kernels differ between pictures from the start, see `PogKernel.balance`.

    Returns:
        The same model.

    Raises:
        ModelError: if the model is not a backbone, has ADR there already, has no attention layer there, or an option is
            unknown.
        ShapeError: for a bottleneck not below 3C.

    Examples:
        >>> from undim.nets import add_adr, create_model
        >>> model = add_adr(create_model("candela_tiny"), where="decoder", kernel="pog", bottleneck=8, embedding=16)
        >>> sum(weights.numel() for weights in model.parameters())
        94601
    """
    if not isinstance(model, Backbone):
        raise ModelError(f"add_adr takes a registered backbone (undim.nets.create_model). Got {type(model).__name__}.")
    if where not in ("decoder", "encoder", "all"):
        raise ModelError(f"where must be 'decoder', 'encoder' or 'all'. Got {where!r}.")
    sites = [site for site in model.attention_sites() if where in ("all", site.stage.part)]
    if not sites:
        raise ModelError(f"{type(model).__name__} has no attention layer in its {where}.")
    taken = [site.name for site in sites if getattr(site.module, "adr", None) is not None]
    if taken:
        raise ModelError(f"{taken[0]} has ADR already: add it once, to a model without.")
    width = model.adr_bottleneck if bottleneck is None else bottleneck
    attentions = [site.module for site in sites if isinstance(site.module, QkvAttention)]
    # All are made before the first is put in place: an error leaves the model as it was.
    added = [
        Adr(
            attention.qkv_channels,
            width,
            kernel=kernel,
            embedding=embedding,
            identity=identity,
            kernel_size=kernel_size,
            reflections=reflections,
            basis=basis,
            mixing=mixing,
            balanced=balanced,
        )
        for attention in attentions
    ]
    for attention, adr in zip(attentions, added, strict=True):
        reference = next(attention.parameters())
        attention.adr = adr.to(reference.device, reference.dtype).train(attention.training)
    return model


def replace_convs(
    model: ModuleT, kernel: Literal["dynamic", "pog"] = "dynamic", *, where: str = ".*", embedding: int = 64
) -> ModuleT:
    """Make a network's own convolutions dynamic, in place.

    Args:
        model: any network.
        kernel: "dynamic" (Chen et al. 2020) or "pog".
        where: regular expression, searched in the module names of the `nn.Conv2d` layers.
        embedding: De of POG.

    Returns:
        The same model. A replaced layer keeps its bias; its kernel generator starts at random.

    Raises:
        ModelError: if the model is itself a convolution, the pattern is not a regular expression, no convolution
            matches, or one that matches cannot be replaced (padding other than equal zeros on all sides, or a kernel
            that is not square).

    Examples:
        >>> from undim.nets import create_model, replace_convs
        >>> model = replace_convs(create_model("candela_tiny"), "dynamic", where=r"^decoder2[.]")
        >>> sum(weights.numel() for weights in model.parameters()) > 63237  # those of the network as it was
        True
    """
    if isinstance(model, nn.Conv2d):
        raise ModelError("A convolution cannot be replaced in place: pass the network that contains it.")
    if kernel not in ("dynamic", "pog"):
        raise ModelError(f"The kernel must be 'dynamic' or 'pog'. Got {kernel!r}.")
    try:
        pattern = re.compile(where)
    except re.error as error:
        raise ModelError(f"where={where!r} is not a regular expression: {error}.") from error
    matches = [
        (name, layer)
        for name, layer in model.named_modules(remove_duplicate=False)
        if isinstance(layer, nn.Conv2d) and pattern.search(name)
    ]
    if not matches:
        raise ModelError(f"No convolution's name matches {where!r}.")
    # A convolution that stands in several places is one layer afterwards too.
    generated = {conv: _generated(name, conv, kernel, embedding) for name, conv in matches}
    for name, conv in matches:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, generated[conv])
    return model


def _generated(name: str, conv: nn.Conv2d, kernel: KernelKind, embedding: int) -> GeneratedConv2d:
    padding = conv.padding if isinstance(conv.padding, tuple) else None
    pairs = (conv.kernel_size, conv.stride, conv.dilation, padding)
    if conv.padding_mode != "zeros" or any(pair is None or len(set(pair)) != 1 for pair in pairs):
        raise ModelError(f"{name} cannot be made dynamic: only square kernels with equal zero padding can. Got {conv}.")
    shape = (conv.out_channels, conv.in_channels // conv.groups, *conv.kernel_size)
    replacement = GeneratedConv2d(
        make_generator(kernel, conv.in_channels, shape, embedding),  # type: ignore[arg-type]  # kernel_size is a pair
        conv.in_channels,
        stride=conv.stride[0],
        padding=int(conv.padding[0]),
        dilation=conv.dilation[0],
        groups=conv.groups,
        bias=None if conv.bias is None else conv.bias.detach().clone(),
    )
    return replacement.to(conv.weight.device, conv.weight.dtype).train(conv.training)
