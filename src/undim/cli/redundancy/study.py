"""What a verb works on: network, pictures and layers, read from the options; and how its results are written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from undim.atomic import write_text
from undim.cli.evaluate import FOLDER, find_cases, find_device
from undim.cli.redundancy.options import Draws, Foreign, Scope, Source
from undim.cli.results import prepare
from undim.data.entries import SETS, PairedSet
from undim.data.reading import read_rgb
from undim.errors import CheckpointError, DataError, ModelError, UndimError, UsageError
from undim.metrics.evaluation import Case
from undim.metrics.report import versions
from undim.redundancy import Initialisation, Settings
from undim.redundancy.tables import make_markdown
from undim.results.document import Record
from undim.results.laboratory import (
    DiversityDocument,
    DmrDocument,
    PoiDocument,
    PruneDocument,
    ResetDocument,
    SlimDocument,
)
from undim.shipped import MODELS_FOLDER, list_shipped_models
from undim.weights.files import ModelSpec, checksum, load_model, read_spec
from undim.weights.foreign import describe_failure, load_network, names_factory
from undim.weights.run_files import MEASURED

DocumentT = TypeVar(
    "DocumentT", DmrDocument, ResetDocument, PoiDocument, DiversityDocument, PruneDocument, SlimDocument
)


@dataclass(frozen=True)
class Study:
    """What a verb works on."""

    title: str
    name: str
    model: nn.Module
    spec: ModelSpec | None
    """Of Undim's own files."""
    file: Path | None
    cases: Sequence[Case]
    data: str
    split: str | None
    notes: tuple[str, ...]
    settings: Settings
    folder: Path
    kind: str
    stage: str | None
    bare: dict[str, float]
    """Constructor's values that were given."""

    def images(self) -> Iterator[Tensor]:
        """The dark pictures, one at a time."""
        for case in self.cases:
            yield read_tensor(case.low)

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Dark pictures and references, one pair at a time."""
        for case in self.cases:
            if case.high is None:
                raise DataError(f"{self.data} has no references, which PSNR needs.")
            yield read_tensor(case.low), read_tensor(case.high)

    def facts(self, **more: object) -> dict[str, object]:
        """What results of this study depend on."""
        return {
            "weights": checksum({name: tensor.cpu() for name, tensor in self.model.state_dict().items()}),
            "data": self.data,
            "split": self.split,
            "pictures": [case.name for case in self.cases],
            "kind": self.kind,
            "stage": self.stage,
            "seeds": list(self.settings.seeds),
            "bare": self.bare,
            **more,
        }

    def _note(self, name: str) -> int | None:
        """A whole number that the weights' file notes of its training, such as its steps."""
        text = "" if self.spec is None else self.spec.notes.get(name, "")
        return int(text) if text.isdecimal() else None

    def write(self, kind: type[DocumentT], result: Record, adr: str | None = None) -> DocumentT:
        """Write VERB.md and, last, VERB.json; gives what is in the latter."""
        verb = kind.NAME
        document = kind.model_validate(
            {
                "verb": verb,
                "title": f"{verb}: {self.title}",
                "model": self.name,
                "file": None if self.file is None else self.file.name,
                "seed": self._note("seed"),
                "iterations": self._note("iterations"),
                "sha256": None if self.file is None else hashlib.sha256(self.file.read_bytes()).hexdigest(),
                "data": self.data,
                "split": self.split,
                "pictures": [case.name for case in self.cases],
                "kind": self.kind,
                "stage": self.stage,
                "adr": adr,
                "seeds": self.settings.seeds,
                "device": str(next(self.model.parameters()).device),
                "versions": versions("torch"),
                "notes": [*self.notes, *getattr(result, "notes", ())],
                "result": result,
            }
        )
        write_text(self.folder / f"{verb}.md", make_markdown(document))
        document.write(self.folder / f"{verb}.json")
        return document


def open_study(
    source: Source, draws: Draws | None = None, scope: Scope | None = None, foreign: Foreign | None = None
) -> Study:
    """Load the network, find the pictures, and see that results can be written.

    Raises:
        UndimError: if something is not there, cannot be used, or the options do not fit it.
    """
    draws, scope, foreign = draws or Draws(), scope or Scope(), foreign or Foreign()
    model, data, split = source.model, source.data, source.split
    settings, values = draws.settings(), scope.values()
    if split is None and data != FOLDER and isinstance(SETS.get(data), PairedSet):
        split = "val"
    cases, chosen, notes = find_cases(data, source.root, source.low, source.high, split)
    cases = cases[: source.limit]
    if data == FOLDER and source.split is None:  # pictures of one's own are no split
        chosen = None
    network, spec, file = _load(model, foreign)
    fresh = None if not names_factory(model) else (lambda: load_network(model, None, foreign.multiple_of))
    prepare(source.output)
    title = f"{model} on {data} ({f'{chosen}, ' if chosen else ''}{len(cases)} pictures)"
    return Study(
        title,
        model,
        network.to(find_device(source.device)),
        spec,
        file,
        cases,
        data,
        chosen,
        tuple(notes),
        replace(settings, initialisation=Initialisation(fresh, values)),
        source.output,
        scope.kind,
        scope.stage,
        values,
    )


def read_tensor(path: Path | None) -> Tensor:
    """A picture as 1 x 3 x H x W in [0, 1]."""
    if path is None:
        raise DataError("There is no dark picture to run the network on.")
    return torch.from_numpy(read_rgb(path).copy()).permute(2, 0, 1).unsqueeze(0).float() / 255


@contextmanager
def telling(model: str) -> Iterator[None]:
    """Any failure of a network as one line: its code may be anybody's."""
    try:
        yield
    except (UndimError, OSError):
        raise
    except Exception as error:
        raise ModelError(f"{model} failed: {describe_failure(error)}.") from error


def _load(model: str, foreign: Foreign) -> tuple[nn.Module, ModelSpec | None, Path | None]:
    weights, multiple_of = foreign.weights, foreign.multiple_of
    if model not in list_shipped_models() and names_factory(model):
        return load_network(model, weights, multiple_of), None, weights
    if weights is not None or multiple_of != 1:
        raise UsageError(f"--weights and --multiple-of belong to package.module:factory. Got the model {model!r}.")
    path = Path(model)
    if model in list_shipped_models():
        path = MODELS_FOLDER / f"{model}.safetensors"
    elif path.is_dir():
        there = [name for name in MEASURED if (path / name).is_file()]
        if not there:
            raise CheckpointError(f"The folder {path} holds neither {' nor '.join(MEASURED)}.")
        path = path / there[0]
    if path.suffix != ".safetensors":
        raise UsageError(
            f"The laboratory opens networks in PyTorch. Got {model!r}: give an Undim .safetensors file, a training"
            f" run's folder, package.module:factory, or one of: {', '.join(list_shipped_models())}."
        )
    return load_model(path), read_spec(path), path
