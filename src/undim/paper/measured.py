"""Our figures, found on disk: what other verbs measured, in folders whose names say of which network and on what.

- ROOT/.../NETWORK/DATA/VERB.json: of `undim evaluate` (results.json) and `undim redundancy` (dmr.json, ...). NETWORK is
  the name of a recipe or any other; trainings from several seeds are NETWORK-s0, NETWORK-s1, ...
- ROOT/.../plan.json: a study's folder.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undim.errors import UsageError
from undim.study.cells import read_cells, read_plan
from undim.study.report import merge_cells

ABLATION_DATA = "lol-v1"
"""The data set of the paper's ablations and of its tables of resets."""
VERBS = ("results", "dmr", "reset", "poi", "prune", "diversity")
_SEED = re.compile(r"(?P<network>.+)-s(?P<seed>\d+)")


@dataclass(frozen=True)
class Figure:
    """One figure of ours over the seeds that there are."""

    mean: float
    spread: float | None
    seeds: tuple[int, ...]
    iterations: int | None
    protocol: str


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
        UsageError: if a file is no result, or of another data set than its folder says.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.documents: dict[tuple[str, str, str], list[Document]] = {}
        """By network, data set and verb."""
        self.studies: dict[str, dict[str, Any]] = {}
        """By name, merged as `undim study report` merges them."""
        self.cells: dict[str, list[dict[str, Any]]] = {}
        """By study."""
        for root in roots:
            for path in sorted(root.rglob("plan.json")):
                self._add_study(path.parent)
            for verb in VERBS:
                for path in sorted(root.rglob(f"{verb}.json")):
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
        return Figure(
            statistics.fmean(numbers),
            statistics.stdev(numbers) if len(numbers) > 1 else None,
            tuple(document.seed for document, _ in found if document.seed is not None),
            first.get("iterations"),
            describe(first, verb),
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
        return Figure(
            there["mean"],
            there["spread"],
            tuple(row["seeds"]),
            cell["steps"],
            f"study {study}, {variant}, {self.data_of(study)} {split or 'val'}",
        )

    def data_of(self, study: str) -> str:
        """The data set that a study's networks were trained and measured on."""
        recipe = self.cells[study][0]["content"]["recipe"]
        return str(recipe.get("data", {}).get("name", ABLATION_DATA))

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
