"""`undim finetune`: trained weights, with or without ADR added to them, trained further by the same loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from undim.cli.changes import parse_changes
from undim.cli.training import Changes, DryRun, Minutes, Resume, run_recipe
from undim.shipped import find_plan
from undim.training.continuing import DEFAULTS, model_section
from undim.training.recipe import make_recipe, read_tree
from undim.weights.files import read_spec


def finetune(
    checkpoint: Annotated[Path, typer.Argument(help="An Undim .safetensors file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run; needed unless --dry-run is given.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="A .yaml recipe for all but the network, which is the checkpoint's.")
    ] = None,
    adr: Annotated[
        Literal["pog", "dynamic", "static", "none"] | None,
        typer.Option(
            metavar="pog|dynamic|static|none",
            help="Kernel of the ADR to add; default: pog, or the checkpoint's own ADR if it has one.",
        ),
    ] = None,
    where: Annotated[
        Literal["decoder", "encoder", "all"] | None,
        typer.Option(metavar="decoder|encoder|all", help="Attention layers that get ADR."),
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
    tree = {**DEFAULTS} if recipe is None else read_tree(find_plan(recipe))
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
