"""`undim models`: the registered networks with their parameters and FLOPs, read from figures kept with the package."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.resources import files
from typing import Annotated, Any

import typer

COLUMNS = ("model", "parameters", "FLOPs", "parameters with ADR", "FLOPs with ADR", "summary")


def models(
    as_json: Annotated[
        bool, typer.Option("--json", help="All figures as JSON; FLOPs are single multiply-adds.")
    ] = False,
) -> None:
    """List the networks that can be built, with their size alone and with ADR and POG added.

    FLOPs are multiply-adds of one 256 x 256 picture, counted by the rule of the network's published figure, in units
    of 2^30 (G).
    """
    figures: dict[str, dict[str, Any]] = json.loads((files("undim") / "networks.json").read_text(encoding="utf-8"))
    if as_json:
        typer.echo(json.dumps(figures, indent=1))
        return
    rows = [
        (name, *_cost(network["base"]), *_cost(network["adr"]), network["summary"]) for name, network in figures.items()
    ]
    if sys.stdout.isatty():
        _print_table(rows)
    else:
        widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
        for row in (COLUMNS, *rows):
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cost(cost: dict[str, int] | None) -> tuple[str, str]:
    if cost is None:  # a network without attention
        return "-", "-"
    return f"{cost['parameters'] / 1e6:.2f} M", f"{cost['flops'] / 2**30:.2f} G"


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS[:1])
    for column in COLUMNS[1:-1]:
        table.add_column(column, justify="right")
    table.add_column(COLUMNS[-1])
    for row in rows:
        table.add_row(*row)
    Console().print(table)
