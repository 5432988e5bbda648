"""Our figures, found on disk: what other verbs measured, in folders whose names say of which network and on what.

- ROOT/.../NETWORK/DATA/VERB.json: of `undim evaluate` (results.json) and `undim redundancy` (dmr.json, ...). NETWORK is
  the name of a recipe or any other; trainings from several seeds are NETWORK-s0, NETWORK-s1, ...
- ROOT/.../plan.json: a study's folder.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Generic, TypeVar

from undim.errors import UsageError
from undim.paper.commands import MeasuredKind
from undim.paper.networks import ABLATION_DATA, SYSTEMS, label_of
from undim.paper.precision import find_caution
from undim.results.document import Document, load_json
from undim.results.laboratory import DiversityDocument, DmrDocument, PoiDocument, PruneDocument, ResetDocument
from undim.results.scores import ScoresDocument
from undim.results.study import CellDocument, StudyTable
from undim.study.cells import read_cells, read_plan
from undim.study.report import DROWNED, merge_cells

RESETS = {"dmr", "dmr_adr_kept", "poi"}
"""A study's measures that come of resets."""
_SEED = re.compile(r"(?P<network>.+)-s(?P<seed>\d+)")
FILES: Mapping[str, MeasuredKind] = {
    "results.json": ScoresDocument,
    "dmr.json": DmrDocument,
    "reset.json": ResetDocument,
    "poi.json": PoiDocument,
    "prune.json": PruneDocument,
    "diversity.json": DiversityDocument,
}
"""What the pages read of a network, by the file's name."""
AnyMeasuredDocument = ScoresDocument | DmrDocument | ResetDocument | PoiDocument | PruneDocument | DiversityDocument
DocumentT = TypeVar("DocumentT", bound=AnyMeasuredDocument)


@dataclass(frozen=True)
class Figure:
    """One figure of ours over the seeds that there are."""

    mean: float
    spread: float | None
    seeds: tuple[int, ...]
    iterations: int | None
    protocol: str
    parameters: int | None = None
    """Of the network."""
    caution: str = ""
    """What must be said of it."""


@dataclass(frozen=True)
class Finding(Generic[DocumentT]):
    """What one verb measured of one network."""

    seed: int | None
    """Of the training; None where neither the folder's name nor the file says it."""
    content: DocumentT


