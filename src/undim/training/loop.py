"""The training loop, on Lightning Fabric.

Fabric gives devices, precision and process groups and leaves the loop to us: the loop is where exact resuming, the time
budget and the choice of crops live, and a trainer that owns the loop would have to be bent for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from undim.data.crops import Batch, PairCrops, read_rgb
from undim.data.sets import Pair, Split, find_pairs
from undim.errors import CheckpointError, TrainingError
from undim.nets import Backbone
from undim.training.metrics_file import Progress
from undim.training.recipe import Recipe
from undim.training.run_folder import RunFolder, find_state
from undim.training.schedule import rate_at, sizes_at
from undim.training.stepper import Stepper
from undim.training.validation import validate


def train_network(
    recipe: Recipe,
    run: Path,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    report: Callable[[Progress], None] | None = None,
    notify: Callable[[str], None] | None = None,
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

    Returns:
        The network with its averaged weights, in evaluation mode, and the number of steps done.

    Raises:
        TrainingError: if the loss or its gradient is not finite, or the disk is full; the last checkpoint stays.
        RecipeError: if the run folder holds a run already and `resume` is not set, or one of another recipe, or a batch
            does not split evenly over the processes.
        CheckpointError: if there is nothing to resume, what is there is damaged, or `model.start` does not fit.
    """
    state = find_state(recipe, run, resume=resume)
    stepper = Stepper(recipe, state)
    fabric = stepper.fabric
    fabric.barrier()  # all have looked at the folder before the first one writes to it
    done, elapsed = (0, 0.0) if state is None else _position(state)
    folder = RunFolder(run, recipe, state) if fabric.is_global_zero else None
    if resume and state is None and notify is not None and folder is not None:
        notify(f"{run} has no checkpoint yet: the run starts from the beginning.")
    held_out = [] if folder is None else [(read_rgb(pair.low), read_rgb(pair.high)) for pair in _pairs(recipe, "val")]
    crops = PairCrops(_pairs(recipe, "train"), seed=recipe.seed, identity=recipe.data.identity)

    started = monotonic() - elapsed
    budget = math.inf if max_minutes is None else 60 * max_minutes

    def share() -> float:
        """0..1 of the run; the first process's clock decides for all."""
        passed = done / recipe.steps
        return passed if budget == math.inf else fabric.broadcast(max(passed, (monotonic() - started) / budget))

    progress = share()
    while progress < 1:
        begun = monotonic()
        rate = rate_at(done, progress, recipe.optimiser)
        crop, size = sizes_at(progress, recipe)
        batch = _share_of(crops.batch(done, size, crop), fabric.global_rank, fabric.world_size)
        loss, norm = stepper.run(batch, done, rate)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            kept = "" if folder is None else folder.kept()
            raise TrainingError(
                f"The loss is {loss} at step {done} and its gradient's norm {norm}: lower optimiser.lr. {kept}"
            )
        done += 1
        now, progress = monotonic(), share()
        over = progress >= 1
        if folder is not None:
            due = over or done % recipe.validate_every == 0
            step = Progress(done, recipe.steps, loss, rate, now - started, now - begun, size, min(progress, 1.0))
            step = folder.record(step, validate(stepper.average, held_out) if due else None, stepper.average)
            if over or done % recipe.checkpoint_every == 0:
                folder.checkpoint({**stepper.state(), "step": done, "seconds": monotonic() - started})
            if report is not None:
                report(step)
    if folder is not None:
        folder.finish(stepper.average, done)
        folder.close()
    fabric.barrier()  # the process group lasts until the first process has written everything
    return stepper.average.eval(), done


def _position(state: dict[str, Any]) -> tuple[int, float]:
    try:
        return int(state["step"]), float(state["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"The checkpoint lacks the run's position: {error!r}.") from error


def _pairs(recipe: Recipe, split: Split) -> list[Pair]:
    return find_pairs(recipe.data.name, split, recipe.data.root)


def _share_of(batch: Batch, rank: int, world: int) -> Batch:
    if world == 1:
        return batch
    return Batch(batch.low[rank::world], batch.high[rank::world], batch.context[rank::world])
