"""Enhancing pictures from file to file: one task, or a few in flight, each ending as done, skipped or failed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Literal, Protocol, Unpack

from undim.arrays import Pixels, Span
from undim.cancellation import NEVER, Cancellation
from undim.enhance.enhancer import CallOptions
from undim.enhance.parts import noting
from undim.errors import PictureError, UndimError
from undim.images import Picture
from undim.images.writing import written_format
from undim.jobs.coder import HERE, Coder
from undim.jobs.memory import MEMORY, PictureMemory
from undim.jobs.options import EnhanceOptions
from undim.jobs.plan import STREAM, Task
from undim.runtimes.base import WholePicture

Status = Literal["done", "skipped", "failed"]
STAGES = ("read", "enhance", "write")
"""Waiting for memory counts to reading, waiting for the network to enhancing."""


class Enhances(Protocol):
    """What a task needs of an `Enhancer`."""

    def __call__(self, image: Pixels, **options: Unpack[CallOptions]) -> Pixels:
        """See `Enhancer.__call__`."""


@dataclass(frozen=True)
class Outcome:
    """What became of one task."""

    task: Task
    status: Status
    reason: str | None = None
    """Why it failed or was skipped; None for a done one."""
    code: str = ""
    """What kind of reason it is, as of `UndimError`."""
    notes: tuple[str, ...] = ()
    """What of the file could not be kept, a sentence each."""
    seconds: float = 0.0
    """Wall time from opening to closing."""
    content: bytes | None = None
    """The encoded picture, where the task has no target."""
    form: str = ""
    """Name of the format it was written in; empty if it was not."""
    size: Span | None = None
    """Width and height in pixels, if it was read."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Wall time in seconds of `STAGES`, as far as it came."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Of enhancing, wall time in seconds of those of `undim.enhance.parts.PARTS` that there were."""


@dataclass(frozen=True)
class Call:
    """What one task is run with, beside the options of all."""

    look: WholePicture | None = None
    """As of `Enhancer.__call__`: one look for a series."""
    cancellation: Cancellation = NEVER
    """Ends it while it waits, between its steps and within the network."""
    deadline: float | None = None
    """A reading of `time.monotonic()`."""
    progress: Callable[[float], None] = field(default=lambda _: None)
    """Called with the share of the network's work that is done."""
    read_stream: Callable[[], bytes] | None = None
    """Gives the content of standard input."""
    memory: PictureMemory = MEMORY
    """What pictures in work take."""
    coder: Coder = HERE
    """Decodes and encodes."""
    suffix: str = ""
    """Of the name that what `read_stream` gives had, lower case with its dot."""


def run_task(
    task: Task, enhancer: Enhances, options: EnhanceOptions | None = None, call: Call | None = None
) -> Outcome:
    """Read one picture, enhance it and write it, whole or not at all.

    Never raises for what is wrong with a picture: that is in the outcome. May be called from several threads with one
    enhancer.

    Args:
        task: of `undim.jobs.plan.plan`, or made by hand.
        enhancer: an `Enhancer`.
        options: strength, exposure, quality, max_pixels and overwrite count here; the others made the enhancer.
        call: see there.
    """
    begin = time.perf_counter()
    clock = Clock()
    try:
        outcome = _run(task, enhancer, options or EnhanceOptions(), call or Call(), clock)
    except Exception as error:  # a fault of Undim in one picture must not cost the others
        outcome = Outcome(task, "failed", *explain(error))
    seconds = time.perf_counter() - begin
    return replace(outcome, seconds=seconds, size=clock.size, stages=clock.stages, parts=clock.parts)


def explain(error: Exception) -> tuple[str, str]:
    """Why a picture failed, and what kind of reason that is, as of `UndimError`."""
    if isinstance(error, UndimError):
        return str(error), error.code
    if isinstance(error, MemoryError):
        return "does not fit in memory", "out-of-memory"
    return f"{type(error).__name__}: {error} (a fault in Undim; please report it)", "fault"


