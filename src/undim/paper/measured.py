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
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ValidationError, model_validator

from undim.errors import UsageError
from undim.study.cells import Part, explain, read_cells, read_plan
from undim.study.report import merge_cells

ABLATION_DATA = "lol-v1"
"""The data set of the paper's ablations and of its tables of resets."""
RESETS = {"dmr", "dmr_adr_kept", "poi"}
"""A study's measures that come of resets."""
_SEED = re.compile(r"(?P<network>.+)-s(?P<seed>\d+)")


ResultT = TypeVar("ResultT")


class _Scores(Part):
    psnr: float | None
    ssim: float | None
    niqe: float | None
    images: list[dict[str, Any]]


class _Mean(Part):
    mean: float


class _Change(Part):
    change: float


class _LayerChanges(_Change):
    changes: list[list[float]]


class _Resets(Part):
    psnr: list[float]
    groups: dict[str, _Change]
    layers: dict[str, _LayerChanges]

    @model_validator(mode="after")
    def _a_change_for_each_picture(self) -> Self:
        for name, layer in self.layers.items():
            if any(len(draw) != len(self.psnr) for draw in layer.changes):
                raise ValueError(f"{name} has not a change for each of {len(self.psnr)} pictures")
        return self


class _Share(Part):
    poi: float


class _Gain(Part):
    layer: str
    picture: int
    before: float
    after: float


class _Shares(Part):
    layers: dict[str, _Share]
    gains: list[_Gain]


class _Pruned(Part):
    name: str
    psnr: float | None
    dmr: float | None


class _Prunings(Part):
    rows: list[_Pruned]


class _Kernels(Part):
    cosine_distance: float
    kernels: list[list[float]]


class _Diversity(Part):
    layers: dict[str, _Kernels]


class _Laboratory(Part, Generic[ResultT]):
    seeds: list[int]
    pictures: list[str]
    result: ResultT


VERBS: Mapping[str, type[BaseModel]] = {
    "results": _Scores,
    "dmr": _Laboratory[_Mean],
    "reset": _Laboratory[_Resets],
    "poi": _Laboratory[_Shares],
    "prune": _Laboratory[_Prunings],
    "diversity": _Laboratory[_Diversity],
}
"""What a file of each verb must hold for the pages."""


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


@dataclass(frozen=True)
class Document:
    """What one verb measured of one network."""

    seed: int | None
    """Of the training; None where neither the folder's name nor the file says it."""
    content: Mapping[str, Any]


