"""The paper's outlook, done: a smaller network without the blocks and channels that redundancy marks."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from undim.errors import UsageError
from undim.nets import count_flops
from undim.nets.backbone import Backbone, Depth
from undim.nets.hidden_channels import hidden_layers
from undim.redundancy.cutting import (
    Cut,
    adr_layers,
    all_blocks,
    blocks_of,
    cut_spec,
    depths_of,
    inside,
    rows_of,
)
from undim.redundancy.sites import Layer
from undim.weights.files import ModelSpec

PORTIONS = 8
"""A layer gives up its channels in about so many portions; the last one stays."""


@dataclass(frozen=True)
class Evidence:
    """What resets of one layer showed.

    Examples:
        >>> from undim.redundancy import Evidence
        >>> round(Evidence(dmr=30.0, poi=50.0).worth, 6)  # 10^(-30 / 10) x (1 - 0.5)
        0.0005
    """

    dmr: float
    """In dB."""
    poi: float
    """In percent."""

    @property
    def worth(self) -> float:
        """How far the output moves, as a mean square error, times the share of pictures that this makes worse."""
        return 10 ** (-self.dmr / 10) * (1 - self.poi / 100)

    def __str__(self) -> str:
        return f"DMR {self.dmr:.1f} dB, POI {self.poi:.0f} %"


@dataclass(frozen=True)
class SlimChoice:
    """Blocks left out together, one of each row that shares a number; or one layer, or all ADRs, made narrower."""

    name: str
    """Module paths in the whole network, and what becomes of them."""
    reason: str
    """What was measured, in words."""


@dataclass(frozen=True)
class Proposal:
    """What to leave out and what to make narrower, in the order in which it was chosen."""

    steps: tuple[SlimChoice, ...]
    cut: Cut
    saved: float
    """Share of the multiply-adds that goes, 0 to 1."""


def units(model: Backbone) -> list[list[Layer]]:
    """The layers that can be left out or made narrower, in one or two sets within which none contains another.

    Examples:
        >>> from undim.nets import create_model
        >>> from undim.redundancy import units
        >>> sum(len(group) for group in units(create_model("candela_tiny"))) > 0
        True
    """
    names = dict.fromkeys([*all_blocks(model), *hidden_layers(model), *adr_layers(model)])
    read = [name for name, _ in model.named_modules() if name in names and not inside(name, model.unread)]
    outer = [name for name in read if not any(name.startswith(f"{other}.") for other in read)]
    inner = [name for name in read if name not in outer]
    return [[Layer(name, model.get_submodule(name)) for name in group] for group in (outer, inner) if group]


def pattern_of(found: list[Layer]) -> str:
    """A regular expression for `kind` that matches exactly these layers."""
    return "^(" + "|".join(layer.name.replace(".", r"\.") for layer in found) + ")$"


def propose(
    model: Backbone,
    spec: ModelSpec,
    measured: Mapping[str, Evidence],
    *,
    fraction: float = 0.25,
    energy: Mapping[str, Tensor] | None = None,
) -> Proposal:
    """Choose blocks to leave out and channels to drop until a share of the multiply-adds is gone.

    A layer's worth (`Evidence.worth`) is spread over its hidden channels, or those of its ADR's bottleneck, by their
    energy: the product of the squared norms of the kernels that make, pass on and read a channel. Again and again that
    goes which loses least worth for each multiply-add that it saves: of every row that shares a number the block of
    least worth; of one layer the weakest of its hidden channels; of every ADR the weakest channels of its bottleneck.

    Args:
        model: that was measured.
        spec: of the model.
        measured: of all of `units`.
        fraction: share of the multiply-adds, above 0 and below 1.
        energy: ADR -> energy of each channel of its bottleneck (`bottleneck_energy`); without it, bottlenecks stay.

    Raises:
        UsageError: for a fraction out of range, or one that cannot be reached.

    Examples:
        >>> from undim.redundancy import Evidence, propose, units
        >>> from undim.weights.files import ModelSpec
        >>> spec = ModelSpec("candela_tiny")
        >>> model = spec.build()
        >>> shown = {layer.name: Evidence(dmr=40.0, poi=20.0) for group in units(model) for layer in group}
        >>> propose(model, spec, shown, fraction=0.01).saved >= 0.01  # doctest: +SKIP
        True
    """
    if not 0 < fraction < 1:
        raise UsageError(f"The share of multiply-adds to save is above 0 and below 1. Got {fraction}.")
    plan = _Plan(model, spec, measured, energy or {})
    enough = (1 - fraction) * plan.total
    while plan.estimate > enough or plan.left() > enough:  # counting takes longer than choosing
        option = min(plan.options(), key=lambda option: option.loss / max(option.saving, 1), default=None)
        if option is None:
            saved = 100 * (1 - plan.left() / plan.total)
            raise UsageError(
                f"Blocks and channels save at most {saved:.0f} % of the multiply-adds of this network, not"
                f" {100 * fraction:.0f} %."
            )
        option.take()
        plan.estimate -= option.saving
    return Proposal(tuple(plan.steps()), plan.cut(), 1 - plan.left() / plan.total)


def measure_time(model: nn.Module, size: int = 256, rounds: int = 20) -> float:
    """Least milliseconds of one 1 x 3 x size x size picture in PyTorch, where the network is.

    The least, as `timeit` has it: what else the machine does only adds.
    """
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
    return min(taken)


@dataclass(frozen=True)
class _Option:
    """One thing that could go next."""

    loss: float
    """Of worth."""
    saving: int
    """Multiply-adds, to a good approximation."""
    take: Callable[[], None]


@dataclass
class _Channels:
    """The channels of one layer, or of one bottleneck, weakest first."""

    order: list[int]
    shares: list[float]
    """Of the energy, by channel."""
    gone: int = 0

    @classmethod
    def of(cls, energy: Tensor) -> _Channels:
        shares = energy.double() / energy.double().sum().clamp_min(1e-300)
        return cls(shares.argsort().tolist(), shares.tolist())

    @property
    def portion(self) -> int:
        return max(1, len(self.order) // PORTIONS)

    @property
    def more(self) -> bool:
        """Whether a portion can go so that another stays."""
        return len(self.order) - self.gone >= 2 * self.portion

    def next_share(self) -> float:
        return sum(self.shares[channel] for channel in self.order[self.gone : self.gone + self.portion])

    @property
    def left(self) -> float:
        """Share of the energy that is still there."""
        return 1 - sum(self.shares[channel] for channel in self.order[: self.gone])

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(sorted(self.order[self.gone :]))


@dataclass
class _Plan:
    """What has been chosen so far, and what else could be."""

    model: Backbone
    spec: ModelSpec
    measured: Mapping[str, Evidence]
    energy: Mapping[str, Tensor]
    blocks: list[tuple[str, ...]] = field(default_factory=list)
    """Left out together."""
    order: list[str] = field(default_factory=list)
    """What steps tell of, in the order in which it was first chosen."""

    def __post_init__(self) -> None:
        self.total = count_flops(self.model, 256, self.model.flops_rule)
        self.estimate = self.total
        """Multiply-adds that are left, but for what blocks and bottlenecks that went both had."""
        self._hidden = {
            name: _Channels.of(layer.hidden_energy())
            for name, layer in hidden_layers(self.model).items()
            if name in self.measured
        }
        self._bottleneck = {name: _Channels.of(energy) for name, energy in self.energy.items()}
        self._savings = self._measure_savings()

    def left(self) -> int:
        """Multiply-adds of the network that the choices leave."""
        with torch.device("meta"):
            return count_flops(cut_spec(self.model, self.spec, self.cut()).build(), 256, self.model.flops_rule)

    def cut(self) -> Cut:
        """The choices."""
        gone = self._gone()
        return Cut(
            tuple(sorted(gone)),
            {name: one.kept for name, one in self._hidden.items() if one.gone and not inside(name, gone)},
            {name: one.kept for name, one in self._bottleneck.items() if one.gone},
        )

    def options(self) -> Iterator[_Option]:
        """All that could go next."""
        gone = self._gone()
        for depth, saving in self._savings.blocks:
            weakest = self._weakest(depth, gone)
            if weakest:
                narrowed = sum(self._hidden[name].gone * self._savings.hidden[name] for name in self._narrowed(weakest))
                loss = sum(self._worth(name) for name in weakest)
                yield _Option(loss, saving - narrowed, partial(self._leave_out, weakest))
        for name, channels in self._hidden.items():
            if channels.more and not inside(name, gone):
                loss = self.measured[name].worth * channels.next_share()
                saving = channels.portion * self._savings.hidden[name]
                yield _Option(loss, saving, partial(self._narrow, name))
        if self._bottleneck and all(channels.more for channels in self._bottleneck.values()):
            loss = sum(self.measured[name].worth * one.next_share() for name, one in self._bottleneck.items())
            portion = next(iter(self._bottleneck.values())).portion
            yield _Option(loss, portion * self._savings.bottleneck, self._narrow_bottlenecks)

    def steps(self) -> Iterator[SlimChoice]:
        """The choices in words."""
        cut = self.cut()
        for name in self.order:
            together = next((names for names in self.blocks if names[0] == name), None)
            if together is not None:
                why = "; ".join(f"{one}: {self.measured[one]}" for one in together)
                yield SlimChoice(f"{', '.join(together)} left out", why)
            elif name in cut.hidden:
                one = self._hidden[name]
                what = f"{name}: {len(one.order)} to {len(one.kept)} hidden channels"
                yield SlimChoice(what, f"{self.measured[name]}; {100 * (1 - one.left):.0f} % of their energy goes")
            elif name == _BOTTLENECK:
                first = next(iter(self._bottleneck.values()))
                worst = 100 * max(1 - one.left for one in self._bottleneck.values())
                why = "; ".join(f"{one}: {self.measured[one]}" for one in self._bottleneck)
                yield SlimChoice(
                    f"bottleneck of ADR: {len(first.order)} to {len(first.kept)} channels",
                    f"{why}; at most {worst:.0f} % of their energy goes",
                )

    def _leave_out(self, names: tuple[str, ...]) -> None:
        self.blocks.append(names)
        self._note(names[0])

    def _narrow(self, name: str) -> None:
        self._hidden[name].gone += self._hidden[name].portion
        self._note(name)

    def _narrow_bottlenecks(self) -> None:
        for one in self._bottleneck.values():
            one.gone += one.portion
        self._note(_BOTTLENECK)

    def _note(self, name: str) -> None:
        if name not in self.order:
            self.order.append(name)

    def _gone(self) -> set[str]:
        return {name for names in self.blocks for name in names}

    def _worth(self, block: str) -> float:
        """What is left of a block's worth; in a block that is itself a layer with hidden channels, some may be gone."""
        share = self._hidden[block].left if block in self._hidden else 1.0
        return self.measured[block].worth * share

    def _weakest(self, depth: Depth, gone: set[str]) -> tuple[str, ...]:
        """Of each row the block of least worth that is still there; none if a row would become too short."""
        rows = [
            [name for name in blocks_of(self.model, row, depth) if name not in gone]
            for row in rows_of(self.model, depth)
        ]
        if min(map(len, rows)) <= depth.smallest:
            return ()
        return tuple(min(row, key=self._worth) for row in rows)

    def _narrowed(self, blocks: tuple[str, ...]) -> list[str]:
        return [name for name in self._hidden if inside(name, blocks)]

    def _measure_savings(self) -> _Savings:
        rule = self.model.flops_rule
        blocks: list[tuple[Depth, int]] = []
        for depth in depths_of(self.model):
            first = self._weakest(depth, set())
            if first:
                with torch.device("meta"):
                    left = count_flops(cut_spec(self.model, self.spec, Cut(first)).build(), 256, rule)
                blocks.append((depth, self.total - left))
        shrinking = copy.deepcopy(self.model).to("meta")
        left = self.total
        hidden: dict[str, int] = {}
        for name, layer in hidden_layers(shrinking).items():
            if name in self._hidden and layer.hidden > 1:
                layer.keep_hidden(range(layer.hidden - 1))
                narrower = count_flops(shrinking, 256, rule)
                hidden[name], left = left - narrower, narrower
        for name, adr in adr_layers(shrinking).items():
            if name in self._bottleneck and adr.bottleneck > 1:
                adr.keep_bottleneck(range(adr.bottleneck - 1))
        return _Savings(tuple(blocks), hidden, left - count_flops(shrinking, 256, rule))


_BOTTLENECK = "the bottleneck of ADR"


@dataclass(frozen=True)
class _Savings:
    """Multiply-adds that go with the weakest block of each row, one hidden channel, one channel of all bottlenecks."""

    blocks: tuple[tuple[Depth, int], ...]
    hidden: Mapping[str, int]
    bottleneck: int
