"""Several pictures at a time through one model, small ones not behind large ones; and which models are loaded."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Unpack

from undim.arrays import Pixels
from undim.cancellation import NEVER, Cancellation
from undim.enhance.enhancer import CallOptions, Enhancer
from undim.errors import ModelError, suggest
from undim.jobs.options import EnhanceOptions, open_enhancer
from undim.machine import count_cores

WORTH = 1e-5
"""Seconds by which a pixel more moves a picture back in the queue: some times what the network takes for one, so that
small pictures pass a large one for as long as it is in work."""
LONGEST = 100.0
"""Seconds by which a picture is moved back at most: then its turn comes, however many small ones there are."""


def count_lanes() -> int:
    """How many pictures at a time: half of the cores, at least two, so that a small picture can pass a large one."""
    return max(2, count_cores() // 2)


_Ticket = tuple[float, int]
"""When a turn is, and which of two at the same time comes first."""


class Lanes:
    """Several enhancers of one model: so many pictures at a time.

    Whose turn comes next is decided by when it came and how large it is (`WORTH`, `LONGEST`). Between two tiles, a
    picture lets one go first whose turn is before its own; there is an enhancer more than pictures at a time for that.
    Called as an `Enhancer` is, from several threads; results do not depend on the lane.

    Args:
        options: as of `open_enhancer`. Each lane has `threads`: with fewer than an enhancer on its own, sums are added
            up in another order, and a value now and then is rounded to the other side.
        count: how many pictures at a time.

    Raises:
        UndimError: as `Enhancer`.
    """

    def __init__(self, options: EnhanceOptions, count: int) -> None:
        self._changed = threading.Condition()
        self._free: list[Enhancer] = [open_enhancer(options, expect_many=True) for _ in range(count + 1)]
        self._all = tuple(self._free)
        self._waiting: list[_Ticket] = []
        self._paused: _Ticket | None = None
        """Who lets others go first, and has an enhancer; one at most, or all enhancers could be with those who wait."""
        self._came = 0
        self._count = count
        self._working: set[_Ticket] = set()

    def __call__(self, image: Pixels, **options: Unpack[CallOptions]) -> Pixels:
        """As `Enhancer.__call__`."""
        tell = options.get("progress", _tell_nobody)
        call = Cancellation(options.get("deadline"))
        pixels = image.shape[0] * image.shape[1]
        with call.following(options.get("cancellation")), self._taken(pixels, call) as (ticket, enhancer):

            def step(share: float) -> None:
                tell(share)
                self._let_pass(ticket, call)

            given: CallOptions = {**options, "cancellation": call, "progress": step}
            return enhancer(image, **given)

    @property
    def waiting(self) -> int:
        """How many pictures wait for a lane."""
        with self._changed:
            return len(self._waiting)

    @property
    def runtime(self) -> str:
        """As of `Enhancer`."""
        return self._all[0].runtime

    def warm_up(self) -> None:
        """As of `Enhancer`, all lanes."""
        for enhancer in self._all:
            enhancer.warm_up()

    def close(self) -> None:
        """As of `Enhancer`, all lanes."""
        for enhancer in self._all:
            enhancer.close()

    @contextmanager
    def _taken(self, pixels: int, call: Cancellation) -> Iterator[tuple[_Ticket, Enhancer]]:
        with self._changed:
            self._came += 1
            ticket = (time.monotonic() + min(WORTH * pixels, LONGEST), self._came)
        self._wait(ticket, call)
        with self._changed:
            enhancer = self._free.pop()
        try:
            yield ticket, enhancer
        finally:
            with self._changed:
                self._free.append(enhancer)
                if self._paused == ticket:  # it was cancelled meanwhile
                    self._paused = None
                self._leave(ticket)

    def _let_pass(self, ticket: _Ticket, call: Cancellation) -> None:
        """Between two tiles: wait while others whose turn is before one's own are in work."""
        with self._changed:
            if self._paused is not None or not self._full or min(self._waiting, default=ticket) >= ticket:
                return
            self._paused = ticket
            self._leave(ticket)
        self._wait(ticket, call)
        with self._changed:
            self._paused = None

    def _wait(self, ticket: _Ticket, call: Cancellation) -> None:
        """Until it is one's turn."""
        with self._changed:
            self._waiting.append(ticket)
        try:
            with call.calling(self._wake), self._changed:
                while self._full or min(self._waiting) != ticket:
                    call.check()
                    self._changed.wait(call.left())
                self._working.add(ticket)
        finally:
            with self._changed:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _leave(self, ticket: _Ticket) -> None:
        self._working.discard(ticket)
        self._changed.notify_all()

    @property
    def _full(self) -> bool:
        return len(self._working) == self._count

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _tell_nobody(_: float) -> None:
    """How far a picture is, where no one asked."""


