"""What the verbs that train share: their options, and a run with a progress bar."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from undim.cli.lines import say
from undim.errors import UsageError
from undim.training.dry_run import rehearse, spell_time
from undim.training.loop import train_network
from undim.training.metrics_file import Progress
from undim.training.recipe import Recipe

Changes = Annotated[list[str] | None, typer.Option("--set", help="key=value, such as optimiser.lr=5e-4; repeatable.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run from its last checkpoint.")]
Minutes = Annotated[float | None, typer.Option(help="Time budget; the schedule is laid over it.", min=0.01)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Write nothing; say how large the network is and how long it would take.")
]


def run_recipe(recipe: Recipe, output: Path | None, resume: bool, max_minutes: float | None, dry_run: bool) -> None:
    """Train, or say what training would take, with a progress bar on a terminal and a line a validation elsewhere."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would tell the precision, twice
    if dry_run:
        for line in rehearse(recipe).lines():
            typer.echo(line)
        return
    if output is None:
        raise UsageError("Where should the run go? Give -o RUN.")
    first = os.environ.get("RANK", "0") == "0"
    resume = _resumes(output, resume)
    with _reporting(recipe.steps, visible=first) as report:
        _, steps = train_network(
            recipe, output, resume=resume, max_minutes=max_minutes, report=report, notify=say if first else None
        )
    if first:
        files = "average.safetensors and best.safetensors" if recipe.data.validates else "average.safetensors"
        typer.echo(f"{output}: {recipe.model.name} after {steps} steps, in {files}.")


def _resumes(output: Path, resume: bool) -> bool:
    """Whether to go on from a checkpoint: as was asked, or as torchrun needs it that starts ended processes anew.

    There the first start and the next ones have one command line: one that resumes begins where there is nothing yet.
    All processes ask before the first of them writes to the folder, so they agree.
    """
    if os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") == "0":
        return resume
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    return (resume or again) and (output / "recipe.yaml").is_file()


@contextmanager
def _reporting(steps: int, *, visible: bool) -> Iterator[Callable[[Progress], None]]:
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        TextColumn("{task.fields[step]}/{task.fields[steps]}"),
        TextColumn("loss {task.fields[loss]:.4f}  PSNR {task.fields[psnr]}  {task.fields[speed]:.1f} images/s"),
        TextColumn("{task.fields[left]} left"),
    )
    with Bar(*columns, console=console, disable=not (visible and console.is_terminal)) as bar:
        task = bar.add_task(
            "training", total=1.0, step=0, steps=steps, loss=float("nan"), psnr="-", speed=0.0, left="-"
        )
        smoothed: dict[str, float] = {}

        def smooth(name: str, value: float) -> float:
            smoothed[name] = value if name not in smoothed else 0.95 * smoothed[name] + 0.05 * value
            return smoothed[name]

        def report(step: Progress) -> None:
            if not visible:
                return
            left = step.seconds * (1 / max(step.share, 1e-9) - 1)
            bar.update(
                task,
                completed=step.share,
                step=step.step,
                loss=smooth("loss", step.loss),
                speed=step.pictures / max(smooth("seconds", step.step_seconds), 1e-9),
                left=spell_time(left),
            )
            if step.validation is not None:
                figures = step.validation
                bar.update(task, psnr=f"{figures['psnr']:.2f}")
                best = ", the best so far" if step.best_step == step.step else ""
                typer.echo(
                    f"step {step.step}: loss {smoothed['loss']:.4f}, validation PSNR {figures['psnr']:.2f} dB{best}"
                    f" (SSIM {figures['ssim']:.3f}, GT-mean {figures['psnr_gt_mean']:.2f} dB, brightness error"
                    f" {figures['brightness_error']:.3f}), {spell_time(left)} left"
                )

        yield report
