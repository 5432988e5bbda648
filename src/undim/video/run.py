"""Enhancing videos one after the other, each ending as done, skipped or failed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from undim.arrays import Pixels
from undim.enhance.exposure import expose_pixels
from undim.errors import UndimError
from undim.jobs.options import EnhanceOptions
from undim.video.files import Summary, enhance_video
from undim.video.plan import VideoTask
from undim.video.steady import SteadyLook

if TYPE_CHECKING:
    from pathlib import Path

    from undim.enhance.enhancer import Enhancer

Status = Literal["done", "skipped", "failed"]
Advance = Callable[[VideoTask, float], None]
"""VideoTask and the share of it that is done, 0 to 1."""


@dataclass(frozen=True)
class VideoOutcome:
    """What became of one task."""

    task: VideoTask
    status: Status
    reason: str | None = None
    """Why it failed or was skipped."""
    notes: tuple[str, ...] = ()
    """What of a video that is done was not kept, or not as one would think."""
    frames: int = 0
    cuts: int = 0
    """Frames at which a new scene began."""
    whole: bool = True
    """Whether all of the input could be read."""
    seconds: float = 0.0
    """Wall time."""


def run_task(task: VideoTask, enhancer: Enhancer, options: EnhanceOptions, advance: Advance) -> VideoOutcome:
    """Enhance one video, which replaces what stands under its output's name.

    Args:
        task: with a target.
        enhancer: for its frames.
        options: strength, which is a number here, and exposure count.
        advance: called after every frame.

    Raises:
        VideoError: if it cannot be read or written as a video.
        OSError: if a file cannot be read or written.
    """
    begin = time.perf_counter()
    steady = SteadyLook(enhancer.survey)

    def enhance(pixels: Pixels, moment: float) -> Pixels:
        if options.strength == 0:
            return expose_pixels(pixels, options.exposure) if options.exposure else pixels
        look = steady(pixels, moment)
        return enhancer(pixels, strength=options.strength, exposure=options.exposure, look=look)

    target = cast("Path", task.target)
    summary: Summary = enhance_video(task.source, target, enhance, lambda share: advance(task, share))
    seconds = time.perf_counter() - begin
    return VideoOutcome(
        task,
        "done",
        notes=summary.notes,
        frames=summary.frames,
        cuts=steady.cuts,
        whole=summary.whole,
        seconds=seconds,
    )


def run_tasks(
    tasks: Sequence[VideoTask], enhancer: Enhancer, options: EnhanceOptions, advance: Advance
) -> Iterator[VideoOutcome]:
    """Yield what became of each task as it ends; one that fails does not stop the others.

    Args:
        tasks: what to do; folders of outputs are made.
        enhancer: for their frames.
        options: see `run_task`; with `overwrite` outputs that exist are made anew.
        advance: called after every frame.
    """
    for task in tasks:
        if task.target is None:
            yield VideoOutcome(task, "failed", task.refusal)
        elif task.target.is_dir():
            yield VideoOutcome(task, "failed", f"cannot be written: {task.target} is a folder")
        elif not options.overwrite and os.path.lexists(task.target):
            yield VideoOutcome(task, "skipped", "the output exists")
        else:
            yield _try(task, enhancer, options, advance)


def _try(task: VideoTask, enhancer: Enhancer, options: EnhanceOptions, advance: Advance) -> VideoOutcome:
    begin = time.perf_counter()
    try:
        cast("Path", task.target).parent.mkdir(parents=True, exist_ok=True)
        return run_task(task, enhancer, options, advance)
    except UndimError as error:
        reason = str(error).removeprefix(f"{task.source}").removeprefix(":").strip()
    except OSError as error:
        reason = f"{error.filename or task.target}: {error.strerror or error}"
    except MemoryError:
        reason = "does not fit in memory"
    except Exception as error:  # a fault of Undim in one video must not cost the others
        reason = f"{type(error).__name__}: {error} (a fault in Undim; please report it)"
    return VideoOutcome(task, "failed", reason, seconds=time.perf_counter() - begin)