@dataclass
class _Loaded:
    """One model that is loaded."""

    lanes: Lanes
    users: int = 0
    used: float = 0.0


class Models:
    """The models that a long-lived process offers, of which some are loaded: each when it is first asked for.

    Where another one is asked for than are loaded, and no more may be, the one that was not used for longest makes way
    as soon as nobody uses it; whoever asks later waits behind.

    Args:
        names: what is offered, and the model file's name or path of each.
        options: of all enhancers; their model counts nothing.
        most: how many are loaded at a time.
        lanes: of each.
    """

    def __init__(self, names: Mapping[str, str], options: EnhanceOptions, *, most: int = 1, lanes: int = 1) -> None:
        self.names = dict(names)
        self._options = options
        self._most = most
        self._lanes = lanes
        self._changed = threading.Condition()
        self._loaded: dict[str, _Loaded] = {}
        self._loading: set[str] = set()
        self._queue: deque[object] = deque()

    @contextmanager
    def used(self, name: str, cancellation: Cancellation = NEVER) -> Iterator[Lanes]:
        """The lanes of a model, loaded and warmed up, which stay while in the block.

        Raises:
            ModelError: if it is not offered, or cannot be loaded.
            CancelledError: if the cancellation is asked meanwhile.
        """
        if name not in self.names:
            offered = ", ".join(self.names)
            raise ModelError(
                f"There is no model {name!r} here.{suggest(name, self.names)} Offered: {offered}.",
                code="unknown-model",
                subject="model",
            )
        loaded = self._take(name, cancellation)
        try:
            yield loaded.lanes
        finally:
            with self._changed:
                loaded.users -= 1
                loaded.used = time.monotonic()
                self._changed.notify_all()

    @property
    def resident(self) -> list[str]:
        """Names of the models that are loaded."""
        with self._changed:
            return sorted(self._loaded)

    def close(self) -> None:
        """Close all enhancers, which ends their calls."""
        with self._changed:
            loaded, self._loaded = list(self._loaded.values()), {}
        for one in loaded:
            one.lanes.close()

    def _take(self, name: str, cancellation: Cancellation) -> _Loaded:
        ticket = object()
        with cancellation.calling(self._wake):
            with self._changed:
                self._queue.append(ticket)
                try:
                    while self._queue[0] is not ticket or not self._ready(name):
                        cancellation.check()
                        self._changed.wait(cancellation.left())
                    if name in self._loaded:
                        self._loaded[name].users += 1
                        return self._loaded[name]
                    self._loading.add(name)
                finally:
                    self._queue.remove(ticket)
                    self._changed.notify_all()
            return self._load(name)

    def _ready(self, name: str) -> bool:
        """Whether it is loaded, or there is room to load it; makes room where that can be done."""
        if name in self._loaded:
            return True
        if name in self._loading:
            return False
        if len(self._loaded) + len(self._loading) < self._most:
            return True
        idle = [other for other, loaded in self._loaded.items() if not loaded.users]
        if not idle:
            return False
        oldest = min(idle, key=lambda other: self._loaded[other].used)
        self._loaded.pop(oldest).lanes.close()
        return True

    def _load(self, name: str) -> _Loaded:
        try:
            lanes = Lanes(replace(self._options, model=self.names[name]), self._lanes)
            lanes.warm_up()
        except BaseException:
            with self._changed:
                self._loading.discard(name)
                self._changed.notify_all()
            raise
        with self._changed:
            self._loading.discard(name)
            loaded = self._loaded[name] = _Loaded(lanes, users=1)
            self._changed.notify_all()
        return loaded

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
