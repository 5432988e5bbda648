"""`undim finetune`: trained weights, with or without ADR added to them, trained further by the same loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from undim.cli.train import Changes, DryRun, Minutes, Resume, parse_changes, run_recipe
from undim.errors import UsageError
from undim.training.recipe import make_recipe, read_tree
from undim.weights.files import ModelSpec, read_spec

DEFAULTS: dict[str, Any] = {"steps": 5000, "optimiser": {"lr": 2e-4, "warmup": 100}, "validate_every": 500}
"""The recipe where none is given: a fifth of the rate that Candela is trained with from the beginning."""


def finetune(
    checkpoint: Annotated[Path, typer.Argument(help="An Undim .safetensors file.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the run.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="A .yaml recipe for all but the network, which is the checkpoint's.")
    ] = None,
    adr: Annotated[
        Literal["pog", "dynamic", "static", "none"] | None,
        typer.Option(help="Kernel of the ADR to add; default: pog, or the checkpoint's own ADR if it has one."),
    ] = None,
    where: Annotated[
        Literal["decoder", "encoder", "all"] | None, typer.Option(help="Attention layers that get ADR.")
    ] = None,
    bottleneck: Annotated[int | None, typer.Option(help="Dm; default: the backbone's.")] = None,
    embedding: Annotated[int | None, typer.Option(help="De of POG; default: 64.")] = None,
    freeze_backbone: Annotated[
        bool, typer.Option("--freeze-backbone", help="Train the parameters of ADR alone.")
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    data: Annotated[str | None, typer.Option(help="Name of the data set, instead of the recipe's.")] = None,
    root: Annotated[Path | None, typer.Option(help="The data set's folder; else it is sought in $UNDIM_DATA.")] = None,
    changes: Changes = None,
    resume: Resume = False,
    max_minutes: Minutes = None,
    dry_run: DryRun = False,
) -> None:
    """Train a network further from its weights, by default with ADR and POG added to its attention.

    What is added changes nothing at the start: the network begins with exactly the output it had. The run's folder is
    that of `undim train`, and so are the other options.
    """
    tree = {**DEFAULTS} if recipe is None else read_tree(recipe)
    options = {"kernel": adr, "where": where, "bottleneck": bottleneck, "embedding": embedding}
    given = {name: value for name, value in options.items() if value is not None}
    tree["model"] = model_section(checkpoint, read_spec(checkpoint), given, freeze=freeze_backbone)
    if steps is not None:
        tree["steps"] = steps
    if data is not None or root is not None:
        named = {"name": data, "root": None if root is None else str(root)}
        section = tree.get("data", {}) if data is None else {}  # another data set's folders are not those of this one
        tree["data"] = {**section, **{name: value for name, value in named.items() if value is not None}}
    plan = make_recipe(tree, parse_changes(changes), owner="The recipe" if recipe is None else str(recipe))
    run_recipe(plan, output, resume, max_minutes, dry_run)


def model_section(checkpoint: Path, spec: ModelSpec, given: Mapping[str, object], *, freeze: bool) -> dict[str, Any]:
    """The recipe's section for a network that starts from a checkpoint.

    Args:
        checkpoint: its file.
        spec: what the file holds.
        given: options of ADR, by the names of the recipe's keys; the kernel "none" adds none.
        freeze: whether ADR alone is trained.

    Raises:
        UsageError: if ADR is asked for and there is one already, or options of it are given and it is not wanted.
    """
    added: dict[str, object] | None = {"kernel": "pog", **given, "identity": True}
    if spec.adr is not None:
        if given:
            raise UsageError(f"{checkpoint} has ADR already ({spec.adr.kernel}): leave the options of ADR out.")
        added = dataclasses.asdict(spec.adr)
    elif given.get("kernel") == "none":
        if len(given) > 1 or freeze:
            raise UsageError("--adr none leaves nothing to freeze, place or size: leave the other options of ADR out.")
        added = None
    return {
        "name": spec.architecture,
        "settings": spec.overrides,
        "adr": added,
        "convs": None if spec.convs is None else dataclasses.asdict(spec.convs),
        "start": str(checkpoint.resolve()),
        "partial": spec.adr is None and added is not None,
        "freeze": "backbone" if freeze else "none",
    }
