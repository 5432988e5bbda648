"""Every reset of every layer over a set of pictures: what all measures of redundancy walk through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor, nn

from undim.errors import ModelError, ShapeError, UsageError
from undim.redundancy.replay import BUDGET, Replay, ReplayError, crop_for_rehearsal, pixels_of
from undim.redundancy.resetting import Initialisation, reset
from undim.redundancy.sites import Layer

TOLERANCE = 1e-6
"""Largest difference between a replayed and a plain output, both clamped to [0, 1], before the plain loop is taken."""


@dataclass(frozen=True)
class Target:
    """Layers that are reset together, under one name."""

    name: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Settings:
    """How the walk is done; none of it changes a figure by more than `TOLERANCE` makes of it."""

    seeds: tuple[int, ...] = (0,)
    fast: bool = True
    """Whether activations before the reset layer are reused."""
    budget: int = BUDGET
    """Bytes that they may take."""
    batch: int = 1
    """Pictures of one size, in a row, that run together."""
    initialisation: Initialisation | None = None
    """For networks of other code with bare parameters."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise UsageError(f"Give at least one seed, each once. Got {self.seeds}.")
        if self.batch < 1:
            raise UsageError(f"A batch has at least one picture. Got {self.batch}.")


@dataclass(frozen=True)
class Outcome:
    """The network's outputs for one picture before and after one reset, 1 x 3 x H x W, clamped to [0, 1]."""

    picture: int
    """Its number among all pictures, from 0."""
    target: Target
    seed: int
    before: Tensor
    after: Tensor | None
    """`None` if the network gave values that are not finite."""


@dataclass
class Passes:
    """The walk: for each picture, for each target, for each seed.

    Args:
        model: maps N x 3 x H x W to the same; put in evaluation mode for the walk, afterwards as before.
        targets: at least one.
        settings: how.
        skip: number of a picture and name of a target -> whether that pair is left out.
        done: called after each pair of picture and target, left out or not.
    """

    model: nn.Module
    targets: Sequence[Target]
    settings: Settings = field(default_factory=Settings)
    skip: Callable[[int, str], bool] = lambda _picture, _target: False
    done: Callable[[], None] = lambda: None
    plain: dict[str, str] = field(default_factory=dict)
    """Targets that the plain loop was taken for, although the fast one was asked for, and why."""

    def over(self, images: Iterable[Tensor]) -> Iterator[Outcome]:
        """Walk over pictures: tensors N x 3 x H x W in [0, 1], sizes may differ; each is used once and let go.

        Raises:
            ShapeError: for a picture of another shape or range.
            ModelError: if the network fails, gives another shape, or values that are not finite before any reset.
        """
        device = next((tensor.device for tensor in chain(self.model.parameters(), self.model.buffers())), None)
        with (
            evaluating(self.model),
            Replay(self.model, [each.layers for each in self.targets], self.settings.budget) as replay,
        ):
            rehearsed = not self.settings.fast
            first = 0
            for image in grouped(images, self.settings.batch):
                numbers = range(first, first + image.shape[0])
                first = numbers.stop
                due = [
                    index
                    for index, target in enumerate(self.targets)
                    if not all(self.skip(number, target.name) for number in numbers)
                ]
                if due:
                    placed = image if device is None else image.to(device)
                    if not rehearsed:
                        self._rehearse(replay, placed)
                        rehearsed = True
                    yield from self._one(replay, placed, numbers, due)
                for _ in range((len(self.targets) - len(due)) * len(numbers)):
                    self.done()
                replay.forget()

    def _one(self, replay: Replay, image: Tensor, numbers: range, due: Sequence[int]) -> Iterator[Outcome]:
        with torch.no_grad():
            output = replay.record(image) if self.settings.fast else self.model(image)
        before = checked(output, image)
        broken = [number for number, one in zip(numbers, before, strict=True) if not bool(one.isfinite().all())]
        if broken:
            raise ModelError(f"The network's output for picture {broken[0]} is not finite: nothing can be measured.")
        before = before.clamp(0, 1)
        for index in due:
            target = self.targets[index]
            for seed in self.settings.seeds:
                after = self._changed(replay, image, index, seed)
                for place, number in enumerate(numbers):
                    one = after[place : place + 1]
                    finite = bool(one.isfinite().all())
                    yield Outcome(number, target, seed, before[place : place + 1], one.clamp(0, 1) if finite else None)
            for _ in numbers:
                self.done()

    def _changed(self, replay: Replay, image: Tensor, index: int, seed: int) -> Tensor:
        target = self.targets[index]
        with (
            reset(self.model, target.layers, seed, initialisation=self.settings.initialisation),
            torch.no_grad(),
        ):
            if self.settings.fast and target.name not in self.plain:
                try:
                    return checked(replay.run(image, index), image)
                except ReplayError as error:
                    self.plain[target.name] = str(error)
            return checked(self.model(image), image)

    def _rehearse(self, replay: Replay, image: Tensor) -> None:
        """Compare each target's replay with the plain loop on a crop, and see which activations are of use."""
        crop = crop_for_rehearsal(image)
        with torch.no_grad():
            try:
                replay.record(crop)
            except Exception:  # a network may refuse small pictures in any way
                crop = image[:1]
                replay.record(crop)
            replay.rehearse()
            for index, target in enumerate(self.targets):
                with reset(
                    self.model, target.layers, self.settings.seeds[0], initialisation=self.settings.initialisation
                ):
                    expected = self.model(crop)
                    try:
                        got = replay.run(crop, index)
                    except ReplayError as error:
                        self.plain[target.name] = str(error)
                        continue
                if not torch.allclose(got.clamp(0, 1), expected.clamp(0, 1), rtol=0, atol=TOLERANCE, equal_nan=True):
                    self.plain[target.name] = "its parameters are read outside of its own calls"
            replay.plan(pixels_of(image), pixels_of(crop))

    def notes(self) -> list[str]:
        """What a reader of results must know about the walk."""
        if not self.plain:
            return []
        name, reason = next(iter(self.plain.items()))
        return [
            f"the plain loop was taken for {len(self.plain)} of {len(self.targets)} layers, first for {name}: {reason}"
        ]


def grouped(images: Iterable[Tensor], batch: int) -> Iterator[Tensor]:
    """Check pictures and put those of one size that follow each other together, `batch` at most.

    Raises:
        ShapeError: for one that is not N x 3 x H x W of floats in [0, 1].
    """
    waiting: list[Tensor] = []
    for image in images:
        if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point() or not image.numel():
            raise ShapeError(f"Pictures must be floats N x 3 x H x W. Got {tuple(image.shape)}, {image.dtype}.")
        if not (float(image.min()) >= 0 and float(image.max()) <= 1):
            raise ShapeError(f"Pictures must be in [0, 1]. Got {float(image.min()):g} to {float(image.max()):g}.")
        full = sum(one.shape[0] for one in waiting) + image.shape[0] > batch
        if waiting and (full or waiting[0].shape[1:] != image.shape[1:]):
            yield torch.cat(waiting)
            waiting = []
        waiting.append(image)
    if waiting:
        yield torch.cat(waiting)


def checked(output: object, image: Tensor) -> Tensor:
    """A network's output as float32.

    Raises:
        ModelError: if it has not the picture's shape.
    """
    if not isinstance(output, Tensor) or output.shape != image.shape:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(f"The network returned {got} for {tuple(image.shape)}; it must return the same shape.")
    return output.float()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode; afterwards each module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
