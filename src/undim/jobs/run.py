"""Enhancing many pictures: a few in flight, each ending as done, skipped or failed."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Literal

from undim.arrays import Pixels
from undim.errors import PictureError, UndimError
from undim.images import MAX_PIXELS, encode_picture, read_picture, write_picture
from undim.jobs.plan import STREAM, Task

Status = Literal["done", "skipped", "failed"]
Enhance = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Outcome:
    """What became of one task."""

    task: Task
    status: Status
    reason: str | None = None
    """Why it failed or was skipped; for a done one what of the file could not be kept, else None."""
    seconds: float = 0.0
    """Wall time from opening to closing."""
    content: bytes | None = None
    """The encoded picture, where the task has no target."""


@dataclass(frozen=True)
class Settings:
    """What is the same for all pictures of a run."""

    quality: int | None = None
    max_pixels: int = MAX_PIXELS
    overwrite: bool = False


def run_tasks(
    tasks: Sequence[Task],
    enhance: Enhance,
    settings: Settings,
    *,
    jobs: int = 1,
    read_stream: Callable[[], bytes] | None = None,
    stop: Callable[[], None] = lambda: None,
) -> Generator[tuple[int, Outcome], None, None]:
    """Yield (index of the task, outcome) as they end; at most `jobs` pictures are in memory.

    If the consumer raises or closes the iterator, `stop` is called, pictures in flight are given up and no half-written
    file is left.

    Args:
        tasks: what to do.
        enhance: pixels to pixels; called from several threads.
        settings: see there.
        jobs: pictures in flight.
        read_stream: gives the content of standard input.
        stop: makes a running `enhance` return or raise soon.
    """
    stopped = threading.Event()
    waiting = iter(enumerate(tasks))
    running: dict[Future[Outcome], int] = {}
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="undim")
    try:
        while True:
            while len(running) < jobs and (item := next(waiting, None)) is not None:
                index, task = item
                running[pool.submit(_run, task, enhance, settings, read_stream, stopped)] = index
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    finally:
        stopped.set()
        if running:
            stop()
        pool.shutdown(wait=True, cancel_futures=True)


def _run(
    task: Task,
    enhance: Enhance,
    settings: Settings,
    read_stream: Callable[[], bytes] | None,
    stopped: threading.Event,
) -> Outcome:
    begin = time.perf_counter()
    try:
        outcome = _enhance_one(task, enhance, settings, read_stream, stopped)
    except UndimError as error:
        outcome = Outcome(task, "failed", str(error))
    except MemoryError:
        outcome = Outcome(task, "failed", "does not fit in memory")
    except Exception as error:  # a fault of Undim in one picture must not cost the others
        outcome = Outcome(task, "failed", f"{type(error).__name__}: {error} (a fault in Undim; please report it)")
    return Outcome(outcome.task, outcome.status, outcome.reason, time.perf_counter() - begin, outcome.content)


def _enhance_one(
    task: Task,
    enhance: Enhance,
    settings: Settings,
    read_stream: Callable[[], bytes] | None,
    stopped: threading.Event,
) -> Outcome:
    if task.refusal is not None:
        raise PictureError(task.refusal)
    if task.target is not None and not settings.overwrite and os.path.lexists(task.target):
        return Outcome(task, "skipped", "the output exists; --overwrite replaces it")
    source = read_stream() if task.source == STREAM and read_stream is not None else task.source
    picture = read_picture(source, max_pixels=settings.max_pixels)
    _give_up_if(stopped)
    bright = replace(picture, pixels=enhance(picture.pixels))
    _give_up_if(stopped)
    content = None
    if task.target is None:
        stream = io.BytesIO()
        lost = encode_picture(bright, stream, task.format, settings.quality)
        content = stream.getvalue()
    else:
        lost = write_picture(bright, task.target, task.format, settings.quality)
    return Outcome(task, "done", "; ".join((*picture.notes, *lost)) or None, content=content)


def _give_up_if(stopped: threading.Event) -> None:
    if stopped.is_set():
        raise PictureError("was stopped")
