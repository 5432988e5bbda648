"""How much generated kernels differ from picture to picture: the uselessness that the paper finds in dynamic layers.

Paper: Li et al., "Rethinking Model Redundancy for Low-light Image Enhancement", figures 2b and 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from undim.errors import ModelError
from undim.nets.adr import Adr
from undim.nets.dynamic_conv import DynamicKernel
from undim.nets.pog import FrozenPogKernel, PogKernel
from undim.redundancy.reset_walk import evaluating, grouped
from undim.results.laboratory import GeneratorDiversity, KernelDiversity

LIMIT = 2**14
"""Weights of one kernel that are looked at; of larger kernels, every n-th."""
SHOWN = 256
"""Weights of one kernel that are kept to be drawn."""


@dataclass(frozen=True)
class Diversity:
    """How far one generator's kernels differ between pictures."""

    kind: str
    """"pog" or "dynamic"."""
    weights: int
    """N, those of one kernel."""
    cosine_distance: float
    """Mean over pairs of pictures of 1 - cos, from 0 (all alike) to 2."""
    variation: float
    """Root mean square over weights of their standard deviation over pictures, over the rms of the mean kernel."""
    effective_rank: float
    """exp of the entropy of the kernels' singular values (Roy and Vetterli 2007): 1 if all kernels are proportional, up
    to the number of pictures."""
    kernels: tuple[tuple[float, ...], ...]
    """The first weights of each picture's kernel, to be drawn as in figure 5."""


@dataclass(frozen=True)
class DiversityResult:
    """Diversity of every generator by its name."""

    layers: Mapping[str, Diversity]
    pictures: int

    def as_document(self) -> KernelDiversity:
        """All of it as results hold it, kernels in six digits."""
        return KernelDiversity(
            pictures=self.pictures,
            layers={
                name: GeneratorDiversity(
                    kind=one.kind,
                    weights=one.weights,
                    cosine_distance=one.cosine_distance,
                    variation=one.variation,
                    effective_rank=one.effective_rank,
                    kernels=tuple(tuple(float(f"{weight:.6g}") for weight in row) for row in one.kernels),
                )
                for name, one in self.layers.items()
            },
        )

    def as_dict(self) -> dict[str, Any]:
        """All of it in values that JSON can hold."""
        return self.as_document().model_dump(mode="json")


