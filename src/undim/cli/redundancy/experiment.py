"""What a verb works on: network, pictures and layers, read from the options; and how its results are written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, overload

from torch import Tensor, nn

from undim.atomic import write_text
from undim.cli.redundancy.options import Draws, Foreign, Scope, Source
from undim.cli.results import prepare
from undim.data.entries import SETS, PairedSet
from undim.data.reading import read_rgb
from undim.errors import DataError, ModelError, UndimError
from undim.metrics.evaluation import FOLDER, Case, find_cases
from undim.metrics.networks import to_tensor
from undim.metrics.report import versions
from undim.redundancy import Initialisation, WalkSettings
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
from undim.weights.devices import choose_device
from undim.weights.files import ModelSpec
from undim.weights.foreign import describe_failure, load_network, open_network
from undim.weights.subjects import find_subject

T = TypeVar("T")


class _Read(Sequence[T]):
    """What cases hold, one in memory at a time."""

    def __init__(self, cases: Sequence[Case], read: Callable[[Case], T]) -> None:
        self._cases, self._read = cases, read

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> _Read[T]: ...
    def __getitem__(self, place: int | slice) -> T | _Read[T]:
        if isinstance(place, slice):
            return _Read(self._cases[place], self._read)
        return self._read(self._cases[place])


DocumentT = TypeVar(
    "DocumentT", DmrDocument, ResetDocument, PoiDocument, DiversityDocument, PruneDocument, SlimDocument
)


@dataclass(frozen=True)
class Experiment:
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
    settings: WalkSettings
    folder: Path
    kind: str
    stage: str | None

    def images(self) -> Sequence[Tensor]:
        """The dark pictures, each read when it is asked for."""
        return _Read(self.cases, lambda case: read_tensor(case.low))

    def pairs(self) -> Sequence[tuple[Tensor, Tensor]]:
        """Dark pictures and references, each pair read when it is asked for."""

        def read(case: Case) -> tuple[Tensor, Tensor]:
            if case.high is None:
                raise DataError(f"{self.data} has no references, which PSNR needs.")
            return read_tensor(case.low), read_tensor(case.high)

        return _Read(self.cases, read)

    def facts(self) -> dict[str, object]:
        """The names of what is measured; on what the figures depend, the laboratory tells the journal itself."""
        return {"data": self.data, "split": self.split, "names": [case.name for case in self.cases]}

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


def open_experiment(
    source: Source, draws: Draws | None = None, scope: Scope | None = None, foreign: Foreign | None = None
) -> Experiment:
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
    if data == FOLDER and source.split is None:  # pictures of one's own are not a split
        chosen = None
    subject = find_subject(model, weights=foreign.weights, multiple_of=foreign.multiple_of)
    network, spec = open_network(subject)
    fresh = (lambda: load_network(model, None, foreign.multiple_of)) if subject.kind == "factory" else None
    prepare(source.output)
    title = f"{model} on {data} ({f'{chosen}, ' if chosen else ''}{len(cases)} pictures)"
    return Experiment(
        title,
        model,
        network.to(choose_device(source.device)),
        spec,
        subject.weights,
        cases,
        data,
        chosen,
        tuple(notes),
        replace(settings, initialisation=Initialisation(fresh, values)),
        source.output,
        scope.kind,
        scope.stage,
    )


def read_tensor(path: Path | None) -> Tensor:
    """A picture as 1 x 3 x H x W in [0, 1]."""
    if path is None:
        raise DataError("There is no dark picture to run the network on.")
    return to_tensor(read_rgb(path))


@contextmanager
def telling(model: str) -> Iterator[None]:
    """Any failure of a network as one line: its code may be anybody's."""
    try:
        yield
    except (UndimError, OSError):
        raise
    except Exception as error:
        raise ModelError(f"{model} failed: {describe_failure(error)}.") from error