class Measurements:
    """Everything found below some folders.

    Args:
        roots: folders; one that is not there holds nothing.

    Raises:
        UsageError: if a file is no result, damaged, or of another data set than its folder says.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.documents: dict[tuple[str, str, str], list[Document]] = {}
        """By network, data set and verb."""
        self.studies: dict[str, dict[str, Any]] = {}
        """By name, merged as `undim study report` merges them."""
        self.cells: dict[str, list[dict[str, Any]]] = {}
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
            for verb in VERBS:
                for path in new(root, f"{verb}.json"):
                    self._add_document(path, verb)

    def networks(self, verb: str, data: str | None = None) -> list[str]:
        """Those of which a verb has measured something, on one data set or any."""
        return list(
            dict.fromkeys(name for name, where, what in self.documents if what == verb and data in (None, where))
        )

    def figure(
        self, network: str, data: str, verb: str, value: Callable[[Mapping[str, Any]], float | None]
    ) -> Figure | None:
        """One figure of a network, over all its seeds; None if it was not measured."""
        documents = self.documents.get((network, data, verb), [])
        found = [(document, number) for document in documents if (number := value(document.content)) is not None]
        if not found:
            return None
        numbers = [number for _, number in found]
        first = found[0][0].content
        steps = sorted({document.content.get("iterations") or 0 for document, _ in found})
        protocol = describe(first, verb)
        return Figure(
            statistics.fmean(numbers),
            statistics.stdev(numbers) if len(numbers) > 1 else None,
            tuple(document.seed for document, _ in found if document.seed is not None),
            first.get("iterations") if len(steps) == 1 else None,
            protocol if len(steps) == 1 else f"{protocol}, {steps[0]} to {steps[-1]} training steps",
            self.parameters_of(network),
        )

    def study_figure(self, study: str, variant: str, measure: str) -> Figure | None:
        """One measure of a study's variant, see `undim.study.report.MEASURES`."""
        merged = self.studies.get(study)
        row = next((one for one in merged["rows"] if one["variant"] == variant), None) if merged else None
        if merged is None or row is None or measure not in row["measures"]:
            return None
        there = row["measures"][measure]
        cell = next(one for one in self.cells[study] if one["variant"] == variant)
        split, _, _ = measure.rpartition(".")
        protocol = f"study {study}, {variant}"
        if measure == "flops":
            protocol += f", FLOPs counted by {cell['cost'].get('flops_rule', 'fvcore')}'s rule"
        else:
            protocol += f", {self.data_of(study)} {split or 'val'}"
        if measure in RESETS:
            protocol += (
                f", {cell['redundancy']['pictures']} pictures, {cell['redundancy']['draws']} draws of each layer"
            )
        parameters = cell["cost"]["parameters"]
        return Figure(there["mean"], there["spread"], tuple(row["seeds"]), cell["steps"], protocol, parameters)

    def parameters_of(self, network: str) -> int | None:
        """How many parameters a network has: STUDY.VARIANT, or BACKBONE_base and BACKBONE_pog of recipes."""
        study, dot, variant = network.partition(".")
        if dot:
            found = (cell["cost"]["parameters"] for cell in self.cells.get(study, ()) if cell["variant"] == variant)
            return next(found, None)
        name, _, kind = network.rpartition("_")
        figures = json.loads((files("undim") / "networks.json").read_text(encoding="utf-8")).get(name, {})
        known = (figures.get({"base": "base", "pog": "adr"}.get(kind)) or {}).get("parameters")
        return None if known is None else int(known)

    def data_of(self, study: str) -> str:
        """The data set that a study's networks were trained and measured on."""
        recipe = self.cells[study][0]["content"]["recipe"]
        return str(recipe.get("data", {}).get("name", ABLATION_DATA))

    def backbone_of(self, study: str) -> str:
        """The architecture that a study is about, whatever its size: "candela" of candela_tiny."""
        return str(self.cells[study][0]["content"]["recipe"]["model"]["name"]).partition("_")[0]

    def ablations(self) -> list[str]:
        """The studies of a base, and of ADR on it: those called a_..., without that of POG's controls."""
        return [name for name in self.studies if name.startswith("a_") and name != "a_controls"]

    def _add_study(self, folder: Path) -> None:
        plan, cells = read_plan(folder), list(read_cells(folder))
        if cells:
            if plan["name"] in self.studies:
                raise UsageError(f"{folder} holds a study of the same name as another, {plan['name']!r}.")
            self.studies[plan["name"]] = merge_cells(plan, cells)
            self.cells[plan["name"]] = cells

    def _add_document(self, path: Path, verb: str) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from error
        if not isinstance(content, dict) or "data" not in content:
            raise UsageError(f"{path} is no result of undim evaluate or undim redundancy: move it elsewhere.")
        data, name = path.parent.name, path.parent.parent.name
        if content["data"] != data:
            raise UsageError(f"{path} holds figures of {content['data']}, and its folder says {data}.")
        try:
            VERBS[verb].model_validate(content)
        except ValidationError as error:
            raise UsageError(f"{path} is damaged, measure it anew: {explain(error)}.") from error
        match = _SEED.fullmatch(name)
        network = match["network"] if match else name
        seed = int(match["seed"]) if match else content.get("seed")
        self.documents.setdefault((network, data, verb), []).append(Document(seed, content))


def describe(content: Mapping[str, Any], verb: str) -> str:
    """What was measured on what, in words."""
    split = content.get("split")
    place = f"{content['data']}{f' {split}' if split else ''}"
    if verb == "results":
        return f"undim evaluate, {place}, {len(content['images'])} pictures"
    draws = len(content["seeds"])
    return f"undim redundancy {verb}, {place}, {len(content['pictures'])} pictures, {draws} draws of each layer"
