"""`undim export`: a file of weights to an ONNX file that the enhancing path runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undim.errors import UsageError
from undim.nets.backbone import Backbone
from undim.weights.export import export_onnx
from undim.weights.files import round_to_half, save_model
from undim.weights.foreign import open_network
from undim.weights.subjects import find_subject


def export(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="A .safetensors file that Undim wrote, the folder of a training run, or a shipped model's name."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .onnx file to write; with --half also .safetensors.")
    ],
    half: Annotated[bool, typer.Option("--half", help="Round the weights to 16-bit floats.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
) -> None:
    """Export a network to ONNX: input `image`, output `enhanced`, N x 3 x H x W float32 in [0, 1], any N, H, W.

    With --half and a name that ends in .safetensors, write the rounded weights as such a file instead.
    """
    allowed = (".onnx", ".safetensors") if half else (".onnx",)
    if output.suffix not in allowed:
        raise UsageError(f"The name must end in {' or '.join(allowed)}. Got {output}.")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output}: there is no folder {output.parent}: make it first.")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists. Allow overwriting (--overwrite) or choose another name.")
    subject = find_subject(checkpoint)
    network, spec = (None, None) if subject.kind == "factory" else open_network(subject)
    if spec is None or not isinstance(network, Backbone):
        raise UsageError(f"Only Undim's own networks are exported. Got {checkpoint!r}.")
    if half:
        round_to_half(network)
    if output.suffix == ".onnx":
        export_onnx(network, output, metadata={"architecture": spec.architecture, **spec.notes})
    else:
        save_model(spec, network, output, overwrite=overwrite)
    typer.echo(f"{output}: {spec.architecture}, {output.stat().st_size / 1e6:.1f} MB.")
