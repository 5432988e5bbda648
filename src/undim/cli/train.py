"""`undim train`: a recipe to trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from undim.errors import UsageError
from undim.training.loop import Progress as Step
from undim.training.loop import spec_of, train_network
from undim.training.recipe import load_recipe
from undim.weights.files import save_model


def train(
    recipe: Annotated[Path, typer.Argument(help="A .yaml recipe.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")],
    changes: Annotated[list[str] | None, typer.Option("--set", help="key=value, such as optimiser.lr=5e-4.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run from its last checkpoint.")] = False,
    max_minutes: Annotated[float | None, typer.Option(help="Time budget; the schedule is laid over it.")] = None,
) -> None:
    """Train a network by a recipe; the run's folder receives metrics.csv, last.ckpt and average.safetensors."""
    pairs = dict(_pair(change) for change in changes or [])
    plan = load_recipe(recipe, pairs)
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        TextColumn("{task.completed}/{task.total} loss {task.fields[loss]:.4f} PSNR {task.fields[psnr]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=plan.steps, loss=float("nan"), psnr="-")

        def report(step: Step) -> None:
            bar.update(task, completed=step.step, loss=step.loss)
            if step.validation is not None:
                bar.update(task, psnr=f"{step.validation['psnr']:.2f}")
                typer.echo(f"step {step.step}: loss {step.loss:.4f}, validation PSNR {step.validation['psnr']:.2f} dB")

        model, steps = train_network(plan, output, resume=resume, max_minutes=max_minutes, report=report)
    spec = spec_of(plan, steps)
    save_model(spec, model, output / "average.safetensors", overwrite=True)
    typer.echo(f"{output / 'average.safetensors'}: {spec.architecture} after {steps} steps.")


def _pair(change: str) -> tuple[str, str]:
    key, sign, value = change.partition("=")
    if not sign or not key:
        raise UsageError(f"--set takes key=value. Got {change!r}.")
    return key, value
