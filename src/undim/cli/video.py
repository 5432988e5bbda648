"""`undim video`: a dark video to a clear one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast

import typer

from undim.arrays import Pixels
from undim.cli.lines import say
from undim.cli.options import read_tile
from undim.errors import UsageError
from undim.runtimes.precision import PrecisionWish, check_precision
from undim.runtimes.table import DEFAULT_RUNTIME, check_runtime
from undim.shipped import DEFAULT_MODEL, find_model


def video(
    source: Annotated[Path, typer.Argument(metavar="IN", show_default=False, help="Any video that FFmpeg reads.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", show_default=False, help="A file such as clear.mp4.")
    ],
    model: Annotated[str, typer.Option(help="Name of a shipped model, or an .onnx file.")] = DEFAULT_MODEL,
    strength: Annotated[float, typer.Option(metavar="0..1", help="How much: 0 the input, 1 all.")] = 1.0,
    tile: Annotated[str, typer.Option(metavar="auto|0|N", help="As of undim enhance.")] = "auto",
    runtime: Annotated[str, typer.Option(metavar="NAME", help="As of undim enhance.")] = DEFAULT_RUNTIME,
    precision: Annotated[str, typer.Option(metavar="NAME", help="As of undim enhance.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
) -> int:
    """Make a dark video clear, without flicker: all frames of a scene share one look, which follows the scene slowly.

    Sound, subtitles, chapters, metadata, time stamps and colour tags are copied; the codec is the input's where it can
    be written. A run that is stopped leaves no output. Exit status: 0 all well, 1 the input is damaged or cut off, and
    what could be read of it is written, 2 wrong usage, no video or no model, 130 or 143 stopped.
    """
    if not 0 <= strength <= 1:
        raise UsageError(f"--strength is {strength}; allowed: 0 (the input) to 1 (fully enhanced).")
    find_model(model)
    side = read_tile(tile)
    check_runtime(runtime)
    check_precision(precision)
    if not source.is_file():
        raise UsageError(f"{source} is no file.")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists: give another name, or --overwrite.")
    if output.exists() and output.samefile(source):
        raise UsageError(f"{output} is the input itself: give another name.")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output}: there is no folder {output.parent}: make it first.")
    from undim.enhance.enhancer import Enhancer  # ONNX Runtime and FFmpeg load only after all usage errors are told
    from undim.video.files import enhance_video
    from undim.video.steady import SteadyLook

    enhancer = Enhancer(model, tile=side, runtime=runtime, precision=cast("PrecisionWish", precision), expect_many=True)
    steady = SteadyLook(enhancer.survey)

    def enhance(pixels: Pixels, time: float) -> Pixels:
        return enhancer(pixels, strength=strength, look=steady(pixels, time))

    with _progress() as advance:
        summary = enhance_video(source, output, enhance, advance)
    if summary.damaged:
        say(f"note: {source}: {summary.damaged} packets are damaged and were left out")
    for name in summary.left_out:
        say(f"note: {source}: the {name} is not copied: {output.suffix} files do not take it")
    if summary.missing:
        say(
            f"note: {source}: is cut off: it ends {summary.missing:.1f} s before the time that its header says; what is"
            " there was written"
        )
    say(f"{summary.frames} frames, {steady.cuts} cuts")
    return 1 if summary.damaged or summary.missing else 0


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """A bar with the time left on a terminal, nothing otherwise; yields a call that takes the share that is done."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share: bar.update(task, completed=share)
