"""The training loop, on Lightning Fabric.

Fabric gives devices, precision and process groups and leaves the loop to us: the loop is where exact resuming, the time
budget and the choice of crops live, and a trainer that owns the loop would have to be bent for each of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from undim.arrays import Bytes
from undim.errors import CheckpointError, ModelError, TrainingError
from undim.nets import Backbone
from undim.training.device_stepper import ON_HOST, DeviceStepper, device_stream
from undim.training.metrics_file import Progress
from undim.training.recipe import Recipe
from undim.training.run_folder import RunFolder, find_state
from undim.training.samples import load_crops, read_held_out
from undim.training.stepper import Stepper
from undim.training.steps import Taken, steps_of, steps_on_device
from undim.training.validation import Validation, sees_nothing, validate

LOST = 20
"""Steps in a row on a device that may be other than finite."""
BLIND = (
    "At step {step} all units of the branch that sees the whole picture are silent: it has no effect any more and does"
    " not come back. Begin anew with a lower optimiser.lr, or from weights whose branch works."
)
"""What is told once where it happens."""


def train_network(
    recipe: Recipe,
    run: Path,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    report: Callable[[Progress], None] | None = None,
    notify: Callable[[str], None] | None = None,
    inspect: Callable[[int, Backbone], None] | None = None,
) -> tuple[Backbone, int]:
    """Train by a recipe.

    Under `torchrun` every process calls this; only the first one writes, validates and reports.

    Args:
        recipe: all choices.
        run: folder of the run; see `undim.training.run_folder` for what it receives.
        resume: continue from the run's last checkpoint, to the same weights as an unbroken run (with `max_minutes` the
            learning rate follows the clock, and no two runs are the same).
        max_minutes: time budget over all sessions of the run; the whole schedule is laid over it if it ends before the
            steps do.
        report: called after each step.
        notify: called with a sentence where something is done that was not quite what was asked.
        inspect: called before the first step and at each validation with the number of steps done and the averaged
            network, which it leaves as it is.

    Returns:
        The network with its averaged weights, in evaluation mode, and the number of steps done.

    Raises:
        TrainingError: if the loss or its gradient is not finite (on a device, 20 times in a row), or the output at a
            validation, or the disk is full; the last checkpoint stays.
        RecipeError: if the run folder holds a run already and `resume` is not set, or one of another recipe, or a batch
            does not split evenly over the processes.
        DataError: if pictures are missing or cannot be used; nothing is written then.
        CheckpointError: if there is nothing to resume, what is there is damaged, or `model.start` does not fit.
    """
    state = find_state(recipe, run, resume=resume)
    on_device = steps_on_device(recipe, default_device(), int(os.environ.get("WORLD_SIZE", "1")))
    with device_stream(default_device()) if on_device else nullcontext():
        with ON_HOST:  # other cells of a study may be built in other threads
            stepper = DeviceStepper(recipe, state, notify) if on_device else Stepper(recipe, state)
        return _train(stepper, state, run, _Wishes(resume, max_minutes, report, notify, inspect))


@dataclass(frozen=True)
class _Wishes:
    """What `train_network` is asked for besides a recipe and a folder."""

    resume: bool
    max_minutes: float | None
    report: Callable[[Progress], None] | None
    notify: Callable[[str], None] | None
    inspect: Callable[[int, Backbone], None] | None


def _train(stepper: Stepper, state: dict[str, Any] | None, run: Path, wishes: _Wishes) -> tuple[Backbone, int]:
    recipe, fabric = stepper.recipe, stepper.fabric
    report, notify, inspect = wishes.report, wishes.notify, wishes.inspect
    fabric.barrier()  # all have looked at the folder before the first one writes to it
    done, elapsed = (0, 0.0) if state is None else _position(state)
    held_out = read_held_out(recipe) if fabric.is_global_zero else []
    crops = load_crops(recipe)
    folder = RunFolder(run, recipe, state) if fabric.is_global_zero else None  # once the pictures are known to do
    if wishes.resume and state is None and notify is not None and folder is not None:
        notify(f"{run} has no checkpoint yet: the run starts from the beginning.")
    if recipe.model.freeze == "none":
        crops.teach(stepper.network, stepper.average)

    if folder is not None and inspect is not None and not done:
        inspect(0, stepper.average)
    started = monotonic() - elapsed
    budget = math.inf if wishes.max_minutes is None else 60 * wishes.max_minutes

    def share(steps: int) -> float:
        """0..1 of the run after some steps; the first process's clock decides for all."""
        passed = steps / recipe.steps
        return passed if budget == math.inf else fabric.broadcast(max(passed, (monotonic() - started) / budget))

    progress, lost, blind = share(done), 0, False
    with steps_of(stepper, crops, done) as steps:
        while progress < 1:
            taken = steps.take(done, progress, share)
            lost = _count_lost(taken, done, lost, stepper, folder)
            last = done + len(taken)
            now, progress = monotonic(), share(last)
            for one in taken:
                done += 1
                over = progress >= 1 and done == last
                if folder is None:
                    continue
                due = over or done % recipe.validate_every == 0
                if due and inspect is not None:
                    inspect(done, stepper.average)
                step = Progress(
                    done,
                    recipe.steps,
                    one.loss,
                    one.rate,
                    now - started,
                    one.seconds,
                    one.pictures,
                    min(progress if done == last else share(done), 1.0),
                )
                validation = _validate(stepper, held_out, done, folder) if due and held_out else None
                step = folder.record(step, validation, stepper.average)
                if validation is not None and notify is not None and not blind:
                    blind = sees_nothing(stepper.average, held_out)
                    if blind:
                        notify(BLIND.format(step=done))
                if over or done % recipe.checkpoint_every == 0:
                    folder.checkpoint({**stepper.state(), "step": done, "seconds": monotonic() - started})
                if report is not None:
                    report(step)
    if folder is not None:
        folder.finish(stepper.average, done)
        folder.close()
    if isinstance(stepper, DeviceStepper) and stepper.skipped and notify is not None:
        notify(f"{stepper.skipped} of {done} steps were not finite and left the weights as they were.")
    fabric.barrier()  # the process group lasts until the first process has written everything
    return stepper.average.eval(), done


def _validate(stepper: Stepper, held_out: Sequence[tuple[Bytes, Bytes]], done: int, folder: RunFolder) -> Validation:
    """`validate` the average.

    Raises:
        TrainingError: if its output is not finite, as after a last step that no later loss tells of.
    """
    try:
        return validate(stepper.average, held_out)
    except ModelError as error:
        raise TrainingError(f"After step {done}: {error} Lower optimiser.lr. {folder.kept()}") from error


def _count_lost(taken: list[Taken], done: int, lost: int, stepper: Stepper, folder: RunFolder | None) -> int:
    """How many steps in a row were not finite by now.

    Raises:
        TrainingError: if a step on the host was not, or on a device, where it leaves the weights, too many in a row.
    """
    bearable = LOST if isinstance(stepper, DeviceStepper) else 0
    for place, one in enumerate(taken):
        lost = 0 if one.finite else lost + 1
        if lost > bearable:
            kept = "" if folder is None else folder.kept()
            before = f" after {bearable} others that were not finite" if bearable else ""
            raise TrainingError(
                f"The loss is {one.loss} at step {done + place} and its gradient's norm {one.norm}{before}:"
                f" lower optimiser.lr. {kept}"
            )
    return lost


def default_device() -> torch.device:
    """The one that a single process trains on."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def _position(state: dict[str, Any]) -> tuple[int, float]:
    try:
        return int(state["step"]), float(state["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"The checkpoint lacks the run's position: {error!r}.") from error
