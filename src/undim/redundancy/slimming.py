"""The paper's outlook, done: leave out the blocks that redundancy marks, keep the weights of the others.

Registered backbones stand on rows of equal blocks, whose numbers are constructor arguments. So the smaller network is
one that the constructor makes, its file loads like any other, and it can be trained on by the ordinary loop.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from undim.errors import ModelError, UsageError
from undim.nets import count_flops
from undim.nets.backbone import Backbone
from undim.nets.candela import Candela, ResidualBlock
from undim.nets.restormer import Restormer
from undim.nets.retinexformer import Retinexformer
from undim.redundancy.harm import HarmResult
from undim.redundancy.ratios import DmrResult
from undim.redundancy.sites import Layer
from undim.weights.files import ModelSpec


@dataclass(frozen=True)
class Depth:
    """One number of blocks among a backbone's constructor arguments."""

    argument: str
    index: int | None
    """Its place in the argument; None where the argument is the number."""
    rows: tuple[str, ...]
    """Patterns of the module paths of the rows that have so many blocks each."""
    block: type[nn.Module] = nn.Module
    """Children of a row of another type stay."""
    smallest: int = 1


DEPTHS: dict[type[Backbone], tuple[Depth, ...]] = {
    Candela: (
        Depth("blocks", 0, ("encoder1", "decoder1"), ResidualBlock, 0),
        Depth("blocks", 1, ("encoder2", "decoder2"), ResidualBlock, 0),
        Depth("blocks", 2, ("latent", "decoder3"), ResidualBlock, 0),
    ),
    Restormer: (
        Depth("num_blocks", 0, ("encoder_level1", "decoder_level1")),
        Depth("num_blocks", 1, ("encoder_level2", "decoder_level2")),
        Depth("num_blocks", 2, ("encoder_level3", "decoder_level3")),
        Depth("num_blocks", 3, ("latent",)),
        Depth("num_refinement_blocks", None, ("refinement",)),
    ),
    Retinexformer: (
        Depth("num_blocks", 0, ("body.*.encoder_layers.0.0.blocks", "body.*.decoder_layers.1.2.blocks")),
        Depth("num_blocks", 1, ("body.*.encoder_layers.1.0.blocks", "body.*.decoder_layers.0.2.blocks")),
        Depth("num_blocks", 2, ("body.*.bottleneck.blocks",)),
    ),
}
"""CIDNet is not here: each of its rows is one block."""


@dataclass(frozen=True)
class Step:
    """Blocks left out together, one of each row that shares a number."""

    blocks: tuple[str, ...]
    """Module paths in the whole network."""
    reason: str
    """What was measured, in words."""


@dataclass(frozen=True)
class Proposal:
    """What to leave out, in this order."""

    steps: tuple[Step, ...]
    saved: float
    """Share of the multiply-adds that goes, 0 to 1."""

    @property
    def blocks(self) -> tuple[str, ...]:
        """Module paths of all blocks to leave out."""
        return tuple(name for step in self.steps for name in step.blocks)


def find_blocks(model: Backbone) -> list[Layer]:
    """The blocks that can be left out, each a layer with all its parameters.

    Raises:
        ModelError: if the backbone has none.
    """
    return [
        Layer(name, model.get_submodule(name))
        for depth in _depths(model)
        for row in _rows(model, depth)
        for name in _blocks(model, row, depth)
    ]


def pattern_of(found: Sequence[Layer]) -> str:
    """A regular expression for `kind` that matches exactly these layers."""
    return "^(" + "|".join(layer.name.replace(".", r"\.") for layer in found) + ")$"


