"""The training loop, on Lightning Fabric.

Fabric gives devices, precision and process groups and leaves the loop to us: the loop is where exact resuming, the time
budget and the choice of crops live, and a trainer that owns the loop would have to be bent for each of them.
"""

from __future__ import annotations

import math
import queue
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from time import monotonic
from typing import Any, Self

from undim.data.crops import Batch, PairCrops
from undim.data.reading import read_rgb
from undim.errors import CheckpointError, TrainingError
from undim.nets import Backbone
from undim.training.metrics_file import Progress
from undim.training.recipe import Recipe
from undim.training.run_folder import RunFolder, find_state
from undim.training.samples import find_held_out, load_crops
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
    pairs = [] if folder is None else find_held_out(recipe.data)
    held_out = [(read_rgb(pair.low), read_rgb(pair.high)) for pair in pairs]
    crops = load_crops(recipe)
    if recipe.model.freeze == "none":
        crops.teach(stepper.network, stepper.average)

    if folder is not None and inspect is not None and not done:
        inspect(0, stepper.average)
    started = monotonic() - elapsed
    budget = math.inf if max_minutes is None else 60 * max_minutes

    def share() -> float:
        """0..1 of the run; the first process's clock decides for all."""
        passed = done / recipe.steps
        return passed if budget == math.inf else fabric.broadcast(max(passed, (monotonic() - started) / budget))

    progress = share()
    with _Ahead(crops, recipe, done, rank=fabric.global_rank, world=fabric.world_size) as ahead:
        while progress < 1:
            begun = monotonic()
            rate = rate_at(done, progress, recipe.optimiser)
            batch, size = ahead.get(progress)
            loss, norm = stepper.run(batch, done, rate)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                kept = "" if folder is None else folder.kept()
                raise TrainingError(
                    f"The loss is {loss} at step {done} and its gradient's norm {norm}: lower optimiser.lr. {kept}"
                )
            done += 1
            now, progress = monotonic(), share()
            over = progress >= 1
            if folder is None:
                continue
            due = over or done % recipe.validate_every == 0
            if due and inspect is not None:
                inspect(done, stepper.average)
            step = Progress(done, recipe.steps, loss, rate, now - started, now - begun, size, min(progress, 1.0))
            validation = validate(stepper.average, held_out) if due and held_out else None
            step = folder.record(step, validation, stepper.average)
            if over or done % recipe.checkpoint_every == 0:
                folder.checkpoint({**stepper.state(), "step": done, "seconds": monotonic() - started})
            if report is not None:
                report(step)
    if folder is not None:
        folder.finish(stepper.average, done)
        folder.close()
    fabric.barrier()  # the process group lasts until the first process has written everything
    return stepper.average.eval(), done


class _Ahead:
    """The batches of a run, some steps ahead of their use, in the sizes that its progress asks for.

    Args:
        crops: makes them, in a thread.
        recipe: of the run.
        first: number of the first step.
        rank: this process's number.
        world: number of processes.
    """

    lead = 3
    """Steps that are asked for before the first is used: sizes that follow the clock lag behind by as many."""

    def __init__(self, crops: PairCrops, recipe: Recipe, first: int, *, rank: int, world: int) -> None:
        self._recipe = recipe
        self._next = first
        self._sizes: deque[int] = deque()
        self._requests: queue.SimpleQueue[tuple[int, int, int] | None] = queue.SimpleQueue()
        self._batches = crops.ahead(iter(self._requests.get, None), rank=rank, world=world)

    def get(self, progress: float) -> tuple[Batch, int]:
        """This process's share of the next step's batch, and the size of the whole batch.

        Args:
            progress: 0..1 of the run, the same on all processes.
        """
        while len(self._sizes) < self.lead:
            crop, size = sizes_at(max(progress, self._next / self._recipe.steps), self._recipe)
            self._requests.put((self._next, size, crop))
            self._sizes.append(size)
            self._next += 1
        return next(self._batches), self._sizes.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._requests.put(None)  # the thread may be waiting for one
        if isinstance(self._batches, Generator):
            self._batches.close()


def _position(state: dict[str, Any]) -> tuple[int, float]:
    try:
        return int(state["step"]), float(state["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"The checkpoint lacks the run's position: {error!r}.") from error
