"""`undim paper`: the paper's tables and figures, with ours beside them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from undim.cli.results import prepare
from undim.errors import UsageError, suggest
from undim.paper import claims, figures, harm, redundancy_tables, restoration_tables
from undim.paper.measured import Measurements
from undim.paper.pages import Page, write_page
from undim.weights.run_files import AVERAGE

MAKERS: dict[str, Callable[[Measurements], Page]] = {
    "table1": redundancy_tables.make_table1,
    "table2": redundancy_tables.make_table2,
    "table3": redundancy_tables.make_table3,
    "table4": redundancy_tables.make_table4,
    "table5": redundancy_tables.make_table5,
    "table6": restoration_tables.make_table6,
    "table7": restoration_tables.make_table7,
    "table8": restoration_tables.make_table8,
    "table9": restoration_tables.make_table9,
    "table10": restoration_tables.make_table10,
    "harm": harm.make_harm,
    "claims": claims.make_claims,
}
PICTURES: dict[str, Callable[[Measurements, Sequence[Path], Path], Page]] = {
    "figure1": figures.make_figure1,
    "figure2": figures.make_figure2,
    "figure5": figures.make_figure5,
    "figure6": figures.make_figure6,
    "figure7": figures.make_figure7,
}
NAMES = (*MAKERS, *PICTURES)


def paper(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help=f"{', '.join(NAMES)}, or all.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="For NAME.md and NAME.json.")],
    results: Annotated[
        list[Path] | None,
        typer.Option(
            "--results",
            metavar="DIR",
            help="Where what was measured lies, as NETWORK/DATA/ of undim evaluate and undim redundancy, and folders of"
            " studies; repeatable; default: the folder of the output.",
        ),
    ] = None,
    runs: Annotated[
        Path, typer.Option("--runs", metavar="DIR", help="Where trainings of the recipes lie: RECIPE, or RECIPE-sSEED.")
    ] = Path("runs"),
    measure: Annotated[
        bool,
        typer.Option(help="Measure what is missing of the trainings in --runs, which takes as long as those commands."),
    ] = True,
) -> None:
    """Write the paper's tables and figures with ours beside them.

    Nothing is trained here: where a figure of ours is missing, and the training that it needs too, the page holds the
    commands that make it. Where a finished training lies in --runs, it is measured, into NETWORK/DATA/ of the output.
    """
    wanted = list(NAMES) if "all" in names else list(dict.fromkeys(names))
    for name in wanted:
        if name not in NAMES:
            raise UsageError(f"There is no {name!r}.{suggest(name, NAMES)} Known: {', '.join(NAMES)}, all.")
    roots = results or [output]
    for root in results or []:
        if not root.is_dir():
            raise UsageError(f"{root} is not a folder.")
    prepare(output)
    if measure:  # what was measured by an earlier call lies there
        roots = list(dict.fromkeys([*roots, output]))
    ours = Measurements(roots)
    jobs = _find_jobs(wanted, runs, output, ours) if measure else []
    failed = [words for words in jobs if not _run(words)]
    if jobs:
        ours = Measurements(roots)
    for name in wanted:
        page = MAKERS[name](ours) if name in MAKERS else PICTURES[name](ours, roots, output)
        write_page(page, output)
        there = sum(entry.ours is not None for entry in page.entries)
        typer.echo(f"{output / f'{name}.md'}: {there} of {len(page.entries)} figures are ours.")
    if failed:
        raise UsageError(f"{len(failed)} of {len(jobs)} measurements failed, see above: their figures are not run.")


def _find_jobs(names: Sequence[str], runs: Path, output: Path, ours: Measurements) -> list[tuple[str, ...]]:
    """What pages are made of and finished trainings can give, but was not measured: words of Undim's commands."""
    nothing = Measurements([])
    commands: dict[str, None] = {}
    for name in names:
        page = MAKERS[name](nothing) if name in MAKERS else PICTURES[name](nothing, [], output)
        commands |= dict.fromkeys((entry.command or "").rpartition(" && ")[2] for entry in page.entries)
    jobs: dict[tuple[Path, str], tuple[str, ...]] = {}
    for command in commands:
        words = shlex.split(command)
        run = next((word for word in words if word.startswith("runs/")), None)
        if words[:1] != ["undim"] or run is None:
            continue
        verb = "results" if words[1] == "evaluate" else words[2]
        name = run.removeprefix("runs/")
        trained = re.compile(re.escape(name) + r"(?:-s(\d+))?")
        place = Path(words[words.index("-o") + 1])
        network, data = place.parent.name, place.name
        there = {document.seed for document in ours.documents.get((network, data, verb), [])}
        for folder in sorted(runs.glob(f"{name}*")):
            match = trained.fullmatch(folder.name)
            seed = None if match is None or match[1] is None else int(match[1])
            if match is None or not (folder / AVERAGE).is_file() or seed in there or (seed is None and there):
                continue
            target = output / (network if seed is None else f"{network}-s{seed}") / data
            changed = {run: str(folder), str(place): str(target)}
            job = tuple(changed.get(word, word) for word in words[1:])
            jobs[target, verb] = max(job, jobs.get((target, verb), ()), key=len)  # with --save-images, where one has it
    return list(jobs.values())


def _run(words: Sequence[str]) -> bool:
    from undim.cli.main import INTERRUPTED, main

    typer.echo(f"undim {shlex.join(words)}", err=True)
    status = main(list(words))
    if status >= INTERRUPTED:
        raise typer.Exit(status)
    return status == 0
