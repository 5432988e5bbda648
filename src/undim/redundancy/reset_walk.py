"""Every reset of every layer over a set of pictures: what all measures of redundancy walk through."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from undim.errors import ModelError, ShapeError, UsageError
from undim.redundancy.journal import Journal
from undim.redundancy.ledger import Ledger, Reading, T, describe_question
from undim.redundancy.replay import BUDGET, Replay, ReplayError, crop_for_rehearsal, pixels_of
from undim.redundancy.resetting import Initialisation, reset
from undim.redundancy.sites import Layer

T_contra = TypeVar("T_contra", contravariant=True)
TOLERANCE = 1e-6
"""Largest difference between a replayed and a plain output, absolute and relative, before the plain loop is taken."""
SAME = 1e-4
"""Likewise between two plain outputs, before the network counts as one that gives others each time."""


@dataclass(frozen=True)
class Target:
    """Layers that are reset together, under one name."""

    name: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class WalkSettings:
    """How the walk is done; none of it changes a figure by more than `TOLERANCE` makes of it.

    Examples:
        >>> from undim.redundancy import WalkSettings
        >>> WalkSettings() == WalkSettings()
        True
    """

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
class ResetOutcome:
    """The network's outputs for one picture before and after one reset, 1 x 3 x H x W, clamped to [0, 1]."""

    picture: int
    """Its number among all pictures, from 0."""
    target: Target
    seed: int
    before: Tensor
    after: Tensor | None
    """`None` if the network gave values that are not finite."""


@dataclass
class ResetWalk:
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
    settings: WalkSettings = field(default_factory=WalkSettings)
    skip: Callable[[int, str], bool] = lambda _picture, _target: False
    done: Callable[[], None] = lambda: None
    plain: dict[str, str] = field(default_factory=dict)
    """Targets that the plain loop was taken for, although the fast one was asked for, and why."""
    pictures: int = 0
    """How many have been walked over."""

    def __post_init__(self) -> None:
        names = [target.name for target in self.targets]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"Two of the layers and groups have the name {twice!r}: give each its own.")

    def over(self, images: Iterable[Tensor]) -> Generator[ResetOutcome]:
        """Walk over pictures: tensors N x 3 x H x W in [0, 1], sizes may differ; each is used once and let go.

        Raises:
            ShapeError: for a picture of another shape or range.
            ModelError: if the network fails, gives another shape, or values that are not finite before any reset.

        The network is as before once the iterator is closed or at its end: whoever may leave it early closes it.
        Inference mode is for the caller to switch off.
        """
        held = list(chain(self.model.parameters(), self.model.buffers()))
        device = held[0].device if held else None
        kind = next((tensor.dtype for tensor in held if tensor.is_floating_point()), None)
        with (
            evaluating(self.model),
            Replay(self.model, [each.layers for each in self.targets], self.settings.budget) as replay,
        ):
            rehearsed = False
            for image in grouped(images, self.settings.batch):
                numbers = range(self.pictures, self.pictures + image.shape[0])
                self.pictures = numbers.stop
                due = [
                    index
                    for index, target in enumerate(self.targets)
                    if not all(self.skip(number, target.name) for number in numbers)
                ]
                if due:
                    placed = image.to(device=device, dtype=kind)
                    if placed.is_inference():
                        placed = placed.clone()
                    if not rehearsed:
                        self._rehearse(replay, placed)
                        rehearsed = True
                    yield from self._one(replay, placed, numbers, due)
                for _ in range((len(self.targets) - len(due)) * len(numbers)):
                    self.done()
                replay.forget()

    def _one(self, replay: Replay, image: Tensor, numbers: range, due: Sequence[int]) -> Iterator[ResetOutcome]:
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
                    yield ResetOutcome(
                        number, target, seed, before[place : place + 1], one.clamp(0, 1) if finite else None
                    )
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
        """Compare each target's replay with the plain loop on a crop, and see which activations are of use.

        Raises:
            ModelError: if the network does not give the same again, whatever is reset.
        """
        crop = crop_for_rehearsal(image)
        with torch.no_grad():
            try:
                output = self.model(crop)
            except Exception:  # a network may refuse small pictures in any way
                crop = crop_for_rehearsal(image, max(image.shape[2:]))
                output = self.model(crop)
            again = checked(self.model(crop), crop)
            if not torch.allclose(checked(output, crop), again, rtol=SAME, atol=SAME, equal_nan=True):
                raise ModelError(
                    "The network gives different outputs for the same picture in evaluation mode, so resets cannot be"
                    " told from that: fix what is random in it, or what it remembers from call to call."
                )
            if not self.settings.fast:
                return
            replay.record(crop)
            replay.rehearse()
            for index, target in enumerate(self.targets):
                if _is_shared(self.model, target):
                    self.plain[target.name] = "its parameters are read outside of its own calls"
                    continue
                with reset(
                    self.model, target.layers, self.settings.seeds[0], initialisation=self.settings.initialisation
                ):
                    expected = checked(self.model(crop), crop)
                    try:
                        got = checked(replay.run(crop, index), crop)
                    except ReplayError as error:
                        self.plain[target.name] = str(error)
                        continue
                if not torch.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
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


