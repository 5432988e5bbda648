"""`undim convert`: public checkpoints of the backbones to Undim's files of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from undim.cli.changes import parse_changes
from undim.weights.convert import convert as convert_checkpoint


def convert(
    checkpoint: Annotated[
        list[Path],
        typer.Argument(help="Public checkpoint of a network that `undim models` lists; several files if it has parts."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value that the weights do not tell, such as variant=upe of RUAS; repeatable."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
) -> None:
    """Convert a public checkpoint to an Undim file of weights. Nothing in the checkpoint is executed."""
    values = {key: _read(text) for key, text in parse_changes(settings).items()}
    spec = convert_checkpoint(checkpoint, output, settings=values, overwrite=overwrite)
    told = ", ".join(f"{key}={value}" for key, value in spec.overrides.items())
    typer.echo(f"{output}: {spec.architecture} ({told}). The weights keep the licence they came with.")
    for name, text in spec.notes.items():
        typer.echo(f"{name}: {text}")


def _read(text: str) -> object:
    """A value of JSON, or else text; no setting is NaN or infinite."""
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text
