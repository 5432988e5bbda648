"""`undim train`: a recipe to trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undim.cli.changes import parse_changes
from undim.cli.training import Changes, DryRun, Minutes, Resume, run_recipe
from undim.shipped import find_plan
from undim.training.recipe import load_recipe


def train(
    recipe: Annotated[Path, typer.Argument(help="A .yaml recipe.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run; needed unless --dry-run is given.")
    ] = None,
    changes: Changes = None,
    resume: Resume = False,
    max_minutes: Minutes = None,
    dry_run: DryRun = False,
) -> None:
    """Train a network by a recipe.

    The run's folder receives recipe.yaml, last/, best.safetensors, average.safetensors, metrics.csv, tensorboard/ and
    sheets/. Under torchrun, the processes share each step's pictures.
    """
    run_recipe(load_recipe(find_plan(recipe), parse_changes(changes)), output, resume, max_minutes, dry_run)
