"""The network that a recipe describes: built, started from other weights, partly frozen, grouped, averaged, noted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undim.errors import CheckpointError
from undim.nets import Backbone
from undim.training.recipe import ModelSection, OptimiserSection, Recipe
from undim.weights.files import ModelSpec, check_state, load_model


def build_model(section: ModelSection) -> Backbone:
    """The network that a recipe names, with ADR where it says so and random weights."""
    start = {} if section.adr is None else {"identity": section.adr.identity, "balanced": section.adr.balanced}
    model = section.network().build(**start)
    if section.freeze == "backbone":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(".adr." in name)
    return model


def start_from(model: Backbone, path: Path, *, partial: bool = False, fresh: str | None = None) -> None:
    """Give a network the weights of an Undim file.

    Args:
        model: the network, changed in place.
        path: a .safetensors file.
        partial: whether weights that the file lacks keep their initialisation; what the file has must fit always.
        fresh: regular expression, searched in the names of weights that keep their initialisation although the file has
            them.

    Raises:
        CheckpointError: if the file is absent or damaged, or does not fit; the first differences are named.
    """
    expected = model.state_dict()
    weights = load_model(path).state_dict()
    if fresh is not None:
        renewed = {name: tensor for name, tensor in expected.items() if re.search(fresh, name)}
        weights = {name: tensor for name, tensor in weights.items() if not re.search(fresh, name)} | renewed
    lacking = {} if not partial else {name: tensor for name, tensor in expected.items() if name not in weights}
    try:
        check_state({**weights, **lacking}, expected, str(path))
    except CheckpointError as error:
        lacks = not partial and expected.keys() - weights.keys()
        hint = " To keep the initialisation of what it lacks, set model.partial to true." if lacks else ""
        raise CheckpointError(f"{error}{hint}") from error
    model.load_state_dict(weights, strict=False)


def parameter_groups(network: nn.Module, settings: OptimiserSection) -> Iterator[dict[str, Any]]:
    """Weight decay acts on matrices and kernels only; frozen parameters are left out.

    Biases, one temperature a head, and POG's embeddings, whose length has no effect, are left to the loss.
    """
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            kernel = parameter.ndim > 1 and parameter.numel() > parameter.shape[0]
            (decayed if kernel and not name.endswith("embeddings") else others).append(parameter)
    yield {"params": decayed, "weight_decay": settings.weight_decay}
    yield {"params": others, "weight_decay": 0.0}


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Move the averaged weights towards the model's; the decay grows from 0.1 at first to `decay`."""
    targets, sources = paired_parameters(average, model)
    torch._foreach_lerp_(targets, sources, average_share(step, decay))


def average_share(step: int, decay: float) -> float:
    """How far one step moves the averaged weights towards the model's: 0.9 at first, `1 - decay` in the end."""
    return 1 - min(decay, (1 + step) / (10 + step))


def paired_parameters(average: nn.Module, model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters of an average and those of the model that belong to them, in one order."""
    sources = dict(model.named_parameters())
    named = dict(average.named_parameters())
    return [*named.values()], [sources[name] for name in named]


def spec_of(recipe: Recipe, steps: int) -> ModelSpec:
    """What a run's weights belong to, with what they were trained on.

    Args:
        recipe: of the run.
        steps: how many were done.
    """
    section = recipe.model
    sources = [(recipe.data.name, recipe.data.splits), *((more.name, ("train",)) for more in recipe.data.also)]
    stages = recipe.progressive
    batch = " then ".join(str(stage.batch) for stage in stages) or str(recipe.batch)
    crops = " then ".join(str(stage.crop) for stage in stages) or str(recipe.data.crop)
    notes = {
        "data": ", ".join(f"{name}, split {' + '.join(splits)}" for name, splits in sources),
        "steps": f"{steps} of batch {batch}, crops of {crops}",
        "iterations": str(steps),
        "batch": batch,
        "crops": crops,
        "seed": str(recipe.seed),
    }
    if section.start is not None:
        notes["start"] = section.start.name
    network = section.network()
    return ModelSpec(network.architecture, network.overrides, network.adr, notes, convs=network.convs)
