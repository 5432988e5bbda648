"""A rehearsal of a run: how large its network is, and what a few real steps say about memory and time."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from time import monotonic

import torch

from undim.errors import TrainingError
from undim.machine import free_memory
from undim.nets import count_flops
from undim.nets.flops import GIGA
from undim.training.precision import Precision
from undim.training.recipe import Recipe
from undim.training.samples import load_crops, read_held_out
from undim.training.schedule import mean_pixels, rate_at, stages_of
from undim.training.stepper import Stepper

SECONDS = 20.0
"""Longest time that the steps may take together, so far as one picture does not take longer."""
STEPS = 10
MEMORY_SHARE = 0.8
"""Of the free memory, what a step may fill."""


@dataclass(frozen=True)
class Rehearsal:
    """What a run would take."""

    recipe: Recipe
    parameters: int
    trained: int
    """Parameters that are not frozen."""
    precision: Precision
    """What its steps are computed in."""
    flops: int
    """Multiply-adds of one 256 x 256 picture."""
    measured_steps: int
    measured_batch: int
    """Pictures in each of these steps: fewer than the recipe's where a whole step would take too long."""
    step_seconds: float
    """Of a whole step of the recipe, averaged over its sizes of crops."""
    validation_seconds: float
    """Of all validations together, taking a picture to cost a third of a training step of its size."""
    memory: int
    """Bytes: the process's largest resident size, or the largest size of all tensors on the GPU."""
    accumulate: int
    """Micro-batches with which the largest step fits in memory."""

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.recipe.steps * self.step_seconds + self.validation_seconds

    def lines(self) -> list[str]:
        """For people."""
        recipe = self.recipe
        sizes = ", ".join(f"{batch} crops of {crop}" for crop, batch, _ in stages_of(recipe))
        frozen = "" if self.trained == self.parameters else f", {self.trained / 1e6:.2f} M of them trained"
        fitting = (
            f"accumulate: {self.accumulate}"
            if self.accumulate <= recipe.accumulate
            else f"does not fit at once, set accumulate to {self.accumulate}"
        )
        return [
            f"network      {recipe.model.name}: {self.parameters / 1e6:.2f} M parameters{frozen}",
            f"FLOPs        {self.flops / GIGA:.2f} G multiply-adds at 256x256",
            f"steps        {recipe.steps} of {sizes}",
            f"memory       {self.memory / 1e9:.2f} GB ({fitting})",
            f"time         {spell_time(self.seconds)}, {spell_time(self.validation_seconds)} of it validation",
            f"speed        {self.step_seconds:.3f} s a step, {mean_batch(recipe) / self.step_seconds:.1f} images/s",
            f"precision    {self.precision}",
            f"measured     steps: {self.measured_steps}, pictures in each: {self.measured_batch}",
        ]


def rehearse(recipe: Recipe) -> Rehearsal:
    """Take a few real steps, of the largest crops, and write nothing.

    Raises:
        TrainingError: if not even one picture fits in memory.
    """
    crop, batch, _ = max(stages_of(recipe), key=lambda stage: stage[0] ** 2 * stage[1])
    stepper = Stepper(recipe)
    sizes = [low.shape[:2] for low, _ in read_held_out(recipe)]
    crops = load_crops(recipe)
    device = stepper.fabric.device

    def timed(step: int, pictures: int, micro: int) -> float:
        begun = monotonic()
        stepper.accumulate = pictures // micro
        stepper.run(crops.batch(step, pictures, crop), step, rate_at(step, 0.0, recipe.optimiser))
        return monotonic() - begun

    free, before = _free(device), _peak(device)
    began = monotonic()
    try:
        slowest = timed(0, 1, 1)
    except torch.OutOfMemoryError as error:
        raise TrainingError(f"Not even one crop of {crop} fits in memory: choose smaller crops.") from error
    growth = _peak(device) - before
    micro = _fitting(batch // recipe.accumulate, growth, free)
    left = SECONDS - (monotonic() - began)
    pictures = max((n for n in _divisors(batch) if n * slowest <= left / 2), default=1)
    micro_measured = min(micro, pictures)
    times: list[float] = []
    while len(times) < STEPS + 1 and (monotonic() - began) + (times[-1] if times else slowest * pictures) < SECONDS:
        times.append(timed(len(times) + 1, pictures, micro_measured))
    # The first step of a size finds out which kernels to use.
    steady = times[1:] or times or [slowest]
    pictures = pictures if times else 1
    per_pixel = sum(steady) / len(steady) / pictures / crop**2
    measured = _peak(device)
    validated = math.ceil(recipe.steps / recipe.validate_every) * len(sizes)
    pixels = validated * math.prod(sizes[0]) if sizes else 0
    return Rehearsal(
        recipe=recipe,
        parameters=sum(p.numel() for p in stepper.network.parameters()),
        trained=sum(p.numel() for p in stepper.network.parameters() if p.requires_grad),
        precision=stepper.precision,
        flops=count_flops(stepper.network),
        measured_steps=len(steady),
        measured_batch=pictures,
        step_seconds=per_pixel * mean_pixels(recipe),
        validation_seconds=pixels * per_pixel / 3,
        memory=measured if micro_measured == micro else max(measured, before + growth * micro),
        accumulate=batch // micro,
    )


def spell_time(seconds: float) -> str:
    """A duration for people: the two largest units."""
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def mean_batch(recipe: Recipe) -> float:
    """Pictures of a step, averaged over the run."""
    stages = stages_of(recipe)
    return sum(batch * steps for _, batch, steps in stages) / sum(steps for *_, steps in stages)


def _fitting(pictures: int, bytes_each: int, free: int | None) -> int:
    """The largest part of a micro-batch, dividing it evenly, that fits."""
    room = math.inf if free is None else MEMORY_SHARE * free
    return max((n for n in _divisors(pictures) if n * bytes_each <= room), default=1)


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _free(device: torch.device) -> int | None:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


def _peak(device: torch.device) -> int:
    """Bytes that this process has held at most so far; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource  # does not exist on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
