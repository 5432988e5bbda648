"""The folder of a study, and the small files in it that may be kept in a repository.

- plan.json: what the study is, its variants, seeds and base
- cells/VARIANT-sSEED.json: one trained network's measures, written whole when all of them are there
- .gitignore: leaves runs/ out
- runs/VARIANT-sSEED/: the training run, its log and its weights
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from undim.atomic import write_text
from undim.errors import UsageError
from undim.study.plan import Cell, Plan, find_change
from undim.weights.run_files import AVERAGE

FORMAT = 1
Layers = Mapping[str, Mapping[str, float]]
"""How much each generator's kernels differ between pictures, as `undim.study.measures.measure_diversity` says it."""
WEIGHTS = AVERAGE
"""What is measured, and what cells that come after another start from: the averaged weights at the end of the run."""


class Part(BaseModel):
    """Part of a file of results that must be there; more may be."""

    model_config = ConfigDict(extra="allow", frozen=True)


class _Kernels(Part):
    cosine_distance: float
    variation: float
    effective_rank: float


class _Redundancy(Part):
    dmr: float
    dmr_adr_kept: float
    poi: float
    pictures: int
    draws: int
    layers: dict[str, dict[str, float | None]]
    """DMR of None: infinite."""


class _Cost(Part):
    parameters: int
    flops: int


class _Curve(Part):
    step: list[int]
    psnr: list[float]


class _Time(Part):
    seconds: list[float]
    seconds_per_step: float


class _Machine(Part):
    device: str
    precision: str
    threads: int
    torch: str
    undim: str


class CellFile(Part):
    """What a cell's file must hold to be reported on."""

    format: int
    variant: str
    seed: int
    fingerprint: str
    content: dict[str, Any]
    steps: int
    scores: dict[str, dict[str, Any] | None]
    """By split; None where the data set has no such split."""
    redundancy: _Redundancy
    diversity: dict[str, _Kernels] | None
    """By generator; None where no kernels are generated."""
    diversity_over_training: list[dict[str, Any]]
    cost: _Cost
    curve: _Curve
    time: _Time
    machine: _Machine
    notes: list[str]


