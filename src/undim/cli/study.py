"""`undim study`: variants of a recipe, trained from several seeds by a queue, and the report on them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from undim.cli.lines import say
from undim.cli.results import check_folder, prepare
from undim.cli.study_measures import Wish, measure_study
from undim.errors import UsageError
from undim.shipped import find_plan
from undim.study.cells import StudyFolder
from undim.study.on_ray import cluster_places
from undim.study.plan import load_study
from undim.study.report import write_study_report
from undim.study.runner import find_places, run_study, start_here
from undim.study.together import start_together


class _RunByDefault(TyperGroup):
    """`undim study STUDY.yaml` means `undim study run STUDY.yaml`."""

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - of Click, from one of two packages
        if args and args[0] not in ("--help", "-h") and args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


study = typer.Typer(
    cls=_RunByDefault,
    help="Compare variants of a recipe over seeds: undim study STUDY.yaml -o DIR, then undim study report DIR.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@study.command("run")
def run(
    file: Annotated[Path, typer.Argument(metavar="STUDY", help="A .yaml study, such as studies/a_candela_tiny.yaml.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The study's folder; it goes on there.")
    ],
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Cells at a time; default: 8 on each GPU, or all cores.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Threads of each cell; default: 1, or a GPU's share of cores."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where networks are trained.")] = "auto",
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Of a Ray cluster that reaches DIR, such as auto: one cell a worker."),
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop after so long; what is finished is kept.", min=0.01)
    ] = None,
    together: Annotated[
        bool | None,
        typer.Option(help="Cells of a device share a process, a stream each; default: on GPUs."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; list the cells and which are finished.")
    ] = False,
) -> None:
    """Train every variant from every seed, and measure each; what is finished is left, what was begun goes on.

    DIR may be kept in a repository: its runs/ are left out, and the study goes on from it on another machine.
    """
    plan = load_study(find_plan(file))
    check_folder(output)
    if dry_run:
        folder = StudyFolder(output)
        for cell in plan.cells:
            begun = (folder.run(cell) / "recipe.yaml").is_file()
            state = "finished" if folder.is_finished(cell) else "begun" if begun else "to do"
            length = f"{cell.recipe.steps} steps" if cell.minutes is None else f"{cell.minutes:g} min"
            typer.echo(f"{cell.name}: {state}, {length}")
        return
    if address is None:
        places = find_places(jobs, threads, device)
        shared = any(place.gpu for place in places) if together is None else together
        with start_together() if shared else nullcontext(start_here) as start:
            failures = run_study(plan, output, places, say, start=start, max_minutes=max_minutes)
    else:
        with cluster_places(address, jobs, threads, device) as (places, start_there):
            failures = run_study(plan, output.resolve(), places, say, start=start_there, max_minutes=max_minutes)
    done = sum(map(StudyFolder(output).is_finished, plan.cells))
    typer.echo(f"{output}: {done} of {len(plan.cells)} cells are finished.")
    if failures:
        raise typer.Exit(1)


@study.command("report")
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of studies.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="For study.md, study.json, plots.")],
) -> None:
    """Merge the finished cells of studies: mean, spread, difference to the base with its interval over seeds."""
    prepare(output)
    for line in write_study_report(folders, output):
        say(line)
    typer.echo(f"{output / 'study.md'}: {len(folders)} studies.")


@study.command("measure")
def measure(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The study's folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Receives measured/NETWORK/DATA/.")],
    variants: Annotated[str | None, typer.Option(metavar="A,B", help="Of these variants alone.")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="0,1", help="Of these seeds alone.")] = None,
    only: Annotated[str | None, typer.Option(metavar="redundancy|table10", help="One of both; default: both.")] = None,
    unpaired: Annotated[str, typer.Option(metavar="A,B", help="Data sets of table 10.")] = "dicm,mef",
    root: Annotated[Path | None, typer.Option(help="Folder of LOL-v1; else it is sought in $UNDIM_DATA.")] = None,
    work: Annotated[Path, typer.Option(help="For what was begun.")] = Path("runs/laboratory"),
) -> None:
    """Measure a study's trained networks for `undim paper`: resets, POI, diversity, pruning, unpaired pictures.

    What is there of the same weights is not measured again; what was begun is continued.
    """
    from undim.cli.main import main

    if only not in (None, "redundancy", "table10"):
        raise UsageError(f"only is {only!r}; allowed: redundancy, table10.", code="option", subject="only")
    wanted = (seeds or "").split(",") if seeds else []
    if not all(seed.isascii() and seed.isdecimal() for seed in wanted):
        raise UsageError(f"seeds is {seeds!r}; allowed: numbers such as 0,1,2.", code="option", subject="seeds")
    wish = Wish(
        folder,
        output,
        work,
        variants=variants.split(",") if variants else (),
        seeds=[int(seed) for seed in wanted],
        root=root,
        unpaired=unpaired.split(","),
        redundancy=only != "table10",
        table10=only != "redundancy",
    )
    status = measure_study(wish, main, typer.echo)
    if status:
        raise typer.Exit(status)
