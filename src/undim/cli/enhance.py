"""`undim enhance`: files, folders and pipes of dark pictures to clear ones."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from undim.cli.lines import one_line, put, say, without_codec_noise
from undim.enhance.tiling import Tile, check_tile
from undim.errors import PictureError, UsageError
from undim.images import FORMATS, MAX_PIXELS, read_picture
from undim.jobs.plan import STREAM, Task, plan
from undim.jobs.run import Outcome, Settings, run_tasks
from undim.jobs.watch import PAUSE, Arrivals
from undim.runtimes.precision import PrecisionWish, check_precision
from undim.runtimes.table import DEFAULT_RUNTIME, PAYS_FOR_PICTURES, RUNTIMES, RuntimeWish, check_runtime
from undim.shipped import DEFAULT_MODEL, find_model

if TYPE_CHECKING:
    from undim.enhance.enhancer import Enhancer
    from undim.runtimes.base import WholePicture

Strength = float | Literal["auto"]


@dataclass(frozen=True)
class Wishes:
    """What the enhancer is to do."""

    model: str
    tile: Tile
    strength: Strength
    fast: bool
    series: bool
    runtime: RuntimeWish
    precision: PrecisionWish


def enhance(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            show_default=False,
            help="Pictures, folders (with sub-folders), patterns in quotes, or - for standard input.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            show_default=False,
            help="A folder; for one picture also a file such as clear.jpg, or - for standard output.",
        ),
    ],
    model: Annotated[str, typer.Option(help="Name of a shipped model, or an .onnx file.")] = DEFAULT_MODEL,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="|".join(FORMATS), help="Output format and suffix; default: as the input."),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(metavar="1..100", help="Of JPEG (default 95), WebP (95, or lossless as the input), AVIF (90)."),
    ] = None,
    strength: Annotated[
        str,
        typer.Option(metavar="0..1|auto", help="How much: 0 the input, 1 all; auto: only where a picture is dark."),
    ] = "1",
    fast: Annotated[
        bool, typer.Option("--fast", help="Run the network on a reduced copy of pictures from 3 megapixels on.")
    ] = False,
    series: Annotated[
        bool, typer.Option("--series", help="One look for all pictures: a burst, a time-lapse, a panorama's parts.")
    ] = False,
    tile: Annotated[
        str,
        typer.Option(
            metavar="auto|0|N",
            help="Side in pixels of the tiles that large pictures are cut into; 0: never; auto: as memory suggests.",
        ),
    ] = "auto",
    runtime: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"What runs the network: {', '.join(RUNTIMES)}; auto: the fastest one here, for large work.",
        ),
    ] = DEFAULT_RUNTIME,
    precision: Annotated[
        str,
        typer.Option(
            metavar="auto|float32|bfloat16",
            help="What the network computes in; auto: bfloat16 where it is at hand and not seen.",
        ),
    ] = "auto",
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on with what arrives in the folder PATH, until stopped with Ctrl-C.")
    ] = False,
    jobs: Annotated[int, typer.Option(metavar="N", help="Pictures in flight.")] = 2,
    max_pixels: Annotated[int, typer.Option(metavar="N", help="Refuse larger pictures.")] = MAX_PIXELS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> int:
    """Make dark pictures clear.

    Outputs have the names of the inputs; those that exist are kept unless --overwrite is given. In a folder, files
    without a picture's suffix are ignored; a file named on the command line is always tried.

    Exit status: 0 all well, 1 some pictures failed, 2 wrong usage or model, 130 or 143 stopped.
    """
    _check(quality, jobs, max_pixels)
    if output == STREAM and as_json:
        raise UsageError("--json and -o - both print to standard output; leave one of them out.")
    if output == STREAM and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("-o - would print a picture to the terminal; redirect it, or give a file.")
    find_model(model)
    means = (read_runtime(runtime), read_precision(precision))
    wishes = Wishes(model, read_tile(tile), read_strength(strength), fast, series, *means)
    settings = Settings(quality, max_pixels, overwrite)
    if watch:
        if series or as_json or output == STREAM or len(paths) != 1 or not Path(paths[0]).is_dir():
            raise UsageError("--watch takes one folder and -o FOLDER, without --series and --json.")
        return _watch(lambda: plan(paths, output, form, overwrite=overwrite), wishes, jobs, settings)
    tasks = plan(paths, output, form, overwrite=overwrite)
    if series and any(task.source == STREAM for task in tasks):
        raise UsageError("--series looks at all pictures first, and standard input can be read only once: give files.")
    outcomes, ran = _run(tasks, wishes, jobs, settings)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if as_json:
        put(f"{json.dumps({**report(outcomes), 'runtime': ran}, indent=2)}\n".encode())
    elif output == STREAM:
        for outcome in outcomes:
            put(outcome.content or b"")
    else:
        say(summary(outcomes))
    return 1 if failed else 0


def report(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """What `--json` prints: counts, and one entry per picture in the order of the inputs."""
    counts = {status: sum(outcome.status == status for outcome in outcomes) for status in ("done", "skipped", "failed")}
    files = [
        {
            "input": outcome.task.source,
            "output": None if outcome.task.target is None else os.fspath(outcome.task.target),
            "status": outcome.status,
            "reason": outcome.reason,
            "seconds": round(outcome.seconds, 3),
        }
        for outcome in outcomes
    ]
    return {**counts, "files": files}


def summary(outcomes: Sequence[Outcome]) -> str:
    """The counts in words."""
    counts = report(outcomes)
    kept = " (their outputs exist; --overwrite replaces them)" if counts["skipped"] else ""
    return f"{counts['done']} done, {counts['skipped']} skipped{kept}, {counts['failed']} failed"


def read_tile(text: str) -> Tile:
    """What `--tile` says: "auto", 0 or a side in pixels.

    Raises:
        UsageError: if it says something else.
    """
    tile: Tile = int(text) if text.isascii() and text.isdecimal() else "auto"
    if tile == "auto" != text:
        raise UsageError(f"--tile is {text!r}; allowed: auto, 0 (never cut a picture), or a side in pixels.")
    check_tile(tile)
    return tile


def read_runtime(text: str) -> RuntimeWish:
    """What `--runtime` says.

    Raises:
        UsageError: if there is no such runtime, or it is not installed.
    """
    check_runtime(text)
    return cast("RuntimeWish", text)


def read_precision(text: str) -> PrecisionWish:
    """What `--precision` says.

    Raises:
        UsageError: if there is no such precision.
    """
    check_precision(text)
    return cast("PrecisionWish", text)


def read_strength(text: str) -> Strength:
    """What `--strength` says: "auto" or a number from 0 to 1.

    Raises:
        UsageError: if it says something else.
    """
    try:
        strength: Strength = "auto" if text == "auto" else float(text)
    except ValueError:
        strength = math.nan
    if strength != "auto" and not 0 <= strength <= 1:
        raise UsageError(f"--strength is {text}; allowed: 0 (the input) to 1 (fully enhanced), or auto.")
    return strength


def _check(quality: int | None, jobs: int, max_pixels: int) -> None:
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"--quality is {quality}; allowed: 1 to 100.")
    if jobs < 1:
        raise UsageError(f"--jobs is {jobs}; allowed: 1 or more.")
    if max_pixels < 1:
        raise UsageError(f"--max-pixels is {max_pixels}; allowed: 1 or more.")


def _run(tasks: Sequence[Task], wishes: Wishes, jobs: int, settings: Settings) -> tuple[list[Outcome], str]:
    """What became of the tasks, and what ran the network."""
    enhancer = _open(wishes, many=len(tasks) >= PAYS_FOR_PICTURES)
    look = _common_look(enhancer, tasks, settings) if wishes.series else None
    return _run_with(enhancer, tasks, wishes.strength, look, jobs, settings), enhancer.runtime


def _open(wishes: Wishes, *, many: bool) -> Enhancer:
    from undim.enhance.enhancer import Enhancer  # ONNX Runtime loads only after all usage errors are told

    return Enhancer(
        wishes.model,
        tile=wishes.tile,
        fast=wishes.fast,
        runtime=wishes.runtime,
        precision=wishes.precision,
        many=many,
    )


def _watch(look: Callable[[], list[Task]], wishes: Wishes, jobs: int, settings: Settings) -> int:
    """Enhance what arrives until Ctrl-C; the exit status."""
    enhancer = _open(wishes, many=True)
    outcomes: list[Outcome] = []
    told = ""

    def there() -> list[Task]:
        nonlocal told
        try:
            return look()
        except UsageError as error:  # the folder is empty, or two pictures would have one output
            if str(error) != told and outcomes:
                say(f"waiting: {error}")
            told = str(error)
            return []

    arrivals = Arrivals(there)
    say("watching; Ctrl-C stops")
    with suppress(KeyboardInterrupt):
        while True:
            if tasks := arrivals.ready():
                outcomes += _run_with(enhancer, tasks, wishes.strength, None, jobs, settings)
                say(summary(outcomes))
            time.sleep(PAUSE)
    say(summary(outcomes))
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def _run_with(
    enhancer: Enhancer,
    tasks: Sequence[Task],
    strength: Strength,
    look: WholePicture | None,
    jobs: int,
    settings: Settings,
) -> list[Outcome]:
    ended: dict[int, Outcome] = {}
    steps = run_tasks(
        tasks,
        lambda pixels: enhancer(pixels, strength=strength, look=look),
        settings,
        jobs=jobs,
        read_stream=_read_stdin,
        stop=enhancer.stop,
    )
    with without_codec_noise(), _progress(len(tasks)) as (advance, tell), closing(steps):
        for index, outcome in steps:
            ended[index] = outcome
            if outcome.status == "failed":
                tell(f"failed: {outcome.task.source}: {outcome.reason}")
            elif outcome.status == "done" and outcome.reason:
                tell(f"note: {outcome.task.source}: {outcome.reason}")
            advance()
    return [ended[index] for index in range(len(tasks))]


def _common_look(enhancer: Enhancer, tasks: Sequence[Task], settings: Settings) -> WholePicture | None:
    """What all pictures of a series are to share; what cannot be read is told when its turn comes."""
    from undim.enhance.survey import average

    looks: list[WholePicture] = []
    with without_codec_noise(), _progress(len(tasks)) as (advance, _):
        for task in tasks:
            with suppress(PictureError):
                if task.refusal is None:
                    looks.append(enhancer.survey(read_picture(task.source, max_pixels=settings.max_pixels).pixels))
            advance()
    return average(looks) if looks else None


def _read_stdin() -> bytes:
    if sys.stdin is None:  # where the command was started with it closed
        raise PictureError("cannot be read: standard input is closed")
    return sys.stdin.buffer.read()


@contextmanager
def _progress(total: int) -> Iterator[tuple[Callable[[], None], Callable[[str], None]]]:
    """A bar on a terminal, nothing otherwise; yields a call for each step and one for a line between."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield (lambda: None), say
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        # `out` neither wraps nor reads markup.
        yield partial(bar.advance, task), lambda text: console.out(f"undim: {one_line(text)}", highlight=False)