class StudyFolder:
    """The places in a study's folder.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def result(self, cell: Cell) -> Path:
        """Where a cell's measures stand once it is finished."""
        return self.path / "cells" / f"{cell.name}.json"

    def run(self, cell: Cell) -> Path:
        """The folder of a cell's training run."""
        return self.path / "runs" / cell.name

    def weights(self, cell: Cell) -> Path:
        """A finished cell's weights."""
        return self.run(cell) / WEIGHTS

    def prepare(self, plan: Plan) -> None:
        """Make the folder, note what the study is, and check that finished cells are this study's.

        Raises:
            UsageError: if a finished cell was made by another recipe, or the folder is another study's.
            OSError: if files cannot be written here.
        """
        if (self.path / "plan.json").exists() and (name := read_plan(self.path)["name"]) != plan.name:
            raise UsageError(f"{self.path} holds the study {name!r}, not {plan.name!r}: give another folder.")
        for cell in plan.cells:
            self.is_finished(cell)
        for name in ("cells", "runs"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        write_text(self.path / ".gitignore", "/runs/\n")
        write_text(self.path / "plan.json", json.dumps(plan.as_dict(), indent=1) + "\n")

    def is_finished(self, cell: Cell) -> bool:
        """Whether a cell's measures are there.

        Raises:
            UsageError: if they are another recipe's, or no measures.
        """
        path = self.result(cell)
        if not path.exists():
            return False
        there = _read_header(path)
        if there["fingerprint"] != cell.fingerprint:
            change = find_change(cell.content, there["content"])
            raise UsageError(f"{path} was made by another recipe: {change}. Delete it, or give another folder.")
        read_cell(path)
        return True

    def adopt(self, cell: Cell, *, with_weights: bool) -> str | None:
        """Take over an equal cell of a study beside this one: by its fingerprint it was trained and measured alike.

        Args:
            cell: one that is not finished.
            with_weights: take only one whose weights are on this machine, for cells that start after it.

        Returns:
            What was taken, as STUDY/CELL; None if there is nothing to take. Files there that are no cells are not this
            study's business.
        """
        for path in sorted(self.path.resolve().parent.glob(f"*/cells/*-s{cell.recipe.seed}.json")):
            beside = StudyFolder(path.parent.parent)
            weights = beside.path / "runs" / path.stem / WEIGHTS
            if beside.path == self.path.resolve() or (with_weights and not weights.is_file()):
                continue
            try:
                there = read_cell(path)
            except UsageError:
                continue
            if there["fingerprint"] != cell.fingerprint:
                continue
            self.result(cell).parent.mkdir(parents=True, exist_ok=True)
            if weights.is_file():
                self.run(cell).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(weights, self.weights(cell))
            write_text(self.result(cell), json.dumps({**there, "variant": cell.variant}) + "\n")
            return f"{beside.path.name}/{path.stem}"
        return None


def read_plan(folder: Path) -> dict[str, Any]:
    """What `StudyFolder.prepare` noted.

    Raises:
        UsageError: if it is not there or cannot be read.
    """
    path = folder / "plan.json"
    plan = _load(path)
    if not isinstance(plan, dict) or not {"name", "base", "variants", "seeds", "about"} <= plan.keys():
        raise UsageError(f"{path} is not what undim study writes: {folder} is no study's folder.")
    if not isinstance(plan["variants"], dict) or plan["base"] not in plan["variants"]:
        raise UsageError(f"{path} names no base among its variants: delete it, and run undim study anew.")
    return plan


def read_cells(folder: Path) -> Iterator[dict[str, Any]]:
    """All finished cells of a folder, sorted by name."""
    for path in sorted((folder / "cells").glob("*.json")):
        yield read_cell(path)


def read_cell(path: Path) -> dict[str, Any]:
    """One finished cell.

    Raises:
        UsageError: if the file cannot be read, is none, or lacks a measure.
    """
    cell = _read_header(path)
    try:
        CellFile.model_validate(cell)
    except ValidationError as error:
        raise UsageError(f"{path} is damaged, delete it to run that cell anew: {explain(error)}.") from error
    return cell


def _read_header(path: Path) -> dict[str, Any]:
    """A cell's file, of which it is known only what it is of."""
    cell = _load(path)
    if not isinstance(cell, dict) or not {"format", "fingerprint", "content", "variant", "seed"} <= cell.keys():
        raise UsageError(f"{path} is not a cell that undim study wrote: delete it.")
    if cell["format"] != FORMAT:
        raise UsageError(f"{path} has format {cell['format']}; this version of Undim reads format {FORMAT}.")
    return cell


def explain(error: ValidationError) -> str:
    """The first thing that is wrong with a file of results: its key, and what of it."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def mean_distance(layers: Layers) -> float:
    """Mean over generators of the cosine distance between pictures' kernels.

    Kernels that are zero for all pictures, of a generator whose output nothing reads, are alike: 0, where cells of
    earlier versions say 1.
    """
    return statistics.fmean(one["cosine_distance"] if one["variation"] else 0.0 for one in layers.values())


def distance_gained(over_training: Sequence[Mapping[str, Any]]) -> float | None:
    """By how many decades the mean cosine distance between pictures' kernels grew in training; below zero, it fell.

    Of the generators whose kernels were not all zero at the start, as second kernels are where ADR starts at identity.

    Args:
        over_training: `step` and `layers` of a cell's measurements, in order.

    Returns:
        None where the first was not before the first step, or all kernels are alike at one end.
    """
    if not over_training or over_training[0]["step"]:
        return None
    first, last = (one["layers"] for one in (over_training[0], over_training[-1]))
    alive = [name for name in last if first[name]["variation"]]
    ends = [mean_distance({name: layers[name] for name in alive}) if alive else 0.0 for layers in (first, last)]
    return None if min(ends) <= 0 else math.log10(ends[1] / ends[0])


def mean_rank(layers: Layers) -> float:
    """Mean over generators of the effective rank of pictures' kernels."""
    return statistics.fmean(one["effective_rank"] for one in layers.values())


def _load(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: it is no JSON. Delete it, and run undim study anew.") from error