class Measurements:
    """Everything found below some folders.

    Args:
        roots: folders; one that is not there holds nothing.

    Raises:
        UsageError: if a file is not a result, is damaged, or of another data set than its folder says.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._findings: dict[tuple[str, str, type[Document]], list[Finding[AnyMeasuredDocument]]] = {}
        self.studies: dict[str, StudyTable] = {}
        """By name, merged as `undim study report` merges them."""
        self.cells: dict[str, list[CellDocument]] = {}
        """By study."""
        seen: set[Path] = set()  # of a root within another, each file counts once

        def new(root: Path, name: str) -> Iterator[Path]:
            for path in sorted(root.rglob(name)):
                if path.resolve() not in seen:
                    seen.add(path.resolve())
                    yield path

        for root in roots:
            for path in new(root, "plan.json"):
                self._add_study(path.parent)
            for name in FILES:
                for path in new(root, name):
                    self._add_document(path)

    def networks(self, kind: MeasuredKind, data: str | None = None) -> list[str]:
        """Those of which something was measured, on one data set or any."""
        return list(
            dict.fromkeys(name for name, where, what in self._findings if what is kind and data in (None, where))
        )

    def findings(self, network: str, data: str, kind: type[DocumentT]) -> list[Finding[DocumentT]]:
        """What one verb measured of a network, a finding a training; empty if it was not measured."""
        found = self._findings.get((network, data, kind), [])
        return [Finding(one.seed, one.content) for one in found if isinstance(one.content, kind)]

    def all_findings(self, kind: type[DocumentT]) -> Iterator[tuple[str, str, Finding[DocumentT]]]:
        """Everything that one verb measured, with the network and the data set."""
        for network, data, what in self._findings:
            if what is kind:
                for one in self.findings(network, data, kind):
                    yield network, data, one

    def figure(
        self, network: str, data: str, kind: type[DocumentT], value: Callable[[DocumentT], float | None]
    ) -> Figure | None:
        """One figure of a network, over all its seeds; None if it was not measured."""
        findings = self.findings(network, data, kind)
        found = [(one, number) for one in findings if (number := value(one.content)) is not None]
        if not found:
            return None
        numbers = [number for _, number in found]
        first = found[0][0].content
        steps = sorted({one.content.iterations or 0 for one, _ in found})
        protocol = describe(first)
        return Figure(
            statistics.fmean(numbers),
            statistics.stdev(numbers) if len(numbers) > 1 else None,
            tuple(one.seed for one, _ in found if one.seed is not None),
            first.iterations if len(steps) == 1 else None,
            protocol if len(steps) == 1 else f"{protocol}, {steps[0]} to {steps[-1]} training steps",
            self.parameters_of(network),
            next((caution for one, _ in found if (caution := self.caution(network, one.content.iterations))), ""),
        )

    def study_figure(self, study: str, variant: str, measure: str) -> Figure | None:
        """One measure of a study's variant, see `undim.study.report.MEASURES`."""
        merged = self.studies.get(study)
        row = next((one for one in merged.rows if one.variant == variant), None) if merged else None
        if merged is None or row is None or measure not in row.measures:
            return None
        there = row.measures[measure]
        cell = next(one for one in self.cells[study] if one.variant == variant)
        split, _, _ = measure.rpartition(".")
        protocol = f"study {study}, {variant}"
        if measure == "flops":
            protocol += f", FLOPs counted by {cell.cost.flops_rule}'s rule"
        else:
            protocol += f", {self.data_of(study)} {split or 'val'}"
        if measure in RESETS:
            protocol += f", {cell.redundancy.pictures} pictures, {cell.redundancy.draws} draws of each layer"
        return Figure(
            there.mean,
            there.spread,
            row.seeds,
            cell.steps,
            protocol,
            cell.cost.parameters,
            self.caution(f"{study}.{variant}", cell.steps),
        )

    def caution(self, network: str, iterations: int | None) -> str:
        """What must be said of a network's figures; mostly nothing."""
        study, dot, variant = network.partition(".")
        if not dot:
            return find_caution(network, iterations)
        drowned = [cell.name for cell in self.cells.get(study, ()) if cell.variant == variant and cell.drowned]
        return f"study {study}, {', '.join(drowned)}: {DROWNED}." if drowned else ""

    def parameters_of(self, network: str) -> int | None:
        """How many parameters a network has: STUDY.VARIANT, or BACKBONE_base and BACKBONE_pog of recipes."""
        study, dot, variant = network.partition(".")
        if dot:
            found = (cell.cost.parameters for cell in self.cells.get(study, ()) if cell.variant == variant)
            return next(found, None)
        name, _, kind = network.rpartition("_")
        figures = json.loads((files("undim") / "networks.json").read_text(encoding="utf-8")).get(name, {})
        known = (figures.get({"base": "base", "pog": "adr"}.get(kind)) or {}).get("parameters")
        return None if known is None else int(known)

    def data_of(self, study: str) -> str:
        """The data set that a study's networks were trained and measured on."""
        return str(self.cells[study][0].recipe.get("data", {}).get("name", ABLATION_DATA))

    def backbone_of(self, study: str) -> str:
        """The architecture that a study is about, whatever its size: "candela" of candela_tiny."""
        name = str(self.cells[study][0].recipe.get("model", {}).get("name", ""))
        return name.removesuffix("_small").removesuffix("_tiny")

    def ablations(self) -> list[str]:
        """The studies of a base, and of ADR on it: those called a_..., without that of POG's controls."""
        return [name for name in self.studies if name.startswith("a_") and name != "a_controls"]

    def published_sizes(self) -> list[str]:
        """The studies of the paper's networks in their published sizes, in pieces: those called gpu_..."""
        return [name for name in self.studies if name.startswith("gpu_")]

    def _add_study(self, folder: Path) -> None:
        plan, cells = read_plan(folder), list(read_cells(folder))
        if cells:
            if plan.name in self.studies:
                raise UsageError(f"{folder} holds a study of the same name as another, {plan.name!r}.")
            self.studies[plan.name] = merge_cells(plan, cells)
            self.cells[plan.name] = cells

    def _add_document(self, path: Path) -> None:
        content = load_json(path)
        if not isinstance(content, dict) or "data" not in content:
            raise UsageError(f"{path} is not a result of undim evaluate or undim redundancy: move it elsewhere.")
        data, name = path.parent.name, path.parent.parent.name
        if content["data"] != data:
            raise UsageError(f"{path} holds figures of {content['data']}, and its folder says {data}.")
        kind = FILES[path.name]
        document = kind.parse(content, path)
        match = _SEED.fullmatch(name)
        network = match["network"] if match else name
        of = document.weights_of if isinstance(document, ScoresDocument) else None
        label = label_of(network)
        if of is not None and label in SYSTEMS and not of.startswith(f"{label} ("):
            whose, _, _ = of.partition(", licence")
            raise UsageError(f"{path} holds figures of {whose}, and its folder says {network}.")
        seed = int(match["seed"]) if match else document.seed
        self._findings.setdefault((network, data, kind), []).append(Finding(seed, document))


def describe(document: AnyMeasuredDocument) -> str:
    """What was measured on what, in words."""
    place = f"{document.data}{f' {document.split}' if document.split else ''}"
    if isinstance(document, ScoresDocument):
        weights = f", measured with the authors' weights ({document.weights_of})" if document.weights_of else ""
        return f"undim evaluate, {place}, {len(document.images)} pictures{weights}"
    draws = len(document.seeds)
    return f"undim redundancy {document.NAME}, {place}, {len(document.pictures)} pictures, {draws} draws of each layer"
