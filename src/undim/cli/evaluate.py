"""`undim evaluate`: the scores of a model on a data set, by the named protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from undim.atomic import write_text
from undim.data.crops import read_rgb
from undim.data.sets import SPLITS, Split, find_pairs
from undim.enhance.enhancer import Enhancer
from undim.enhance.models import find_model
from undim.errors import UsageError
from undim.images import Picture, write_picture
from undim.metrics.networks import network_enhancer
from undim.metrics.protocol import PROTOCOL, Scores, measure
from undim.metrics.quality import Pixels
from undim.version import __version__
from undim.weights.files import load_model


def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model's name, an .onnx file or an Undim .safetensors file.")],
    data: Annotated[str, typer.Option(help="Name of the data set, such as lol-v1.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for results.json and results.md.")],
    root: Annotated[Path | None, typer.Option(help="The data set's folder; else it is sought in $UNDIM_DATA.")] = None,
    split: Annotated[str, typer.Option(help="test, val, val-scenes or train.")] = "test",
    save_images: Annotated[bool, typer.Option("--save-images", help="Also write the enhanced pictures.")] = False,
) -> None:
    """Measure a model: PSNR and SSIM, and beside them PSNR at matched brightness and the brightness error."""
    chosen = _split(split)
    enhance, file = _load(model)
    pairs = find_pairs(data, chosen, root)
    output.mkdir(parents=True, exist_ok=True)
    images = []
    for pair in pairs:
        result = enhance(read_rgb(pair.low))
        images.append(measure(pair.name, result, read_rgb(pair.high)))
        if save_images:
            write_picture(Picture(result), output / f"{pair.name}.png", "png")
    scores = Scores(tuple(images))
    facts = {
        "model": model,
        "checkpoint_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "data": data,
        "split": split,
        "versions": {"undim": __version__, **{name: version(name) for name in ("numpy", "scikit-image")}},
    }
    results = {**facts, **scores.as_dict()}
    write_text(output / "results.json", json.dumps(results, indent=1, allow_nan=False) + "\n")
    write_text(output / "results.md", _table(scores, f"{model} on {data} ({split}, {len(pairs)} pictures)"))
    typer.echo(
        f"{model} on {data} {split}, {len(pairs)} pictures: PSNR {scores.psnr:.2f} dB, SSIM {scores.ssim:.4f}"
        f" (GT-mean PSNR {scores.psnr_gt_mean:.2f} dB, brightness error {scores.brightness_error:.3f})"
    )


def _split(name: str) -> Split:
    for split in SPLITS:
        if split == name:
            return split
    raise UsageError(f"There is no split {name!r}. Known: {', '.join(SPLITS)}.")


def _load(model: str) -> tuple[Callable[[Pixels], Pixels], Path]:
    if model.endswith(".safetensors"):
        return network_enhancer(load_model(Path(model))), Path(model)
    return Enhancer(model), find_model(model)


def _table(scores: Scores, title: str) -> str:
    rows = [
        f"| {image.name} | {image.psnr:.2f} | {image.ssim:.4f} | {image.psnr_gt_mean:.2f} |"
        f" {image.log_brightness_ratio:+.3f} |"
        for image in scores.images
    ]
    mean = (
        f"| **all** | **{scores.psnr:.2f}** | **{scores.ssim:.4f}** | {scores.psnr_gt_mean:.2f} |"
        f" {scores.brightness_error:.3f} (rms) |"
    )
    head = ["| picture | PSNR, dB | SSIM | PSNR at matched mean, dB | ln brightness ratio |", "|---|---|---|---|---|"]
    return "\n".join([f"# {title}", "", f"Protocol {PROTOCOL}.", "", *head, *rows, mean, ""])