def run_tasks(
    tasks: Sequence[Task],
    enhancer: Enhances,
    options: EnhanceOptions,
    *,
    jobs: int = 1,
    look: WholePicture | None = None,
    read_stream: Callable[[], bytes] | None = None,
    progress: Callable[[int, float], None] = lambda _index, _share: None,
) -> Generator[tuple[int, Outcome], None, None]:
    """Yield (index of the task, outcome) as they end; at most `jobs` pictures are in memory.

    If the consumer raises or closes the iterator, pictures in flight are given up and no half-written file is left.

    Args:
        tasks: what to do.
        enhancer: called from several threads.
        options: see `run_task`.
        jobs: pictures in flight.
        look: one for all of them.
        read_stream: gives the content of standard input.
        progress: called from several threads with the index of a task and the share of it that is done.
    """
    cancellation = Cancellation()
    # Queues, not futures: Ctrl-C while one waits for a future can leave its lock taken, and then its thread never ends.
    waiting: SimpleQueue[tuple[int, Task] | None] = SimpleQueue()
    ended: SimpleQueue[tuple[int, Outcome | BaseException]] = SimpleQueue()

    def work() -> None:
        while (item := waiting.get()) is not None:
            index, task = item
            try:
                call = Call(look, cancellation, None, partial(progress, index), read_stream)
                ended.put((index, run_task(task, enhancer, options, call)))
            except BaseException as error:  # raised below, in the consumer's thread
                ended.put((index, error))

    names = (f"undim_{place}" for place in range(min(jobs, len(tasks))))
    threads = [Thread(target=work, name=name, daemon=True) for name in names]  # none outlives the process
    try:
        for thread in threads:
            thread.start()
        for item in enumerate(tasks[: len(threads)]):
            waiting.put(item)
        for following in range(len(threads), len(tasks) + len(threads)):
            index, outcome = ended.get()
            if isinstance(outcome, BaseException):
                raise outcome
            yield index, outcome
            if following < len(tasks):
                waiting.put((following, tasks[following]))
    finally:
        cancellation.cancel()
        with suppress(Empty):
            while True:
                waiting.get_nowait()
        for _ in threads:
            waiting.put(None)
        for thread in threads:
            if thread.ident is not None:
                thread.join()


@dataclass
class Clock:
    """What is known of one picture while it is in work."""

    size: Span | None = None
    """Width and height in pixels."""
    stages: dict[str, float] = field(default_factory=dict)
    """Wall time in seconds of those of `STAGES` that have ended."""
    parts: dict[str, float] = field(default_factory=dict)
    """Likewise of `undim.enhance.parts.PARTS`."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time in the block."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = time.perf_counter() - begin


def _run(task: Task, enhancer: Enhances, options: EnhanceOptions, call: Call, clock: Clock) -> Outcome:
    if task.refusal is not None:
        raise PictureError(task.refusal, code=task.code)
    if task.target is not None and not options.overwrite and os.path.lexists(task.target):
        if task.target.is_dir():
            raise PictureError(f"cannot be written: {os.fspath(task.target)!r} is a folder")
        return Outcome(task, "skipped", "the output exists", "output-exists")
    stream = call.read_stream if task.source == STREAM else None
    source = task.source if stream is None else stream()
    with brightened(source, enhancer, options, call, suffix=call.suffix, clock=clock) as bright:
        form = task.format or written_format(bright.format)
        with clock.stage("write"):
            if task.target is not None:
                lost = call.coder.write(bright, task.target, form, options.quality, cancellation=call.cancellation)
                return Outcome(task, "done", notes=(*bright.notes, *lost), form=form)
            content, lost = call.coder.encode(bright, form, options.quality, cancellation=call.cancellation)
            return Outcome(task, "done", notes=(*bright.notes, *lost), content=content, form=form)


@contextmanager
def brightened(
    source: str | bytes,
    enhancer: Enhances,
    options: EnhanceOptions,
    call: Call,
    *,
    suffix: str = "",
    clock: Clock | None = None,
) -> Iterator[Picture]:
    """Read one picture and enhance it. Its memory counts as taken until the block ends, in which it is written.

    Args:
        source: a path, or a file's content.
        enhancer: an `Enhancer`.
        options: strength, exposure, fast and max_pixels count here.
        call: see there.
        suffix: of the file that a content is of, as of `read_picture`.
        clock: notes size and times.

    Raises:
        PictureError: as `read_picture` and `Enhancer.__call__`.
    """
    clock = clock or Clock()
    with ExitStack() as held:

        def hold(width: int, height: int) -> None:
            held.close()  # a size that a header tells more exactly later
            held.enter_context(call.memory.held(width, height, call.cancellation))

        with clock.stage("read"):
            picture = call.coder.read(
                source, suffix, max_pixels=options.max_pixels, on_size=hold, cancellation=call.cancellation
            )
        clock.size = picture.size
        call.cancellation.check()
        with clock.stage("enhance"), noting() as clock.parts:
            enhanced = enhancer(
                picture.pixels,
                strength=options.strength,
                exposure=options.exposure,
                fast=options.fast,
                look=call.look,
                cancellation=call.cancellation,
                deadline=call.deadline,
                progress=call.progress,
            )
        call.cancellation.check()
        yield replace(picture, pixels=enhanced)