def diversity(
    model: nn.Module, images: Iterable[Tensor], *, done: Callable[[], None] = lambda: None
) -> DiversityResult:
    """Measure how much the kernels that POG and dynamic convolution generate differ between pictures.

    Args:
        model: with ADR or generated convolutions.
        images: as in `dmr`, at least two.
        done: called after each.

    Raises:
        ModelError: if the network generates no kernels, or there are fewer than two pictures.
        ShapeError: for a picture of another shape or range.

    Examples:
        >>> import torch
        >>> from undim.nets import add_adr, create_model
        >>> from undim.redundancy import diversity
        >>> model = add_adr(create_model("candela_tiny"), bottleneck=4, embedding=8)
        >>> result = diversity(model, [torch.rand(1, 3, 16, 16) for _ in range(2)])
        >>> result.pictures, all(one.effective_rank >= 1 for one in result.layers.values())
        (2, True)
    """
    generators = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, PogKernel | FrozenPogKernel | DynamicKernel)
    }
    if not generators:
        raise ModelError(
            f"{type(model).__name__} generates no kernels. Diversity is about ADR with the kernel pog or dynamic, and"
            " convolutions that undim.nets.replace_convs replaced."
        )
    seen: dict[str, list[Tensor]] = {name: [] for name in generators}
    sizes: dict[str, int] = {}

    def take_kernels(name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        kernels = output.flatten(1)  # (B, N)
        sizes[name] = kernels.shape[1]
        seen[name].append(kernels[:, :: math.ceil(kernels.shape[1] / LIMIT)].float().cpu())

    device = next(chain(model.parameters(), model.buffers())).device
    handles = [module.register_forward_hook(partial(take_kernels, name)) for name, module in generators.items()]
    pictures = 0
    try:
        with torch.no_grad(), evaluating(model):
            for image in grouped(images, 1):
                model(image.to(device))
                pictures += image.shape[0]
                done()
    finally:
        for handle in handles:
            handle.remove()
    if pictures < 2:
        raise ModelError(f"Kernels are compared between pictures: give two or more. Got {pictures}.")
    return DiversityResult(
        {
            name: compare_kernels(torch.cat(kernels), _kind(generators[name]), sizes[name])
            for name, kernels in seen.items()
            if kernels
        },
        pictures,
    )


def compare_kernels(kernels: Tensor, kind: str = "", weights: int | None = None) -> Diversity:
    """Compare the rows of a matrix, one kernel each.

    Two kernels that are zero are alike; one that is zero is at a cosine distance of 1 from one that is not.

    Args:
        kernels: M x N, M at least 2, finite.
        kind: for the result.
        weights: for the result; N by default.
    """
    kernels = kernels.double()
    units = kernels / kernels.norm(dim=1, keepdim=True).clamp_min(1e-30)
    count = kernels.shape[0]
    zero = kernels.eq(0).all(dim=1)
    cosines = units @ units.t() + (zero[:, None] & zero)
    pairs = cosines[~torch.eye(count, dtype=torch.bool)]
    spread = kernels.var(dim=0, correction=0).mean().sqrt()
    size = kernels.mean(dim=0).square().mean().sqrt()
    shares = torch.linalg.svdvals(kernels)
    shares = shares / shares.sum().clamp_min(1e-30)
    entropy = -(shares * shares.clamp_min(1e-30).log()).sum()
    return Diversity(
        kind,
        weights or kernels.shape[1],
        float((1 - pairs).mean().clamp_min(0)),
        float(spread / size.clamp_min(1e-30)),
        float(entropy.exp()),
        tuple(tuple(row) for row in kernels[:, :SHOWN].tolist()),
    )


def bottleneck_energy(model: nn.Module, images: Iterable[Tensor]) -> dict[str, Tensor]:
    """How much each channel of ADR's bottleneck can contribute: the product of its two kernels' squared norms.

    Args:
        model: with ADR, or without.
        images: as in `dmr`; generated kernels are those of these pictures.

    Returns:
        ADR's module path -> Dm numbers, means over the pictures.

    Raises:
        ModelError: if there are no pictures.

    Examples:
        >>> import torch
        >>> from undim.nets import add_adr, create_model
        >>> from undim.redundancy import bottleneck_energy
        >>> model = add_adr(create_model("candela_tiny"), bottleneck=4, embedding=8)
        >>> {tuple(energy.shape) for energy in bottleneck_energy(model, [torch.rand(1, 3, 16, 16)]).values()}
        {(4,)}
    """
    adrs = {name: module for name, module in model.named_modules() if isinstance(module, Adr)}
    made: dict[nn.Module, Tensor] = {}
    total = {name: torch.zeros(adr.bottleneck, dtype=torch.float64) for name, adr in adrs.items()}

    def take_kernel(module: nn.Module, _inputs: object, output: Tensor) -> None:
        made[module] = output.double().cpu()

    device = next(chain(model.parameters(), model.buffers())).device
    handles = [part.register_forward_hook(take_kernel) for adr in adrs.values() for part in (adr.p1, adr.p2)]
    pictures = 0
    try:
        with torch.no_grad(), evaluating(model):
            for image in grouped(images, 1) if adrs else ():
                model(image.to(device))
                pictures += image.shape[0]
                for name, adr in adrs.items():  # B x Dm x 3C x 1 x 1 and B x 3C x Dm x 1 x 1
                    rows = made[adr.p1].square().sum((2, 3, 4))
                    columns = made[adr.p2].square().sum((1, 3, 4))
                    total[name] += (rows * columns).sum(0)
    finally:
        for handle in handles:
            handle.remove()
    if adrs and not pictures:
        raise ModelError("There are no pictures to measure on.")
    return {name: energy / pictures for name, energy in total.items()}


def _kind(module: nn.Module) -> str:
    return "dynamic" if isinstance(module, DynamicKernel) else "pog"
