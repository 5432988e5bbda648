"""`undim enhance`: files, folders and pipes of dark pictures to clear ones."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from undim.cli.hints import tell, with_hint
from undim.cli.lines import put, say, without_codec_noise
from undim.cli.options import read_tile
from undim.cli.outcomes import count, summary
from undim.cli.progress import Shares, bar
from undim.errors import PictureError, UsageError
from undim.hub.finding import find_model_file
from undim.images import FORMATS, MAX_PIXELS
from undim.jobs.options import EnhanceOptions, open_enhancer
from undim.jobs.plan import STREAM, Task, check_output_folder, plan
from undim.jobs.run import Outcome, run_tasks
from undim.jobs.series import check_series, find_common_look
from undim.jobs.watch import PAUSE, Arrivals
from undim.runtimes.precision import PrecisionWish
from undim.runtimes.table import DEFAULT_RUNTIME, PAYS_FOR_PICTURES, RUNTIMES, reads_of
from undim.shipped import DEFAULT_MODEL

if TYPE_CHECKING:
    from undim.enhance.enhancer import Enhancer
    from undim.runtimes.base import WholePicture


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
    model: Annotated[
        str,
        typer.Option(
            help="A shipped model (undim models lists them), hf:OWNER/NAME@REVISION that was pulled, an .onnx file, or"
            " .safetensors for torch."
        ),
    ] = DEFAULT_MODEL,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="|".join(FORMATS), help="Output format and suffix; default: as the input."),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(metavar="1..100", help="Of JPEG (default 95), WebP (95, or lossless as the input), AVIF (90)."),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(metavar="0..1", help="How much: 0 the input, 1 all."),
    ] = 1.0,
    exposure: Annotated[
        float,
        typer.Option(
            metavar="-2..2",
            help="Brighter or darker by so many stops, applied after --strength; white stays white.",
        ),
    ] = 0.0,
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
            help="What the network computes in; auto: bfloat16 where the processor has it and the loss is not visible.",
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
    without a picture's suffix and hidden folders are passed over; a file named on the command line is always tried.

    Exit status: 0 all well, 1 some pictures failed, 2 wrong usage or model, 130 or 143 stopped.
    """
    if jobs < 1:
        raise UsageError(f"--jobs is {jobs}; allowed: 1 or more.")
    if output == STREAM and as_json:
        raise UsageError("--json and -o - both print to standard output; leave one of them out.")
    if output == STREAM and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("-o - would print a picture to the terminal; redirect it, or give a file.")
    options = EnhanceOptions(
        model=model,
        strength=strength,
        exposure=exposure,
        fast=fast,
        tile=read_tile(tile),
        runtime=runtime,
        precision=cast("PrecisionWish", precision),
        form=form,
        quality=quality,
        max_pixels=max_pixels,
        overwrite=overwrite,
    )
    find_model_file(model, reads_of(runtime))
    if watch:
        if series or as_json or output == STREAM or len(paths) != 1 or not Path(paths[0]).is_dir():
            raise UsageError("--watch takes one folder and -o FOLDER, without --series and --json.")
        return _watch(paths, output, options, jobs)
    videos: list[str] = []
    tasks = plan(paths, output, form, overwrite=overwrite, on_video=videos.append)
    if series:
        check_series(tasks)
    if videos:
        passed_over = f"{len(videos)} {'video was' if len(videos) == 1 else 'videos were'}"
        say(f"note: {passed_over} passed over, such as {videos[0]}: undim video makes them clear")
    enhancer = open_enhancer(options, expect_many=len(tasks) >= PAYS_FOR_PICTURES)
    look = _common_look(tasks, enhancer, options) if series else None
    outcomes = _run(tasks, enhancer, options, jobs, look)
    if as_json:
        put(f"{json.dumps({**report(outcomes), 'runtime': enhancer.runtime}, indent=2)}\n".encode())
    elif output == STREAM:
        for outcome in outcomes:
            put(outcome.content or b"")
    else:
        say(summary(outcomes))
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def report(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """What `--json` prints: counts, and one entry per picture in the order of the inputs."""
    files = [
        {
            "input": outcome.task.source,
            "output": None if outcome.task.target is None else os.fspath(outcome.task.target),
            "status": outcome.status,
            "reason": _reason(outcome) or "; ".join(outcome.notes) or None,
            "notes": list(outcome.notes),
            "seconds": round(outcome.seconds, 3),
            "stages": {name: round(seconds, 3) for name, seconds in outcome.stages.items()},
            "parts": {name: round(seconds, 3) for name, seconds in outcome.parts.items()},
        }
        for outcome in outcomes
    ]
    return {**count(outcomes), "files": files}


def _watch(paths: Sequence[str], output: str, options: EnhanceOptions, jobs: int) -> int:
    """Enhance what arrives until Ctrl-C; the exit status."""
    if Path(output).resolve() == Path(paths[0]).resolve():
        raise UsageError(f"The output {output!r} is the folder that is watched; give another one.")
    check_output_folder(Path(output), is_file=False)
    outcomes: list[Outcome] = []
    given: dict[str, Path] = {}
    told = ""

    def there() -> list[Task]:
        nonlocal told
        try:
            tasks = plan(paths, output, options.form, overwrite=options.overwrite, given=given)
        except UsageError as error:
            if error.code not in ("no-picture", "video") and str(error) != told:  # not yet is no news
                say(f"waiting: {tell(error)}")
            told = str(error)
            return []
        given.update((task.source, task.target) for task in tasks if task.target is not None)
        told = ""
        return tasks

    arrivals = Arrivals(there)
    enhancer = open_enhancer(options, expect_many=True)
    say("watching; Ctrl-C stops")
    with suppress(KeyboardInterrupt):
        while True:
            if tasks := arrivals.ready():
                outcomes += _run(tasks, enhancer, options, jobs)
                say(summary(outcomes))
            time.sleep(PAUSE)
    outcomes += _run(arrivals.left(), enhancer, options, jobs)
    say(summary(outcomes))
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def _run(
    tasks: Sequence[Task], enhancer: Enhancer, options: EnhanceOptions, jobs: int, look: WholePicture | None = None
) -> list[Outcome]:
    ended: dict[int, Outcome] = {}
    with without_codec_noise(), bar(len(tasks)) as shown:
        shares = Shares(shown.advance)
        steps = run_tasks(
            tasks, enhancer, options, jobs=jobs, look=look, read_stream=_read_stdin, progress=shares.reach
        )
        with closing(steps):
            for index, outcome in steps:
                ended[index] = outcome
                _tell(outcome, shown.tell)
                shares.reach(index, 1.0)
    return [ended[index] for index in range(len(tasks))]


def _tell(outcome: Outcome, line: Callable[[str], None]) -> None:
    if outcome.status == "failed":
        line(f"failed: {outcome.task.source}: {_reason(outcome)}")
    for note in outcome.notes:
        line(f"note: {outcome.task.source}: {note}")


def _reason(outcome: Outcome) -> str | None:
    return None if outcome.reason is None else with_hint(outcome.reason, outcome.code)


def _common_look(tasks: Sequence[Task], enhancer: Enhancer, options: EnhanceOptions) -> WholePicture | None:
    with without_codec_noise(), bar(len(tasks)) as shown:
        return find_common_look(tasks, enhancer, options.max_pixels, lambda: shown.advance(1))


def _read_stdin() -> bytes:
    if sys.stdin is None:  # where the command was started with it closed
        raise PictureError("cannot be read: standard input is closed")
    return sys.stdin.buffer.read()
