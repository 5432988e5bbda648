"""`undim evaluate`: the scores of a model on a data set, by the named protocol."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from undim.arrays import Bytes
from undim.cli.lines import put, say
from undim.cli.progress import progress
from undim.cli.results import prepare
from undim.data.entries import SETS, PairedSet
from undim.data.sets import SPLITS, list_sets
from undim.enhance.enhancer import Enhancer
from undim.errors import ModelError, UndimError, UsageError
from undim.metrics.evaluation import check_cases, evaluate_cases, find_cases
from undim.metrics.networks import network_enhancer
from undim.metrics.report import summary, versions, write_report
from undim.results.scores import ScoredSubject
from undim.weights.devices import choose_device
from undim.weights.files import read_spec
from undim.weights.foreign import describe_failure, open_network
from undim.weights.subjects import Subject, find_subject


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="A shipped model's name, an .onnx or Undim .safetensors file, the folder of a training run, or"
            " package.module:factory, a function without arguments that returns a torch.nn.Module."
        ),
    ],
    data: Annotated[str, typer.Option(metavar="NAME", help=f"Data set: {', '.join(list_sets())}.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="For results.json and results.md.")],
    root: Annotated[Path | None, typer.Option(help="The data set's folder; else it is sought in $UNDIM_DATA.")] = None,
    low: Annotated[Path | None, typer.Option(help="Of --data folder: the dark pictures.")] = None,
    high: Annotated[Path | None, typer.Option(help="Of --data folder: their references, if there are.")] = None,
    split: Annotated[
        str | None, typer.Option(metavar="|".join(SPLITS), help="Of sets with references; default: test.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Of package.module:factory: .safetensors, or .pth with tensors alone.")
    ] = None,
    multiple_of: Annotated[
        int, typer.Option(metavar="N", help="Of package.module:factory: pad sides by reflection, and crop back.")
    ] = 1,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Of networks that run in PyTorch.")] = "auto",
    save_images: Annotated[
        bool, typer.Option("--save-images", help="Also write the enhanced pictures, as DIR/images/NAME.png.")
    ] = False,
    worst: Annotated[int, typer.Option(metavar="N", help="Pictures to show in DIR/worst, the worst first.")] = 3,
) -> None:
    """Measure a model.

    PSNR and SSIM are the headline (output rounded to 8 bit, RGB, full image). Beside them, never as a headline: NIQE,
    PSNR at matched brightness, the brightness error, and the growth of clipped pixels. Of sets without references (and
    --data folder with --low alone) there are NIQE, mean luma and the growth of clipped pixels. LPIPS is left out: the
    packages that offer it download their networks' weights, and need torchvision.
    """
    if worst < 0:
        raise UsageError(f"--worst is {worst}; allowed: 0 or more.")
    cases, chosen, notes = find_cases(data, root, low, high, split)
    found = find_subject(model, weights=weights, multiple_of=multiple_of)
    subject = _open(found, device)
    if found.kind == "run" and found.weights is not None:
        say(f"{model}: {found.weights.name} is measured")
    with progress("reading", len(cases)) as done:
        check_cases(cases, done)
    prepare(output)
    with progress("measuring", len(cases)) as done:
        measured = evaluate_cases(
            cases, subject.enhance, worst=worst, images=output / "images" if save_images else None, done=done
        )
    scored = ScoredSubject(
        model=model,
        data=data,
        split=chosen,
        seed=_number(subject.notes.get("seed")),
        iterations=_number(subject.notes.get("iterations", subject.notes.get("steps"))),
        checkpoint=None if subject.file is None else subject.file.name,
        checkpoint_sha256=None if subject.file is None else hashlib.sha256(subject.file.read_bytes()).hexdigest(),
        device=subject.device,
        versions=versions(subject.runtime),
        weights_of=_weights_of(subject.notes),
        notes=(*notes, *subject.cautions, *_leak(subject, data, chosen)),
    )
    title = f"{model} on {data} ({f'{chosen}, ' if chosen else ''}{len(cases)} pictures)"
    write_report(output, title, scored, measured)
    put(f"{title}: {summary(measured.scores)}\n".encode())


@dataclass(frozen=True)
class _Opened:
    """A subject that is ready to run."""

    enhance: Callable[[Bytes], Bytes]
    runtime: str
    """The package that runs it."""
    device: str
    file: Path | None
    """The file that its figures belong to."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What the file says about its training."""
    cautions: tuple[str, ...] = ()
    """Lines for the results."""


def _open(subject: Subject, device: str) -> _Opened:
    """Load a subject: an .onnx file and a shipped model into ONNX Runtime, all others into PyTorch.

    Raises:
        UndimError: if it cannot be used, or the device does not fit it.
    """
    chosen = choose_device(device)
    if subject.onnx is not None:
        if device == "cuda":
            raise UsageError(
                f"{subject.onnx.name} runs in ONNX Runtime on the CPU; for --device cuda give a .safetensors file."
            )
        notes = {} if subject.weights is None else read_spec(subject.weights).notes
        return _Opened(Enhancer(subject.onnx), "onnxruntime", "cpu", subject.onnx, notes)
    network, spec = open_network(subject)
    enhance = partial(_guarded, network_enhancer(network.to(chosen)), subject.name)
    missing = "checkpoint_sha256 is null: the factory was called without --weights, and no file was read for it"
    cautions = () if subject.weights is not None else (missing,)
    return _Opened(enhance, "torch", chosen, subject.weights, {} if spec is None else spec.notes, cautions)


def _guarded(enhance: Callable[[Bytes], Bytes], model: str, pixels: Bytes) -> Bytes:
    """Any failure of a network as one line: its code may be anybody's."""
    try:
        return enhance(pixels)
    except UndimError:
        raise
    except Exception as error:
        height, width = pixels.shape[:2]
        raise ModelError(f"{model} failed on a picture of {width} x {height}: {describe_failure(error)}.") from error


def _weights_of(notes: Mapping[str, str]) -> str | None:
    """The system, the licence and the files of weights that `undim convert` made of somebody's checkpoint."""
    if "system" not in notes or "iterations" in notes or "steps" in notes:  # trained on here
        return None
    told = f"{notes['system']}, licence: {notes.get('licence', 'unknown')}"
    return f"{told}, read from {notes['read from']}" if "read from" in notes else told


def _number(note: str | None) -> int | None:
    """The number that a note begins with."""
    found = re.match(r"\d+", note or "")
    return int(found[0]) if found else None


def _leak(subject: _Opened, data: str, split: str | None) -> list[str]:
    """Cautions if the model was trained on this split, or on the set that shares pictures with this one."""
    entry = SETS[data]
    trained = subject.notes.get("data", "")
    learnt = re.search(rf"\b{re.escape(data)}, split ([\w +-]+)", trained)
    cautions = []
    if learnt is not None and split in learnt[1].split(" + "):
        cautions.append(f"The model was trained on {split} of {data}: its figures there say nothing of other pictures.")
    if isinstance(entry, PairedSet) and entry.twin and entry.twin in trained:
        cautions.append(entry.caution)
    return cautions
