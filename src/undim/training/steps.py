"""How steps are taken: one after another on the host, or many ahead on a device and looked at together."""

from __future__ import annotations

import math
import queue
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Protocol, Self

import torch

from undim.data.crops import Batch, PairCrops
from undim.machine import free_memory
from undim.training.device_crops import DeviceCrops, drawn_on_host, size_on_device
from undim.training.device_stepper import DeviceStepper
from undim.training.metrics_file import EVERY
from undim.training.recipe import Recipe
from undim.training.schedule import rate_at, sizes_at
from undim.training.stepper import Stepper

PICTURES_SHARE = 0.4
"""Of the free memory of a device, what the pictures may fill."""


@dataclass(frozen=True)
class Taken:
    """One step that was taken."""

    loss: float
    norm: float
    rate: float
    pictures: int
    seconds: float
    """Of the step, or on average of those that were looked at together."""

    @property
    def finite(self) -> bool:
        """Whether it moved the weights."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


class Steps(Protocol):
    """Takes a run's steps."""

    def take(self, done: int, progress: float, share: Callable[[int], float]) -> list[Taken]:
        """Take one step or more.

        Args:
            done: steps that were taken before.
            progress: 0..1 of the run then.
            share: what it is after a number of steps.
        """


class HostSteps:
    """One step at a time; crops are made by a thread some steps ahead.

    Args:
        stepper: takes them.
        crops: the pictures.
        first: number of the first step.
    """

    def __init__(self, stepper: Stepper, crops: PairCrops, first: int) -> None:
        self._stepper = stepper
        fabric = stepper.fabric
        self.ahead = Ahead(crops, stepper.recipe, first, rank=fabric.global_rank, world=fabric.world_size)

    def take(self, done: int, progress: float, share: Callable[[int], float]) -> list[Taken]:  # noqa: ARG002 - as Steps
        """See `Steps.take`: one step."""
        begun = monotonic()
        rate = rate_at(done, progress, self._stepper.recipe.optimiser)
        batch, size = self.ahead.get(progress)
        loss, norm = self._stepper.run(batch, done, rate)
        return [Taken(loss, norm, rate, size, monotonic() - begun)]


class DeviceSteps:
    """Up to `EVERY` steps that are launched without waiting, then looked at together.

    Args:
        stepper: takes them.
        crops: the pictures on the device, or what makes batches of them on the host.
    """

    def __init__(self, stepper: DeviceStepper, crops: DeviceCrops | Ahead) -> None:
        self._stepper = stepper
        self._crops = crops
        self._history = torch.zeros(EVERY, 2, device=stepper.fabric.device)

    def take(self, done: int, progress: float, share: Callable[[int], float]) -> list[Taken]:
        """See `Steps.take`: no step beyond one after which a row, a validation or a checkpoint is due."""
        begun, recipe = monotonic(), self._stepper.recipe
        rates: list[tuple[float, int]] = []
        periods = (EVERY, recipe.validate_every, recipe.checkpoint_every)
        end = min(recipe.steps, *(done + period - done % period for period in periods))
        while not rates or (done + len(rates) < end and progress < 1):
            step = done + len(rates)
            rate = rate_at(step, progress, recipe.optimiser)
            if isinstance(self._crops, DeviceCrops):
                crop, size = sizes_at(max(progress, step / recipe.steps), recipe)
                crops: DeviceCrops | Batch = self._crops
            else:
                crops, size = self._crops.get(progress)
                crop = crops.low.shape[-1]
            self._history[len(rates)].copy_(self._stepper.launch(crops, step, rate, size, crop))
            rates.append((rate, size))
            progress = share(step + 1)
        found = self._history[: len(rates)].tolist()  # waits for all of them
        seconds = (monotonic() - begun) / len(rates)
        return [Taken(loss, norm, rate, size, seconds) for (loss, norm), (rate, size) in zip(found, rates, strict=True)]


@contextmanager
def steps_of(stepper: Stepper, crops: PairCrops, first: int) -> Iterator[Steps]:
    """How a stepper's steps are taken.

    Args:
        stepper: a `DeviceStepper` takes them on its device.
        crops: the training pictures, which are brought to the device if they fit and nothing else hinders it.
        first: number of the first step.
    """
    if not isinstance(stepper, DeviceStepper):
        host = HostSteps(stepper, crops, first)
        with host.ahead:
            yield host
        return
    device, whole = stepper.fabric.device, stepper.network.sees_whole
    if not drawn_on_host(crops.sampling) and size_on_device(crops, thumbnails=whole) <= PICTURES_SHARE * room_on(
        device
    ):
        yield DeviceSteps(stepper, DeviceCrops(crops, device, thumbnails=whole))
        return
    with Ahead(crops, stepper.recipe, first, rank=0, world=1) as ahead:
        yield DeviceSteps(stepper, ahead)


def steps_on_device(recipe: Recipe, device: torch.device, world: int) -> bool:
    """Whether a run's steps stay on the device.

    Args:
        recipe: of the run.
        device: that it runs on.
        world: number of processes.
    """
    if world > 1 or recipe.steps_on == "host":
        return False
    return recipe.steps_on == "device" or device.type == "cuda"


def room_on(device: torch.device) -> float:
    """Bytes of free memory of a device; infinite where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = free_memory()
    return math.inf if free is None else free


class Ahead:
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
