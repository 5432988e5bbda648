"""Which layers of a network are looked at: by declared facts of registered backbones, by type or name of others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

from torch import nn

from undim.errors import ModelError, suggest
from undim.nets.adr import Adr
from undim.nets.backbone import Backbone, FeedForwardBase, QkvAttention

AdrChoice = Literal["reset", "keep"]

_ATTENTION = re.compile(r"attention|attn|msa", re.IGNORECASE)
_FEEDFORWARD = re.compile(r"feed_?forward|ffn|mlp", re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """One layer: a module with all its parameters.

    Examples:
        >>> from torch import nn
        >>> from undim.redundancy import Layer
        >>> [name for name, _ in Layer("attn", nn.Sequential(nn.Linear(2, 2))).modules()]
        ['', '0']
    """

    name: str
    """Module path inside the network, such as "decoder_level3.0.attn"."""
    module: nn.Module = field(repr=False)
    stage: str = ""
    """Of registered backbones, the stage that it stands in, such as "latent"; "" outside all of them."""
    kept: tuple[str, ...] = ()
    """Paths inside the layer that a reset leaves alone: of each `undim.nets.Adr`, or nothing."""

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The modules that a reset touches, with their path inside the layer, parents first."""
        for name, module in self.module.named_modules():
            if not any(name == kept or name.startswith(f"{kept}.") for kept in self.kept):
                yield name, module


@dataclass(frozen=True)
class Selection:
    """The layers that were asked for, and what a reader of results must know about those left out."""

    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()


def layers(
    model: nn.Module, kind: str = "attention", stage: str | None = None, *, adr: AdrChoice = "reset"
) -> list[Layer]:
    """Find the layers of a network, in the order of its module tree.

    Args:
        model: a registered backbone, whose declared facts say what stands where, or any other network, of which a
            module counts as attention (feed-forward) if its class or its attribute is named so, and no module with
            parameters inside it is.
        kind: "attention"; "feedforward"; "all", which is both and every module outside them that holds parameters
            itself; or a regular expression, searched in module names: each match is one layer with all its submodules,
            so that matches inside a match are part of it.
        stage: of registered backbones, the name of a stage ("latent", "decoder3") or of a part ("encoder", "decoder").
        adr: whether resetting an attention layer resets its ADR, or keeps it. With "keep", only attention layers that
            have one differ.

    Returns:
        At least one layer. What nothing reads (`Backbone.unread`) and what has no parameters is left out.

    Raises:
        ModelError: if there is no such layer or stage, or the expression is none.

    Examples:
        >>> from undim.nets import create_model
        >>> from undim.redundancy import layers
        >>> [layer.name for layer in layers(create_model("candela_tiny"), stage="latent")]
        ['latent.1']
    """
    return list(select(model, kind, stage, adr=adr).layers)


def select(
    model: nn.Module, kind: str = "attention", stage: str | None = None, *, adr: AdrChoice = "reset"
) -> Selection:
    """What `layers` finds, with notes about layers that were left out."""
    unread = model.unread if isinstance(model, Backbone) else ()
    found = [
        Layer(name, module, _stage(model, name))
        for name, module in _find(model, kind)
        if any(True for _ in module.parameters())
    ]
    if stage is not None:
        found = _of_stage(model, found, stage)
    dead = [layer for layer in found if any(f"{layer.name}.".startswith(f"{name}.") for name in unread)]
    alive = [layer for layer in found if layer not in dead]
    if not alive:
        place = "" if stage is None else f" in its stage {stage!r}"
        raise ModelError(
            f"{type(model).__name__} has no {kind!r} layer with parameters{place}. Kind 'all' takes every layer, and a"
            f" regular expression those with such names, as of"
            f" {', '.join(name for name, _ in _some_names(model)) or 'another network'}."
        )
    if adr == "keep":
        alive = [replace(layer, kept=_adrs(layer.module)) for layer in alive]
    notes = tuple(f"{layer.name} is left out: nothing reads its output" for layer in dead)
    return Selection(tuple(alive), notes)


