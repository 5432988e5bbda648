"""`undim video`: dark videos to clear ones."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, cast

import typer

from undim.cli.lines import one_line, put, say, without_codec_noise
from undim.cli.options import read_tile
from undim.cli.outcomes import count, summary
from undim.cli.progress import on_terminal
from undim.hub.finding import find_model_file
from undim.jobs.options import EnhanceOptions, open_enhancer
from undim.runtimes.precision import PrecisionWish
from undim.runtimes.table import DEFAULT_RUNTIME, reads_of
from undim.shipped import DEFAULT_MODEL

if TYPE_CHECKING:
    from undim.enhance.enhancer import Enhancer
    from undim.video.plan import VideoPlan, VideoTask
    from undim.video.run import VideoOutcome

TOLD_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""


def video(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            show_default=False,
            help="Videos that FFmpeg reads, folders (with sub-folders), or patterns in quotes.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            show_default=False,
            help="A folder; for one video also a file such as clear.mp4.",
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Name of a shipped model, hf:OWNER/NAME@REVISION that was pulled, or an .onnx file.")
    ] = DEFAULT_MODEL,
    strength: Annotated[float, typer.Option(metavar="0..1", help="How much: 0 the input, 1 all.")] = 1.0,
    exposure: Annotated[
        float,
        typer.Option(
            metavar="-2..2", help="Brighter or darker by so many stops, applied after --strength; white stays white."
        ),
    ] = 0.0,
    tile: Annotated[str, typer.Option(metavar="auto|0|N", help="As for undim enhance.")] = "auto",
    runtime: Annotated[str, typer.Option(metavar="NAME", help="As for undim enhance.")] = DEFAULT_RUNTIME,
    precision: Annotated[str, typer.Option(metavar="auto|float32|bfloat16", help="As for undim enhance.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> int:
    """Make dark videos clear, without flicker: all frames of a scene share one look, which follows the scene slowly.

    Sound, subtitles, chapters, covers, metadata, time stamps and colour tags are copied; the codec is the input's where
    it can be written; what is not kept is noted. A run that is stopped leaves no half-written output. In a folder,
    files without a video's suffix are ignored, and outputs that exist are kept unless --overwrite is given.

    Exit status: 0 all well, 1 a video failed, or is damaged or cut off (what could be read of it is written), 2 wrong
    usage, no model, or the one file that was given is not a video, 130 or 143 stopped.
    """
    options = EnhanceOptions(
        model=model,
        strength=strength,
        exposure=exposure,
        tile=read_tile(tile),
        runtime=runtime,
        precision=cast("PrecisionWish", precision),
        overwrite=overwrite,
    )
    find_model_file(model, reads_of(runtime))
    from undim.video.plan import plan  # FFmpeg loads only after the options are checked

    planned = plan(paths, output, overwrite=overwrite)
    enhancer = open_enhancer(options, expect_many=True)
    with without_codec_noise(), _progress() as (advance, tell):
        outcomes = _run(planned, enhancer, options, advance, tell, raises=not as_json)
    if as_json:
        put(f"{json.dumps({**report(outcomes), 'runtime': enhancer.runtime}, indent=2)}\n".encode())
    elif planned.lone:
        say(f"{outcomes[0].frames} frames, {outcomes[0].cuts} cuts")
    else:
        say(summary(outcomes))
    return 0 if all(outcome.status != "failed" and outcome.whole for outcome in outcomes) else 1


def report(outcomes: Sequence[VideoOutcome]) -> dict[str, object]:
    """What `--json` prints: counts, and one entry per video in the order of the inputs."""
    files = [
        {
            "input": os.fspath(outcome.task.source),
            "output": None if outcome.task.target is None else os.fspath(outcome.task.target),
            "status": outcome.status,
            "reason": outcome.reason,
            "notes": list(outcome.notes),
            "whole": outcome.whole,
            "frames": outcome.frames,
            "cuts": outcome.cuts,
            "seconds": round(outcome.seconds, 3),
        }
        for outcome in outcomes
    ]
    return {**count(outcomes), "files": files}


def _run(
    planned: VideoPlan,
    enhancer: Enhancer,
    options: EnhanceOptions,
    advance: Callable[[VideoTask, float], None],
    tell: Callable[[str], None],
    *,
    raises: bool,
) -> list[VideoOutcome]:
    """What became of the videos; the failure of one with an output of a given name is raised, if that is wanted."""
    from undim.video.run import run_task, run_tasks

    outcomes = []
    if planned.lone and raises:
        steps: Iterator[VideoOutcome] = (run_task(task, enhancer, options, advance) for task in planned.tasks)
    else:
        steps = run_tasks(planned.tasks, enhancer, options, advance)
    for outcome in steps:
        outcomes.append(outcome)
        if outcome.status == "failed":
            tell(f"failed: {outcome.task.source}: {outcome.reason}")
        for note in outcome.notes:
            tell(f"note: {outcome.task.source}: {note}")
    return outcomes


@contextmanager
def _progress() -> Iterator[tuple[Callable[[VideoTask, float], None], Callable[[str], None]]]:
    """A bar with the time left on a terminal, a line now and then otherwise.

    Yields a call that takes a task and the share of it that is done, and one for a line between.
    """
    if not on_terminal():
        yield _Lines().advance, say
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        shown: dict[VideoTask, TaskID] = {}

        def advance(task: VideoTask, share: float) -> None:
            if task not in shown:
                for before in shown.values():
                    bar.update(before, visible=False)
                shown[task] = bar.add_task(one_line(task.source.name), total=1.0)
            bar.update(shown[task], completed=share)

        # `out` neither wraps nor reads markup.
        yield advance, lambda text: console.out(f"undim: {one_line(text)}", highlight=False)


class _Lines:
    """Progress as plain lines, one every `TOLD_EVERY` seconds."""

    def __init__(self) -> None:
        self._task: VideoTask | None = None
        self._begin = self._told = time.monotonic()

    def advance(self, task: VideoTask, share: float) -> None:
        now = time.monotonic()
        if task is not self._task:
            self._task, self._begin = task, now
        if now - self._told < TOLD_EVERY:
            return
        self._told = now
        left = (
            f", {_duration((now - self._begin) * (1 - share) / share)} left" if share > 0 and now > self._begin else ""
        )
        say(f"{task.source}: {share:.0%}{left}")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"