class Measure(Protocol[T_contra]):
    """What is read off the outputs; T is what the caller gives for each picture or pair."""

    name: str
    """For the journal."""

    def take_checksums(self, element: T_contra) -> list[str]:
        """The checksums of the pictures that an element holds."""

    def take_dark(self, elements: Iterable[T_contra]) -> Iterable[Tensor]:
        """What the network gets of the elements."""

    def read(self, outcome: ResetOutcome) -> Reading:
        """What one reset shows on one picture."""


@dataclass(frozen=True)
class Readings:
    """What a walk has read."""

    by_picture: Mapping[tuple[int, str], Sequence[Reading]]
    """Number of a picture and name of a target -> one reading for each seed."""
    pictures: int
    notes: tuple[str, ...]
    """As `ResetWalk.notes`."""

    def of(self, target: str) -> list[Sequence[Reading]]:
        """The readings of one target, for each picture."""
        return [self.by_picture[picture, target] for picture in range(self.pictures)]


def measure_resets(
    measure: Measure[T],
    model: nn.Module,
    pictures: Iterable[T],
    targets: Sequence[Target],
    settings: WalkSettings,
    *,
    journal: Journal | None = None,
    done: Callable[[], None] = lambda: None,
) -> Readings:
    """Walk over pictures and measure every reset that the journal does not know.

    Args:
        measure: what is read off.
        model: as in `ResetWalk`.
        pictures: what `measure` takes.
        targets: what is reset together.
        settings: how the walk is done.
        journal: records of an earlier run are taken over, new ones added.
        done: as in `ResetWalk`.

    Raises:
        ModelError: as `ResetWalk.over`, or if there are no pictures.
        ShapeError: as `ResetWalk.over`.
        UsageError: if the journal holds records of another question.
    """

    def question() -> dict[str, object]:
        layers = {target.name: target.layers for target in targets}
        return describe_question(measure.name, model, layers, settings.seeds, settings.initialisation)

    ledger = Ledger(journal, question, pictures, measure.take_checksums)
    walk = ResetWalk(model, targets, settings, lambda picture, name: (picture, name) in ledger.readings, done)
    partial: dict[tuple[int, str], list[Reading]] = {}
    dark = measure.take_dark(ledger.pictures())
    with torch.inference_mode(mode=False), closing(walk.over(dark)) as outcomes:
        for outcome in outcomes:
            key = outcome.picture, outcome.target.name
            if key in ledger.readings:  # beside one in its batch that was not
                continue
            partial.setdefault(key, []).append(measure.read(outcome))
            if len(partial[key]) == len(settings.seeds):
                ledger.add(*key, partial.pop(key))
    if not walk.pictures:
        raise ModelError("There are no pictures to measure on.")
    return Readings(ledger.readings, walk.pictures, tuple(walk.notes()))


def _is_shared(model: nn.Module, target: Target) -> bool:
    """Whether a module outside the target holds a parameter that its reset changes, too."""
    inside = {module for layer in target.layers for _, module in layer.modules()}
    reset_there = {parameter for module in inside for parameter in module.parameters(recurse=False)}
    return any(
        parameter in reset_there
        for module in model.modules()
        if module not in inside
        for parameter in module.parameters(recurse=False)
    )


def grouped(images: Iterable[Tensor], batch: int) -> Iterator[Tensor]:
    """Check pictures and put those of one size that follow each other together, `batch` at most.

    Raises:
        ShapeError: for one that is not N x 3 x H x W of floats in [0, 1].
    """
    waiting: list[Tensor] = []
    for image in images:
        check_picture(image)
        full = sum(one.shape[0] for one in waiting) + image.shape[0] > batch
        if waiting and (full or waiting[0].shape[1:] != image.shape[1:]):
            yield torch.cat(waiting)
            waiting = []
        waiting.append(image)
    if waiting:
        yield torch.cat(waiting)


def check_picture(image: Tensor) -> None:
    """Raise `ShapeError` for what is not N x 3 x H x W of floats in [0, 1]."""
    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point() or not image.numel():
        raise ShapeError(f"Pictures must be floats N x 3 x H x W. Got {tuple(image.shape)}, {image.dtype}.")
    if not (float(image.min()) >= 0 and float(image.max()) <= 1):
        raise ShapeError(f"Pictures must be in [0, 1]. Got {float(image.min()):g} to {float(image.max()):g}.")


def checked(output: object, image: Tensor) -> Tensor:
    """A network's output as float32.

    Raises:
        ModelError: if it does not have the picture's shape.
    """
    if not isinstance(output, Tensor) or output.shape != image.shape:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(f"The network returned {got} for {tuple(image.shape)}; it must return the same shape.")
    return output.float()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode; afterwards each module is in the mode it was in, and so are all buffers."""
    modes = {module: module.training for module in model.modules()}
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        model.eval()
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer
                if not torch.equal(buffer, before):
                    buffer.copy_(before)
        for module, mode in modes.items():
            module.training = mode
