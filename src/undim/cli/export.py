"""`undim export`: a file of weights to an ONNX file that the enhancing path runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undim.errors import UsageError
from undim.weights.export import export_onnx
from undim.weights.files import load_model, read_spec


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A .safetensors file that Undim wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
) -> None:
    """Export a network to ONNX: input `image`, output `enhanced`, N x 3 x H x W float32 in [0, 1], any N, H, W."""
    if output.suffix != ".onnx":
        raise UsageError(f"The output is an ONNX file. Got {output}: let the name end in .onnx.")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists. Allow overwriting (--overwrite) or choose another name.")
    spec = read_spec(checkpoint)
    export_onnx(load_model(checkpoint), output, metadata={"architecture": spec.architecture, **spec.notes})
    typer.echo(f"{output}: {spec.architecture}, {output.stat().st_size / 1e6:.1f} MB.")
