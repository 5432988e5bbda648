"""Running a network again after some of its layers changed, computing only what can differ.

A forward pass is recorded as a tree of calls of its modules. When layers have changed, the pass is run again, and a
call gives its recorded output if it was over before the first changed layer was called, or if it contains no changed
layer and gets the very tensors that it got before (parallel branches). Everything else is computed. The network's code
decides what is called; if it calls anything else than was recorded, the replay says so.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

import torch
from torch import Tensor, nn

from undim.redundancy.sites import Layer

BUDGET = 2**30
"""Bytes that recorded activations may take."""
_CONTAINERS = (nn.ModuleList, nn.ModuleDict)
_NEVER = 2**62


class ReplayError(Exception):
    """The network did not do what was recorded. For `undim.redundancy` alone: whoever replays falls back."""


@dataclass(eq=False)
class _Call:
    """One call of a module, as recorded."""

    module: nn.Module | None
    start: int
    end: int = _NEVER
    children: list[_Call] = field(default_factory=list)
    path: tuple[int, ...] = ()
    seconds: float = 0.0
    size: int = 0
    """Bytes of the output."""
    kept: bool = False
    output: object = None
    inputs: tuple[Tensor, ...] | None = None
    """The recorded outputs that it was called with, if it was called with nothing else."""
    versions: tuple[int, ...] = ()

    def walk(self) -> Iterator[_Call]:
        """This call and all inside it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Replay:
    """Records one forward pass of a network at a time and replays it; a context manager, which patches the modules.

    Args:
        model: in evaluation mode; used under `torch.no_grad`.
        targets: the sets of layers that will be changed together.
        budget: bytes of recorded activations to hold.
    """

    def __init__(self, model: nn.Module, targets: Sequence[Sequence[Layer]], budget: int = BUDGET) -> None:
        self._model = model
        self._budget = budget
        self._heads = [frozenset(_callable(layer.module for layer in target)) for target in targets]
        self._changed = [frozenset(module for layer in target for _, module in layer.modules()) for target in targets]
        self._cuts: list[int] = []
        self._candidates = _candidates(model, frozenset().union(*self._heads)) if self._heads else []
        self._within = {module: frozenset(module.modules()) for module in self._candidates}
        self._mode: Literal["off", "record", "replay"] = "off"
        self._plan: frozenset[tuple[int, ...]] | None = None
        self._served: dict[tuple[int, ...], int] = {}
        self._root = _Call(None, 0)
        self._stack: list[_Call] = []
        self._cursor: list[int] = []
        self._clock = 0
        self._held = 0
        self._owner: dict[int, Tensor] = {}
        self._target = 0
        self._patched: list[tuple[nn.Module, object]] = []

    def __enter__(self) -> Self:
        try:
            for module in self._candidates:
                self._patched.append((module, module.__dict__.get("forward")))
                module.forward = functools.partial(self._call, module, module.forward)
        except BaseException:
            self._unpatch()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unpatch()
        self.forget()

    def _unpatch(self) -> None:
        for module, before in reversed(self._patched):
            if before is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = before
        self._patched.clear()

    def forget(self) -> None:
        """Let go of all recorded activations."""
        self._root, self._owner, self._held = _Call(None, 0), {}, 0

    def record(self, image: Tensor) -> Tensor:
        """Run the network and keep what replays need, as far as the budget goes."""
        self.forget()
        self._mode, self._stack, self._clock = "record", [self._root], 0
        try:
            output: Tensor = self._model(image)
        finally:
            self._mode, self._stack = "off", []
        for call in self._root.walk():
            if call.kept and _versions(call.output) != call.versions:  # changed in place by what came after
                call.kept, call.output = False, None
        self._cuts = [
            min((call.start for call in self._root.walk() if call.module in heads), default=0) for heads in self._heads
        ]
        return output

    def run(self, image: Tensor, target: int) -> Tensor:
        """Run the network on the recorded picture, layers `targets[target]` having changed since.

        Raises:
            ReplayError: if it called other modules than were recorded, or changed recorded activations in place.
        """
        self._mode, self._stack, self._cursor, self._target = "replay", [self._root], [0], target
        try:
            output: Tensor = self._model(image)
        finally:
            self._mode, self._stack = "off", []
        if any(call.kept and _versions(call.output) != call.versions for call in self._root.walk()):
            raise ReplayError("a recorded activation was changed in place")
        return output

    def rehearse(self) -> None:
        """Forget which recorded outputs were of use, to count anew from the replays that follow."""
        self._served = {}

    def plan(self, pixels: int, recorded: int) -> None:
        """Decide which outputs to hold, from how the replays since `rehearse` used them.

        Args:
            pixels: of the largest pictures to come.
            recorded: pixels of the picture that was recorded; bytes grow as pixels do.
        """
        calls = {call.path: call for call in self._root.walk() if call.path in self._served}
        growth = pixels / recorded
        worth = {path: self._served[path] * call.seconds / (call.size + 1) for path, call in calls.items()}
        chosen: set[tuple[int, ...]] = set()
        room = float(self._budget)
        for path in sorted(worth, key=lambda path: -worth[path]):
            needed = calls[path].size * growth
            if needed <= room:
                room -= needed
                chosen.add(path)
        self._plan = frozenset(chosen)

    def _call(self, module: nn.Module, forward: Callable[..., object], *args: object, **kwargs: object) -> object:
        if self._mode == "off" or not self._stack:
            return forward(*args, **kwargs)
        if self._mode == "record":
            return self._record(module, forward, args, kwargs)
        parent, place = self._stack[-1], self._cursor[-1]
        if place >= len(parent.children) or parent.children[place].module is not module:
            raise ReplayError(f"{type(module).__name__} was called where it was not before")
        call = parent.children[place]
        self._cursor[-1] += 1
        if call.kept and (call.end < self._cuts[self._target] or self._unchanged(call, args, kwargs)):
            self._served[call.path] = self._served.get(call.path, 0) + 1
            return call.output
        self._stack.append(call)
        self._cursor.append(0)
        output = forward(*args, **kwargs)
        self._stack.pop()
        self._cursor.pop()
        return output

    def _unchanged(self, call: _Call, args: tuple[object, ...], kwargs: dict[str, object]) -> bool:
        if call.inputs is None or call.module is None or self._changed[self._target] & self._within[call.module]:
            return False
        given = _tensors([args, kwargs])
        return (
            given is not None
            and len(given) == len(call.inputs)
            and all(one is other for one, other in zip(given, call.inputs, strict=True))
        )

    def _record(
        self, module: nn.Module, forward: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        parent = self._stack[-1]
        self._clock += 1
        call = _Call(module, self._clock, path=(*parent.path, len(parent.children)))
        parent.children.append(call)
        given = _tensors([args, kwargs])
        if given and all(id(tensor) in self._owner for tensor in given):
            call.inputs = tuple(given)
        self._stack.append(call)
        begun = time.perf_counter()
        output = forward(*args, **kwargs)
        call.seconds = time.perf_counter() - begun
        self._stack.pop()
        self._clock += 1
        call.end = self._clock
        made = _tensors(output)
        if made:
            call.size = sum(tensor.numel() * tensor.element_size() for tensor in made)
            wanted = self._plan is None or call.path in self._plan
            if wanted and self._held + call.size <= self._budget:
                call.kept, call.output, call.versions = True, output, _versions(output)
                self._held += call.size
                self._owner.update((id(tensor), tensor) for tensor in made)
        return output


def _callable(modules: Iterator[nn.Module]) -> Iterator[nn.Module]:
    """The modules, with containers, which are never called, replaced by what they hold."""
    for module in modules:
        if isinstance(module, _CONTAINERS):
            yield from _callable(iter(module.children()))
        else:
            yield module


def _candidates(model: nn.Module, heads: frozenset[nn.Module]) -> list[nn.Module]:
    """The modules whose calls are worth watching: all children of all modules that have a layer inside."""
    found: dict[nn.Module, None] = {}

    def visit(module: nn.Module) -> bool:
        children = list(_callable(iter(module.children())))
        inside = [visit(child) for child in children]
        if any(inside):
            found.update(dict.fromkeys(children))
        return module in heads or any(inside)

    visit(model)
    return list(found)


def _tensors(value: object) -> list[Tensor] | None:
    """The tensors in nested tuples, lists and dicts; None if there is anything else, None apart."""
    if isinstance(value, Tensor):
        return [value]
    if value is None:
        return []
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, tuple | list):
        return None
    parts = [_tensors(part) for part in value]
    found: list[Tensor] = []
    for part in parts:
        if part is None:
            return None
        found += part
    return found


def _versions(value: object) -> tuple[int, ...]:
    return tuple(tensor._version for tensor in _tensors(value) or ())


def crop_for_rehearsal(image: Tensor, side: int = 32) -> Tensor:
    """Random values as large as the upper left part of N x 3 x H x W, at most `side` pixels wide and high.

    A real picture may be black there, where a network that multiplies shows nothing. The same numbers each time, from
    0.1 to 0.9.
    """
    numbers = torch.Generator().manual_seed(0)
    crop = torch.rand((1, 3, min(image.shape[2], side), min(image.shape[3], side)), generator=numbers)
    return (0.1 + 0.8 * crop).to(image)


def pixels_of(image: Tensor) -> int:
    """N H W of N x C x H x W."""
    return math.prod((image.shape[0], *image.shape[2:]))
