"""`undim paper`: the paper's tables and figures, with ours beside them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from undim.cli.results import prepare
from undim.errors import UsageError, suggest
from undim.paper import claims, figures, harm, redundancy_tables, restoration_tables
from undim.paper.commands import MeasuredKind, Measurement
from undim.paper.measured import Measurements
from undim.paper.pages import Page, write_page
from undim.results.scores import ScoresDocument
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
    failed = [job for job in jobs if not _run(job)]
    if jobs:
        ours = Measurements(roots)
    for name in wanted:
        page = MAKERS[name](ours) if name in MAKERS else PICTURES[name](ours, roots, output)
        write_page(page, output)
        there = sum(entry.ours is not None for entry in page.entries)
        typer.echo(f"{output / f'{name}.md'}: {there} of {len(page.entries)} figures are ours.")
    if failed:
        raise UsageError(f"{len(failed)} of {len(jobs)} measurements failed, see above: their figures are not run.")


@dataclass(frozen=True)
class _Job:
    """A finished training that is to be measured."""

    what: Measurement
    folder: Path
    target: Path

    def words(self) -> list[str]:
        """Undim's command."""
        kind = self.what.kind
        verb = ["evaluate"] if kind is ScoresDocument else ["redundancy", kind.NAME]
        split = [] if kind is ScoresDocument else ["--split", "test"]
        images = ["--save-images"] if self.what.save_images else []
        return [*verb, str(self.folder), "--data", self.what.data, *split, "-o", str(self.target), *images]


def _find_jobs(names: Sequence[str], runs: Path, output: Path, ours: Measurements) -> list[_Job]:
    """What pages are made of and finished trainings can give, but was not measured."""
    nothing = Measurements([])
    wanted: dict[Measurement, None] = {}
    for name in names:
        page = MAKERS[name](nothing) if name in MAKERS else PICTURES[name](nothing, [], output)
        wanted |= {one.making: None for one in page.entries if isinstance(one.making, Measurement)}
    jobs: dict[tuple[Path, MeasuredKind], _Job] = {}
    for what in wanted:
        for seed, folder in _finished(runs, what.run) if what.run is not None else ():
            there = {one.seed for one in ours.findings(what.network, what.data, what.kind)}
            if seed in there or (seed is None and there):
                continue
            name = what.network if seed is None else f"{what.network}-s{seed}"
            target = output / name / what.data
            if what.save_images or (target, what.kind) not in jobs:  # with pictures, where one page wants them
                jobs[target, what.kind] = _Job(what, folder, target)
    return list(jobs.values())


def _finished(runs: Path, name: str) -> Iterator[tuple[int | None, Path]]:
    """The folders of finished trainings of that name, with the seed that the folder's name ends in."""
    trained = re.compile(re.escape(name) + r"(?:-s(\d+))?")
    for folder in sorted(runs.glob(f"{name}*")):
        match = trained.fullmatch(folder.name)
        if match is not None and (folder / AVERAGE).is_file():
            yield None if match[1] is None else int(match[1]), folder


def _run(job: _Job) -> bool:
    from undim.cli.main import INTERRUPTED, main

    words = job.words()
    typer.echo(f"undim {shlex.join(words)}", err=True)
    status = main(words)
    if status >= INTERRUPTED:
        raise typer.Exit(status)
    return status == 0
