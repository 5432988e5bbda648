"""`undim compare`: several models on the same pictures, to look at and in figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from undim.atomic import write_text
from undim.cli.lines import put, say
from undim.cli.progress import progress
from undim.cli.results import prepare
from undim.errors import UsageError
from undim.images import Picture, write_picture
from undim.jobs.plan import STREAM, Task, plan
from undim.machine import count_cores
from undim.metrics.comparison import Candidate, Watchers, compare_models, find_references, name_models, name_pictures
from undim.metrics.comparison_page import make_comparison_page, make_gallery, make_sheet, order_columns
from undim.metrics.report import summary
from undim.results.comparison import ComparedModel
from undim.weights.subjects import find_subject


def compare(
    pictures: Annotated[list[str], typer.Argument(help="Dark pictures: files, folders, patterns in quotes.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="For compare.html, sheet.webp, compare.json and images/MODEL/NAME.png.",
        ),
    ],
    models: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="What to compare: shipped models' names, .onnx files, Undim .safetensors files (undim convert makes"
            " them of public checkpoints), folders of training runs, package.module:factory.",
        ),
    ],
    references: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What the pictures should be, under their names whatever the suffix."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Of models that run in PyTorch.")] = "cpu",
    threads: Annotated[int | None, typer.Option(metavar="N", help="CPU threads of each model; default: all.")] = None,
) -> None:
    """Enhance pictures with several models and put the results side by side.

    DIR/compare.html has a slider for each picture, needs no other file, and holds the pictures at most 1600 pixels
    wide; sheet.webp has all in one picture; full sizes are in images/. With references there are PSNR, SSIM and all
    else that undim evaluate measures; time and memory are of one model at a time, each in a process of its own.
    Where a picture or a model fails, all others are finished, and the exit status is 1.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}; allowed: 1 or more.", code="option", subject="threads")
    if STREAM in pictures:
        raise UsageError("Pictures to compare are files or folders; standard input is not read here.")
    named = name_models([model for one in models.split(",") if (model := one.strip())])
    for model in named.values():
        find_subject(model)
    passed_over: list[str] = []
    tasks = _find(pictures, output, passed_over.append)
    sources = [task.source for task in tasks]
    names = name_pictures(sources)
    partners = find_references(sources, references)
    prepare(output)
    for path in passed_over:
        say(f"{path}: a video, passed over")
    for name, partner in zip(names, partners, strict=True):
        if references is not None and partner is None:
            say(f"{name}: has no reference in {references}, so no PSNR and SSIM")
    candidates = [
        Candidate(name, Path(task.source), partner, task.refusal)
        for name, task, partner in zip(names, tasks, partners, strict=True)
    ]
    columns = order_columns(list(named), references=any(partners))
    gallery = make_gallery(len(candidates), len(columns))
    failures: list[str] = []
    with progress("comparing", len(candidates) * len(named)) as done:
        comparison = compare_models(
            candidates,
            named,
            output,
            Watchers(done, partial(_fail, failures), gallery.show),
            device=device,
            threads=threads or count_cores(),
        )
    sheet, count = make_sheet(gallery, columns)
    if count:
        write_picture(Picture(sheet), output / "sheet.webp", "webp")
    if count < len(gallery.cells):
        say(f"the sheet has room for {count} of {len(gallery.cells)} pictures")
    title = f"{', '.join(named)} on {len(candidates)} picture{'s' if len(candidates) > 1 else ''}"
    write_text(output / "compare.html", make_comparison_page(title, comparison, gallery))
    comparison.document.write(output / "compare.json")
    for told in comparison.document.models:
        put(f"{told.name}: {_figures(told, summary(comparison.scores[told.name]))}\n".encode())
    put(f"page: {output / 'compare.html'}\n".encode())
    if failures:
        raise typer.Exit(1)


def _find(pictures: Sequence[str], output: Path, on_video: Callable[[str], None]) -> list[Task]:
    """The pictures that each argument means, one argument at a time: names may come again, since outputs get others."""
    found = [task for one in pictures for task in plan([one], str(output), overwrite=True, on_video=on_video)]
    return list({task.source: task for task in found}.values())


def _fail(failures: list[str], line: str) -> None:
    failures.append(line)
    say(f"failed: {line}")


def _figures(model: ComparedModel, scored: str) -> str:
    """What a model did, in a line."""
    if model.failure is not None:
        return "could not be loaded"
    if model.seconds is None:
        return "no picture was made"
    memory = "" if model.peak_memory is None else f", {model.peak_memory / 1e6:.0f} MB"
    return f"{scored}; {model.seconds:.2f} s per picture{memory}"
