"""What follows from how far a run has come: its learning rate, and the sizes of its crops and batches.

Both are laid over the run by its progress from 0 to 1: a time budget or another number of steps stretches them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from undim.training.recipe import OptimiserSection, Phase, Recipe


def rate_at(step: int, progress: float, settings: OptimiserSection) -> float:
    """Learning rate of one step.

    Args:
        step: its number, from 0; the linear warm-up goes by it.
        progress: 0..1 of the run; the phases go by it.
        settings: without phases, the rate falls from `lr` to zero in one cosine.
    """
    warm = min(1.0, (step + 1) / max(settings.warmup, 1))
    phases = settings.phases or (Phase(steps=1),)
    index, share = _place([phase.steps for phase in phases], progress)
    start = settings.lr
    for phase in phases[: index + 1]:
        start = start if phase.start is None else phase.start
        end = start if phase.shape == "constant" else phase.end or 0.0
        begun, start = start, end
    fallen = share if phases[index].shape == "linear" else 0.5 * (1 - math.cos(math.pi * share))
    return warm * (begun + (end - begun) * fallen)


def sizes_at(progress: float, recipe: Recipe) -> tuple[int, int]:
    """Side of the crops in pixels and pictures in the batch, at a progress of 0..1."""
    stages = stages_of(recipe)
    crop, batch, _ = stages[_place([steps for *_, steps in stages], progress)[0]]
    return crop, batch


def stages_of(recipe: Recipe) -> list[tuple[int, int, int]]:
    """Crop, batch and steps of each part of the run; the steps are shares of the recipe's."""
    stages = [(stage.crop, stage.batch, stage.steps) for stage in recipe.progressive]
    return stages or [(recipe.data.crop, recipe.batch, recipe.steps)]


def mean_pixels(recipe: Recipe) -> float:
    """Pixels of a step's batch, averaged over the run."""
    stages = stages_of(recipe)
    return sum(crop**2 * batch * steps for crop, batch, steps in stages) / sum(steps for *_, steps in stages)


def _place(lengths: Sequence[int], progress: float) -> tuple[int, float]:
    """The part that a progress of 0..1 falls in, and the share of that part that is over."""
    ends = list(accumulate(lengths))
    position = min(progress, 1.0) * ends[-1]
    # A part's first step belongs to it, however step / steps was rounded.
    index = next((i for i, end in enumerate(ends) if position * (1 + 1e-9) < end), len(ends) - 1)
    return index, min(max(1 - (ends[index] - position) / lengths[index], 0.0), 1.0)