def propose(
    model: Backbone, spec: ModelSpec, ratios: DmrResult, harm: HarmResult, *, fraction: float = 0.25
) -> Proposal:
    """Choose blocks to leave out until a share of the multiply-adds is gone.

    What a block is worth is how far the output moves when it is re-initialised, as a mean square error, times the share
    of pictures that this makes worse: 10^(-DMR / 10) (1 - POI / 100). Of every row the block of least worth would go,
    and the rows that share a number go together, those first that lose least for each multiply-add that is saved.

    Args:
        model: that both were measured on.
        spec: of the model.
        ratios: of all of `find_blocks`.
        harm: of the same.
        fraction: share of the multiply-adds, above 0 and below 1.

    Raises:
        UsageError: for a fraction out of range, or one that leaving out blocks cannot reach.
        ModelError: if the backbone has no rows of blocks.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"The share of multiply-adds to save is above 0 and below 1. Got {fraction}.")
    total = _flops(model)
    per_layer = ratios.per_layer
    worth = {
        block.name: 10 ** (-per_layer[block.name] / 10) * (1 - harm.layers[block.name].poi / 100)
        for block in find_blocks(model)
    }
    savings = {depth: _saving(model, spec, depth, total) for depth in _depths(model)}
    steps: list[Step] = []
    gone: set[str] = set()
    left = total
    while left > (1 - fraction) * total:
        options: list[tuple[float, Depth, tuple[str, ...]]] = []
        for depth in savings:
            weakest = _weakest(model, depth, gone, worth)
            if weakest:
                options.append((sum(worth[name] for name in weakest) / max(savings[depth], 1), depth, weakest))
        if not options:
            raise UsageError(
                f"Leaving out blocks saves at most {100 * (1 - left / total):.0f} % of the multiply-adds of this"
                f" network, not {100 * fraction:.0f} %."
            )
        _, depth, blocks = min(options, key=lambda option: option[0])
        told = "; ".join(f"{name}: DMR {per_layer[name]:.1f} dB, POI {harm.layers[name].poi:.0f} %" for name in blocks)
        steps.append(Step(blocks, f"{told}; saves {100 * savings[depth] / total:.1f} % of the multiply-adds"))
        gone |= set(blocks)
        left -= savings[depth]
    return Proposal(tuple(steps), 1 - left / total)


def leave_out(model: Backbone, spec: ModelSpec, blocks: Sequence[str]) -> tuple[Backbone, ModelSpec]:
    """Build the network without some of its blocks, with the weights of all that stays.

    Args:
        model: left as it is.
        spec: of the model.
        blocks: module paths, as many of each row that shares a number.

    Returns:
        The smaller network in evaluation mode, on the CPU, and what its file says.

    Raises:
        ModelError: if a path is no block, or the rows that share a number would differ.
    """
    known = {layer.name for layer in find_blocks(model)}
    unknown = [name for name in blocks if name not in known]
    if unknown:
        raise ModelError(f"{unknown[0]} is no block that can be left out. Those are: {', '.join(sorted(known))}.")
    gone = set(blocks)
    smaller = _smaller_spec(model, spec, gone)
    with torch.random.fork_rng(devices=[]):
        network = smaller.build()
    renamed = _renamed(model, gone)
    weights: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if not any(name.startswith(f"{block}.") for block in gone):
            prefix = next((old for old in renamed if name.startswith(f"{old}.")), None)
            weights[name if prefix is None else renamed[prefix] + name[len(prefix) :]] = tensor.detach().cpu()
    network.load_state_dict(weights)
    return network.eval(), smaller


def measure_time(model: nn.Module, size: int = 256, rounds: int = 5) -> float:
    """Median milliseconds of one 1 x 3 x size x size picture in PyTorch, where the network is."""
    device = next(model.parameters()).device
    image = torch.rand(1, 3, size, size, device=device, generator=torch.Generator(device).manual_seed(0))
    taken = []
    with torch.no_grad():
        model(image)
        for _ in range(rounds):
            begun = time.perf_counter()
            model(image)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken)


def _weakest(model: Backbone, depth: Depth, gone: set[str], worth: Mapping[str, float]) -> tuple[str, ...]:
    """Of each row the block of least worth that is still there; none if a row would become too short."""
    rows = [[name for name in _blocks(model, row, depth) if name not in gone] for row in _rows(model, depth)]
    if min(map(len, rows)) <= depth.smallest:
        return ()
    return tuple(min(row, key=worth.__getitem__) for row in rows)


def _saving(model: Backbone, spec: ModelSpec, depth: Depth, total: int) -> int:
    """Multiply-adds of one block of each row; all blocks of a row cost the same. Zero if none can go."""
    first = _weakest(model, depth, set(), dict.fromkeys((layer.name for layer in find_blocks(model)), 0.0))
    if not first:
        return 0
    with torch.device("meta"):
        return total - _flops(_smaller_spec(model, spec, set(first)).build())


def _flops(model: Backbone) -> int:
    return count_flops(model, 256, model.flops_rule)


def _depths(model: Backbone) -> tuple[Depth, ...]:
    for kind, depths in DEPTHS.items():
        if isinstance(model, kind):
            return depths
    raise ModelError(
        f"{type(model).__name__} has no rows of blocks that could be shortened. Those that have:"
        f" {', '.join(kind.__name__ for kind in DEPTHS)}."
    )


def _rows(model: Backbone, depth: Depth) -> list[str]:
    return [name for name, _ in model.named_modules() if any(fnmatchcase(name, pattern) for pattern in depth.rows)]


def _blocks(model: Backbone, row: str, depth: Depth) -> list[str]:
    children = model.get_submodule(row).named_children()
    return [f"{row}.{name}" for name, child in children if isinstance(child, depth.block)]


def _smaller_spec(model: Backbone, spec: ModelSpec, gone: set[str]) -> ModelSpec:
    numbers: dict[str, dict[int | None, int]] = {}
    for depth in _depths(model):
        lengths = {sum(name not in gone for name in _blocks(model, row, depth)) for row in _rows(model, depth)}
        if len(lengths) > 1:
            raise ModelError(
                f"{' and '.join(depth.rows)} have one number of blocks, {depth.argument}: leave out as many of each."
            )
        numbers.setdefault(depth.argument, {})[depth.index] = lengths.pop()
    overrides = dict(spec.overrides)
    for argument, counts in numbers.items():
        overrides[argument] = (
            counts[None] if None in counts else [counts[index] for index in sorted(counts, key=_place)]
        )
    return replace(spec, overrides=overrides)


def _place(index: int | None) -> int:
    return index or 0


def _renamed(model: Backbone, gone: set[str]) -> Mapping[str, str]:
    """Old path of each child of a row -> its new one."""
    renamed: dict[str, str] = {}
    for depth in _depths(model):
        for row in _rows(model, depth):
            kept = [name for name, _ in model.get_submodule(row).named_children() if f"{row}.{name}" not in gone]
            renamed |= {f"{row}.{name}": f"{row}.{place}" for place, name in enumerate(kept)}
    return renamed
