"""`undim evaluate`: the scores of a model on a data set, by the named protocol."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from undim.arrays import Bytes
from undim.cli.lines import put, say
from undim.cli.results import prepare, progress
from undim.data.entries import SETS, PairedSet, Split
from undim.data.sets import SPLITS, find_note, find_pairs, find_pictures, group_by_name, list_sets, numerically
from undim.enhance.enhancer import Enhancer
from undim.errors import CheckpointError, DataError, ModelError, UndimError, UsageError
from undim.metrics.evaluation import Case, cases_without_reference, check_cases, evaluate_cases
from undim.metrics.networks import network_enhancer
from undim.metrics.report import summary, versions, write_report
from undim.results.scores import ScoredSubject
from undim.shipped import MODELS_FOLDER, find_model, list_shipped_models
from undim.weights.files import load_model, read_spec
from undim.weights.foreign import describe_failure, load_network, names_factory
from undim.weights.run_files import MEASURED

FOLDER = "folder"
"""The data set that is given by its folders."""


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
    subject = load_subject(model, weights, multiple_of, device)
    if subject.told:
        say(subject.told)
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
        notes=(*notes, *subject.cautions, *_leak(subject, data, chosen)),
    )
    title = f"{model} on {data} ({f'{chosen}, ' if chosen else ''}{len(cases)} pictures)"
    write_report(output, title, scored, measured)
    put(f"{title}: {summary(measured.scores)}\n".encode())


def find_cases(
    data: str, root: Path | None, low: Path | None, high: Path | None, split: str | None
) -> tuple[list[Case], Split | None, list[str]]:
    """The pictures to measure, the split that they are (None without references), and notes about them."""
    alone = data == FOLDER and low is not None and high is None
    if alone or (data in SETS and not isinstance(SETS[data], PairedSet)):
        if split is not None:
            raise UsageError(f"--split is for sets with references. {data} has none: leave it out.")
        if not alone and (low is not None or high is not None):
            raise UsageError(f"--low and --high belong to --data {FOLDER}; {data} takes --root DIR.")
        pictures = _pictures_in(low) if alone and low is not None else find_pictures(data, root)
        return cases_without_reference(pictures), None, []
    chosen = _split(split or "test")
    pairs = find_pairs(data, chosen, root, low=low, high=high)
    note = find_note(data, root, low=low, high=high)
    return [Case(pair.name, pair.low, pair.high) for pair in pairs], chosen, [note] if note else []


@dataclass(frozen=True)
class Subject:
    """What is measured."""

    enhance: Callable[[Bytes], Bytes]
    runtime: str
    """The package that runs it."""
    device: str
    file: Path | None
    """The file that its figures belong to."""
    notes: dict[str, str] = field(default_factory=dict)
    """What the file says about its training."""
    told: str = ""
    """A line for the terminal: which of several files was taken."""
    cautions: tuple[str, ...] = ()
    """Lines for the results."""


def load_subject(model: str, weights: Path | None = None, multiple_of: int = 1, device: str = "auto") -> Subject:
    """Find and load what the command line names, see `evaluate`.

    Raises:
        UndimError: if it cannot be used, or the options do not fit it.
    """
    chosen = find_device(device)
    if model not in list_shipped_models() and names_factory(model):
        network = load_network(model, weights, multiple_of).to(chosen)
        missing = "checkpoint_sha256 is null: the factory was called without --weights, and no file was read for it"
        return Subject(
            partial(_guarded, network_enhancer(network), model),
            "torch",
            chosen,
            weights,
            cautions=() if weights is not None else (missing,),
        )
    if weights is not None or multiple_of != 1:
        raise UsageError(f"--weights and --multiple-of belong to package.module:factory. Got the model {model!r}.")
    path, told = Path(model), ""
    if model not in list_shipped_models() and path.is_dir():
        there = [name for name in MEASURED if (path / name).is_file()]
        if not there:
            raise CheckpointError(f"The folder {path} holds neither {' nor '.join(MEASURED)}.")
        path = path / there[0]
        told = f"{model}: {there[0]} is measured"
    if path.suffix == ".safetensors":
        spec = read_spec(path)
        enhance = network_enhancer(load_model(path).to(chosen))
        return Subject(partial(_guarded, enhance, model), "torch", chosen, path, spec.notes, told)
    if path.suffix in (".pth", ".pt", ".ckpt"):
        raise UsageError(
            f"{path} does not say which network it belongs to: run undim convert first, or give"
            " package.module:factory with --weights."
        )
    if path.suffix != ".onnx" and path.name != model and not path.is_file():
        raise ModelError(
            f"There is no model {model!r}. Give a shipped model's name, an .onnx or Undim .safetensors file, the folder"
            " of a training run, or package.module:factory."
        )
    file = find_model(model)
    if device == "cuda":
        raise UsageError(f"{file.name} runs in ONNX Runtime on the CPU; for --device cuda give a .safetensors file.")
    twin = file.with_suffix(".safetensors")
    notes = read_spec(twin).notes if file.parent == MODELS_FOLDER and twin.is_file() else {}
    return Subject(Enhancer(model), "onnxruntime", "cpu", file, notes)


def _guarded(enhance: Callable[[Bytes], Bytes], model: str, pixels: Bytes) -> Bytes:
    """Any failure of a network as one line: its code may be anybody's."""
    try:
        return enhance(pixels)
    except UndimError:
        raise
    except Exception as error:
        height, width = pixels.shape[:2]
        raise ModelError(f"{model} failed on a picture of {width} x {height}: {describe_failure(error)}.") from error


def find_device(name: str) -> str:
    """Of auto, cpu and cuda, what PyTorch is to run on: cuda where auto finds one.

    Raises:
        UsageError: for another name, or for cuda where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"There is no device {name!r}. Known: auto, cpu, cuda.")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UsageError("PyTorch finds no CUDA device here; leave --device out or give cpu.")
    if name == "cpu" or not there:
        return "cpu"
    torch.backends.cudnn.allow_tf32 = False  # figures of convolutions in float32, as on the CPU
    return "cuda"


def _split(name: str) -> Split:
    for split in SPLITS:
        if split == name:
            return split
    raise UsageError(f"There is no split {name!r}. Known: {', '.join(SPLITS)}.")


def _pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder.")
    groups = group_by_name(folder)
    if not groups:
        raise DataError(f"{folder} holds no pictures.")
    return [path for name in sorted(groups, key=numerically) for path in groups[name]]


def _number(note: str | None) -> int | None:
    """The number that a note begins with."""
    found = re.match(r"\d+", note or "")
    return int(found[0]) if found else None


def _leak(subject: Subject, data: str, split: str | None) -> list[str]:
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