def _adrs(module: nn.Module) -> tuple[str, ...]:
    return tuple(name for name, inner in module.named_modules() if name and isinstance(inner, Adr))


def _find(model: nn.Module, kind: str) -> list[tuple[str, nn.Module]]:
    if kind == "attention":
        return _attention(model)
    if kind == "feedforward":
        return _feedforward(model)
    if kind == "all":
        typed = dict([*_attention(model), *_feedforward(model)])
        rest = {
            name: module
            for name, module in model.named_modules()
            if name and next(module.parameters(recurse=False), None) is not None and not _inside(name, typed)
        }
        both = {**typed, **rest}
        return [(name, module) for name, module in model.named_modules() if name in both]
    try:
        pattern = re.compile(kind)
    except re.error as error:
        raise ModelError(f"{kind!r} is neither a kind of layer nor a regular expression: {error}.") from error
    return _outermost(model, lambda name, _: pattern.search(name) is not None)


def _attention(model: nn.Module) -> list[tuple[str, nn.Module]]:
    if isinstance(model, Backbone):
        return [(site.name, site.module) for site in model.attention_sites()]
    return _innermost(model, lambda name, module: isinstance(module, QkvAttention) or _named(name, module, _ATTENTION))


def _feedforward(model: nn.Module) -> list[tuple[str, nn.Module]]:
    if isinstance(model, Backbone):
        return [(site.name, site.module) for site in model.feedforward_sites()]
    attention = dict(_attention(model))
    return [
        (name, module)
        for name, module in _innermost(
            model, lambda name, module: isinstance(module, FeedForwardBase) or _named(name, module, _FEEDFORWARD)
        )
        if not _inside(name, attention) and not any(_inside(inner, {name: module}) for inner in attention)
    ]


def _named(name: str, module: nn.Module, pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(word) for word in (type(module).__name__, name.rpartition(".")[2]))


def _outermost(model: nn.Module, wanted: Callable[[str, nn.Module], bool]) -> list[tuple[str, nn.Module]]:
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        has_parameters = next(module.parameters(), None) is not None
        if name and has_parameters and not _inside(name, found) and wanted(name, module):
            found[name] = module
    return list(found.items())


def _innermost(model: nn.Module, wanted: Callable[[str, nn.Module], bool]) -> list[tuple[str, nn.Module]]:
    matches = {
        name: module
        for name, module in model.named_modules()
        if name and next(module.parameters(), None) is not None and wanted(name, module)
    }
    around = {name for name in matches for inner in matches if inner.startswith(f"{name}.")}
    return [(name, module) for name, module in matches.items() if name not in around]


def _inside(name: str, outer: dict[str, nn.Module]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:length]) in outer for length in range(1, len(parts) + 1))


def _stage(model: nn.Module, name: str) -> str:
    if isinstance(model, Backbone):
        for pattern, stage in model.stages.items():
            if fnmatchcase(name, f"{pattern}*"):
                return stage.name
    return ""


def _of_stage(model: nn.Module, found: list[Layer], stage: str) -> list[Layer]:
    if not isinstance(model, Backbone):
        raise ModelError(f"{type(model).__name__} declares no stages: choose layers by a regular expression.")
    declared = list(model.stages.values())
    names = {entry.name for entry in declared if stage in (entry.name, entry.part)}
    if not names:
        known = list(dict.fromkeys(word for entry in declared for word in (entry.name, entry.part)))
        raise ModelError(
            f"{type(model).__name__} has no stage {stage!r}.{suggest(stage, known)} There are: {', '.join(known)}."
        )
    return [layer for layer in found if layer.stage in names]


def _some_names(model: nn.Module, shown: int = 5) -> list[tuple[str, nn.Module]]:
    named = ((name, module) for name, module in model.named_modules() if name and name.count(".") < 2)
    return [(name, module) for name, module in named if any(True for _ in module.parameters())][:shown]
