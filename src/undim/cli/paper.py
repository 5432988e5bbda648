"""`undim paper`: the paper's tables and figures, with ours beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from undim.cli.results import prepare
from undim.errors import UsageError, suggest
from undim.paper import claims, figures, harm, redundancy_tables, restoration_tables
from undim.paper.measured import Measurements
from undim.paper.pages import Page, write_page

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
) -> None:
    """Write the paper's tables and figures with ours beside them.

    Nothing is trained or measured here: where a figure of ours is missing, the page holds the command that makes it.
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
    ours = Measurements(roots)
    for name in wanted:
        page = MAKERS[name](ours) if name in MAKERS else PICTURES[name](ours, roots, output)
        write_page(page, output)
        there = sum(entry.ours is not None for entry in page.entries)
        typer.echo(f"{output / f'{name}.md'}: {there} of {len(page.entries)} figures are ours.")
