"""`undim convert`: public checkpoints of the backbones to Undim's files of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undim.weights.convert import convert as convert_checkpoint


def convert(
    checkpoint: Annotated[
        list[Path],
        typer.Argument(help="Public checkpoint of a network that `undim models` lists; several files if it has parts."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
) -> None:
    """Convert a public checkpoint to an Undim file of weights. Nothing in the checkpoint is executed."""
    spec = convert_checkpoint(checkpoint, output, overwrite=overwrite)
    settings = ", ".join(f"{key}={value}" for key, value in spec.overrides.items())
    typer.echo(f"{output}: {spec.architecture} ({settings}). The weights keep the licence they came with.")
    for name, text in spec.notes.items():
        typer.echo(f"{name}: {text}")
