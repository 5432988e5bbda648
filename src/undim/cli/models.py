"""`undim models`: the shipped models, then the registered networks, from figures kept with the package."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Annotated, Any

import typer

from undim.shipped import SHIPPED, find_model, list_shipped_models

SHIPPED_COLUMNS = ("model", "for", "parameters", "file", "licence")
COLUMNS = ("network", "parameters", "FLOPs", "parameters with ADR", "FLOPs with ADR", "summary")


def models(
    as_json: Annotated[
        bool, typer.Option("--json", help="All figures as JSON; FLOPs are single multiply-adds.")
    ] = False,
) -> None:
    """List the models in the package, then the networks that can be built, alone and with ADR and POG added.

    FLOPs are multiply-adds of one 256 x 256 picture, counted by the rule of the network's published figure, in units
    of 2^30 (G).
    """
    figures: dict[str, dict[str, Any]] = json.loads((files("undim") / "networks.json").read_text(encoding="utf-8"))
    if as_json:
        shipped = {name: {**asdict(SHIPPED[name]), "bytes": _size(name)} for name in list_shipped_models()}
        typer.echo(json.dumps({"shipped": shipped, "networks": figures}, indent=1))
        return
    models = [
        (name, model.purpose, f"{model.parameters / 1e6:.2f} M", f"{_size(name) / 1e6:.1f} MB", model.licence)
        for name, model in SHIPPED.items()
        if name in list_shipped_models()
    ]
    networks = [
        (name, *_cost(network["base"]), *_cost(network["adr"]), network["summary"]) for name, network in figures.items()
    ]
    _print_table(SHIPPED_COLUMNS, models)
    typer.echo("")
    _print_table(COLUMNS, networks)


def _size(name: str) -> int:
    """Bytes of the model file of a shipped model."""
    return find_model(name).stat().st_size


def _cost(cost: dict[str, int] | None) -> tuple[str, str]:
    if cost is None:  # a network without attention
        return "-", "-"
    return f"{cost['parameters'] / 1e6:.2f} M", f"{cost['flops'] / 2**30:.2f} G"


def _print_table(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for row in (columns, *rows):
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
