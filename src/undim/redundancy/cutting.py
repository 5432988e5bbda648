"""Smaller networks of Undim's backbones: fewer blocks, narrower layers, the weights of all that stays.

Registered backbones stand on rows of equal blocks, whose numbers are constructor arguments; layers declare their hidden
channels; the bottleneck of ADR is an argument, too. So the smaller network is one that `ModelSpec.build` makes: its
file loads like any other, and it can be trained on by the ordinary loop.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from undim.errors import ModelError
from undim.nets.adr import Adr
from undim.nets.backbone import Backbone, Depth
from undim.nets.hidden_channels import hidden_layers
from undim.weights.files import ModelSpec


@dataclass(frozen=True)
class Cut:
    """What a smaller network does without; module paths are those in the whole network.

    Examples:
        >>> from undim.redundancy import Cut
        >>> Cut(blocks=("latent.0",)).blocks
        ('latent.0',)
    """

    blocks: tuple[str, ...] = ()
    """Left out as a whole, as many of each row that shares a number."""
    hidden: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Layer -> its hidden channels that stay."""
    bottleneck: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """ADR -> the channels of its bottleneck that stay; of all ADRs or none, as many of each."""


def cut_down(model: Backbone, spec: ModelSpec, cut: Cut) -> tuple[Backbone, ModelSpec]:
    """Build the network without what a cut names, with the weights of all that stays.

    Args:
        model: left as it is.
        spec: of the model.
        cut: what goes.

    Returns:
        The smaller network in evaluation mode, on the CPU, and what its file says.

    Raises:
        ModelError: if a path or a channel is none, or what shares a number would differ.

    Examples:
        >>> from undim.redundancy import Cut, cut_down
        >>> from undim.weights.files import ModelSpec
        >>> spec = ModelSpec("candela_tiny")
        >>> small, _ = cut_down(spec.build(), spec, Cut(hidden={"encoder1.0": (0, 1, 2, 3)}))
        >>> sum(weights.numel() for weights in small.parameters()) < 63237
        True
    """
    smaller = cut_spec(model, spec, cut)
    narrowed = copy.deepcopy(model).cpu()
    for name, layer in hidden_layers(narrowed).items():
        if name in cut.hidden:
            layer.keep_hidden(cut.hidden[name])
    for name, adr in adr_layers(narrowed).items():
        if name in cut.bottleneck:
            adr.keep_bottleneck(cut.bottleneck[name])
    with torch.random.fork_rng(devices=[]):
        network = smaller.build()
    renamed = _renamed(model, set(cut.blocks))
    weights: dict[str, Tensor] = {}
    for name, tensor in narrowed.state_dict().items():
        new = _new_name(name, cut.blocks, renamed)
        if new is not None:
            weights[new] = tensor
    network.load_state_dict(weights)
    return network.eval(), smaller


def cut_spec(model: Backbone, spec: ModelSpec, cut: Cut) -> ModelSpec:
    """What the file of the smaller network says.

    Raises:
        ModelError: as `cut_down`.
    """
    _check(model, cut)
    gone = set(cut.blocks)
    overrides = dict(spec.overrides)
    numbers: dict[str, dict[int | None, int]] = {}
    for depth in depths_of(model) if gone else ():
        lengths = {sum(name not in gone for name in blocks_of(model, row, depth)) for row in rows_of(model, depth)}
        if len(lengths) > 1:
            raise ModelError(
                f"{' and '.join(depth.rows)} have one number of blocks, {depth.argument}: leave out as many of each."
            )
        numbers.setdefault(depth.argument, {})[depth.index] = lengths.pop()
    for argument, counts in numbers.items():
        several = [counts[index] for index in sorted(counts, key=lambda index: index or 0)]
        overrides[argument] = counts.get(None, several)
    renamed = _renamed(model, gone)
    hidden: dict[str, int] = {}
    for name, count in {**overrides.pop("hidden", {}), **{n: len(kept) for n, kept in cut.hidden.items()}}.items():
        new = _new_name(name, cut.blocks, renamed)
        if new is not None:
            hidden[new] = count
    if hidden:
        overrides["hidden"] = hidden
    adr = spec.adr
    if adr is not None and cut.bottleneck:
        adr = replace(adr, bottleneck=len(next(iter(cut.bottleneck.values()))))
    return replace(spec, overrides=overrides, adr=adr)


def adr_layers(model: nn.Module) -> dict[str, Adr]:
    """All ADRs by their module paths."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Adr)}


def depths_of(model: Backbone) -> tuple[Depth, ...]:
    """The backbone's numbers of blocks; none for one without rows."""
    return model.depths


def rows_of(model: Backbone, depth: Depth) -> list[str]:
    """Module paths of the rows that share a number."""
    return [name for name, _ in model.named_modules() if any(fnmatchcase(name, pattern) for pattern in depth.rows)]


def blocks_of(model: Backbone, row: str, depth: Depth) -> list[str]:
    """Module paths of a row's blocks."""
    children = model.get_submodule(row).named_children()
    return [f"{row}.{name}" for name, child in children if isinstance(child, depth.block)]


def all_blocks(model: Backbone) -> list[str]:
    """Module paths of all blocks that can be left out."""
    return [
        name for depth in depths_of(model) for row in rows_of(model, depth) for name in blocks_of(model, row, depth)
    ]


def inside(name: str, outer: Sequence[str] | set[str]) -> bool:
    """Whether a module path is one of these or inside one."""
    return any(name == one or name.startswith(f"{one}.") for one in outer)


def _check(model: Backbone, cut: Cut) -> None:
    blocks = all_blocks(model)
    unknown = [name for name in cut.blocks if name not in blocks]
    if unknown:
        those = f"Those are: {', '.join(sorted(blocks))}." if blocks else "This backbone has none."
        raise ModelError(f"{unknown[0]} is not a block that can be left out. {those}")
    sizes = {name: layer.hidden for name, layer in hidden_layers(model).items()}
    bottlenecks = {name: adr.bottleneck for name, adr in adr_layers(model).items()}
    for what, known, wanted in (("hidden", sizes, cut.hidden), ("bottleneck", bottlenecks, cut.bottleneck)):
        for name, kept in wanted.items():
            if name not in known:
                raise ModelError(f"{name} has no {what} channels. Those that have: {', '.join(known) or 'none'}.")
            if not kept or len(set(kept)) < len(kept) or not set(kept) <= set(range(known[name])):
                raise ModelError(f"{name} has the {what} channels 0 to {known[name] - 1}. Got {list(kept)} to keep.")
    if cut.bottleneck and (
        set(cut.bottleneck) != set(bottlenecks) or len({len(kept) for kept in cut.bottleneck.values()}) > 1
    ):
        raise ModelError("All ADRs have one bottleneck: keep as many channels of each.")


def _renamed(model: Backbone, gone: set[str]) -> Mapping[str, str]:
    """Old path of each child of a row that moves up -> its new one."""
    renamed: dict[str, str] = {}
    for depth in depths_of(model) if gone else ():
        for row in rows_of(model, depth):
            kept = [name for name, _ in model.get_submodule(row).named_children() if f"{row}.{name}" not in gone]
            renamed |= {f"{row}.{name}": f"{row}.{place}" for place, name in enumerate(kept)}
    return renamed


def _new_name(name: str, gone: Sequence[str], renamed: Mapping[str, str]) -> str | None:
    """The name of a module or a tensor in the smaller network; None if it is not there."""
    if inside(name, gone):
        return None
    prefix = next((old for old in renamed if inside(name, [old])), None)
    return name if prefix is None else renamed[prefix] + name[len(prefix) :]
