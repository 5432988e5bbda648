"""`undim batch`: more pictures than one command should hold, from store to store, on this machine or a Ray cluster."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, cast

import typer

from undim.batch.addresses import shown
from undim.batch.drive import ENGINES, Batch, Engine, Listener, Tally, count_batch, run_batch
from undim.batch.sources import COLUMN
from undim.cli.hints import with_hint
from undim.cli.lines import say, without_codec_noise
from undim.cli.options import read_tile
from undim.cli.progress import bar, on_terminal
from undim.errors import UsageError
from undim.images import FORMATS, MAX_PIXELS
from undim.jobs.options import EnhanceOptions
from undim.jobs.work import Record
from undim.runtimes.precision import PrecisionWish
from undim.runtimes.table import DEFAULT_RUNTIME, RUNTIMES
from undim.shipped import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from undim.cli.progress import Bar

EVERY = 30.0
"""Seconds between two lines of progress where there is no terminal."""


def batch(
    source: Annotated[
        str,
        typer.Argument(
            show_default=False,
            help="A folder, s3://, gs:// or az://, an http(s):// listing, a manifest (.csv, .jsonl, .parquet), or"
            " .tar shards such as in-{000..011}.tar.",
        ),
    ],
    destination: Annotated[
        str,
        typer.Argument(metavar="DEST", show_default=False, help="A folder, a store's address, or .tar shards."),
    ],
    engine: Annotated[str, typer.Option(metavar="|".join(ENGINES), help="This machine, or a Ray cluster.")] = "local",
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Of a Ray cluster, such as auto; without it one starts here."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Processes, each with its model; default: one per core.")
    ] = None,
    threads: Annotated[int, typer.Option(metavar="N", help="CPU threads of each worker.")] = 1,
    gpus: Annotated[float, typer.Option(metavar="NUMBER", help="GPUs of each worker, on a Ray cluster.")] = 0.0,
    memory: Annotated[
        float | None,
        typer.Option(
            metavar="GB", help="What one worker's decoded pictures may take; default: a share of this machine."
        ),
    ] = None,
    tries: Annotated[
        int, typer.Option(metavar="N", help="Tries, alone, of a picture that ends its worker; then it is set aside.")
    ] = 3,
    column: Annotated[str, typer.Option(metavar="NAME", help="Of a manifest: the column with the paths.")] = COLUMN,
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A .jsonl or .parquet file; default: DEST/.undim/report.jsonl."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compare outputs that exist with their hashes; make anew those that differ."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; count what there is to do.")] = False,
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
    strength: Annotated[float, typer.Option(metavar="0..1", help="As for undim enhance.")] = 1.0,
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
    tile: Annotated[
        str,
        typer.Option(metavar="auto|0|N", help="Side in pixels of the tiles that large pictures are cut into."),
    ] = "auto",
    runtime: Annotated[
        str,
        typer.Option(metavar="NAME", help=f"What runs the network: {', '.join(RUNTIMES)}; auto: the fastest one here."),
    ] = DEFAULT_RUNTIME,
    precision: Annotated[
        str, typer.Option(metavar="auto|float32|bfloat16", help="What the network computes in.")
    ] = "auto",
    max_pixels: Annotated[int, typer.Option(metavar="N", help="Refuse larger pictures.")] = MAX_PIXELS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> int:
    """Make all dark pictures of a folder, store, manifest or shard clear, by several workers.

    Run it again after anything broke off: it does what is missing or failed. Options of undim enhance mean the same.

    Exit status: 0 all well, 1 some pictures failed, 2 the batch could not be carried out, 130 or 143 stopped.
    """
    asked = Batch(
        source,
        destination,
        EnhanceOptions(
            model=model,
            strength=strength,
            exposure=exposure,
            fast=fast,
            tile=read_tile(tile),
            runtime=runtime,
            precision=cast("PrecisionWish", precision),
            threads=threads,
            form=form,
            quality=quality,
            max_pixels=max_pixels,
            overwrite=overwrite,
        ),
        engine=cast("Engine", engine),
        address=address,
        workers=workers,
        gpus=gpus,
        memory=None if memory is None else _bytes(memory),
        tries=tries,
        column=column,
        report=report,
        verify=verify,
    )
    with without_codec_noise(), _telling() as listener:
        tally = count_batch(asked, listener) if dry_run else run_batch(asked, listener)
    say(_sum_up(tally, dry_run=dry_run))
    return 1 if tally.failed else 0


def _bytes(gigabytes: float) -> int:
    if not 0 < gigabytes < math.inf:
        raise UsageError(f"memory is {gigabytes}; allowed: a number above 0.", code="option", subject="memory")
    return int(gigabytes * 1e9)


def _sum_up(tally: Tally, *, dry_run: bool) -> str:
    kept = " (their outputs exist; --overwrite replaces them)" if tally.skipped else ""
    if dry_run:
        return (
            f"{tally.total} pictures: {tally.done} to do, {tally.skipped} skipped{kept}, {tally.failed} cannot be done"
        )
    return f"{tally.done} done, {tally.skipped} skipped{kept}, {tally.failed} failed; report: {shown(tally.report)}"


@contextmanager
def _telling() -> Iterator[Listener]:
    """A listener that shows a bar on a terminal, a line now and then elsewhere, and all failures and notes."""
    progress = _Progress()
    try:
        yield Listener(progress.begin, progress.end, lambda text: say(f"note: {text}"))
    finally:
        progress.close()


class _Progress:
    def __init__(self) -> None:
        self._total = self._ended = self._failed = self._made = 0
        self._begun = self._told = time.monotonic()
        self._bar: Bar | None = None
        self._leave: Callable[[], object] = lambda: None

    def begin(self, total: int) -> None:
        self._total = total
        self._begun = self._told = time.monotonic()
        shown_bar = bar(total)
        self._bar = shown_bar.__enter__()
        self._leave = lambda: shown_bar.__exit__(None, None, None)

    def end(self, record: Record) -> None:
        self._ended += 1
        self._made += record.status == "done"
        line = say if self._bar is None else self._bar.tell
        if record.status == "failed":
            self._failed += 1
            line(f"failed: {record.key}: {with_hint(record.reason or '', record.code)}")
        if self._bar is not None:
            self._bar.advance(1.0)
        if not on_terminal() and time.monotonic() - self._told >= EVERY:
            self._told = time.monotonic()
            say(self._line())

    def close(self) -> None:
        self._leave()

    def _line(self) -> str:
        rate = self._ended / max(time.monotonic() - self._begun, 1e-9)
        left = (self._total - self._ended) / max(rate, 1e-9)
        return (
            f"{self._ended} of {self._total}, {rate:.1f} a second, {self._failed} failed,"
            f" about {left / 60:.0f} min left"
        )
