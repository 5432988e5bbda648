"""The folder of a study, and the small files in it that may be kept in a repository.

- plan.json: what the study is, its variants, seeds and base
- cells/VARIANT-sSEED.json: one trained network's measures, written whole when all of them are there
- .gitignore: leaves runs/ out
- runs/VARIANT-sSEED/: the training run, its log and its weights
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from undim.atomic import write_text
from undim.errors import UsageError
from undim.results.document import load_json
from undim.results.study import CellDocument, KernelFigures, KernelsAtStep, PlanDocument
from undim.study.plan import Cell, Plan, find_change
from undim.weights.run_files import AVERAGE

WEIGHTS = AVERAGE
"""What is measured, and what cells that come after another start from: the averaged weights at the end of the run."""


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
        if (self.path / "plan.json").exists() and (name := read_plan(self.path).name) != plan.name:
            raise UsageError(f"{self.path} holds the study {name!r}, not {plan.name!r}: give another folder.")
        for cell in plan.cells:
            self.is_finished(cell)
        for name in ("cells", "runs"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        write_text(self.path / ".gitignore", "/runs/\n")
        plan.document().write(self.path / "plan.json")

    def is_finished(self, cell: Cell) -> bool:
        """Whether a cell's measures are there.

        Raises:
            UsageError: if they are another recipe's, or are not measures.
        """
        path = self.result(cell)
        if not path.exists():
            return False
        there = load_json(path)
        if isinstance(there, dict):
            CellDocument.check_version(there, path)
            if there["fingerprint"] != cell.fingerprint:
                change = find_change(cell.content, there["content"])
                raise UsageError(f"{path} was made by another recipe: {change}. Delete it, or give another folder.")
        CellDocument.parse(there, path)
        return True

    def adopt(self, cell: Cell, *, with_weights: bool) -> str | None:
        """Take over an equal cell of a study beside this one: by its fingerprint it was trained and measured alike.

        Args:
            cell: one that is not finished.
            with_weights: take only one whose weights are on this machine, for cells that start after it.

        Returns:
            What was taken, as STUDY/CELL; None if there is nothing to take. What is there that cannot be read as a
            cell is passed over.
        """
        for path in sorted(self.path.resolve().parent.glob(f"*/cells/*-s{cell.recipe.seed}.json")):
            beside = StudyFolder(path.parent.parent)
            weights = beside.path / "runs" / path.stem / WEIGHTS
            if beside.path == self.path.resolve() or (with_weights and not weights.is_file()):
                continue
            try:
                there = CellDocument.read(path)
            except UsageError:
                continue
            if there.fingerprint != cell.fingerprint:
                continue
            self.result(cell).parent.mkdir(parents=True, exist_ok=True)
            if weights.is_file():
                self.run(cell).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(weights, self.weights(cell))
            there.model_copy(update={"variant": cell.variant}).write(self.result(cell), indent=None)
            return f"{beside.path.name}/{path.stem}"
        return None


def read_plan(folder: Path) -> PlanDocument:
    """What `StudyFolder.prepare` noted.

    Raises:
        UsageError: if it is not there or cannot be read.
    """
    return PlanDocument.read(folder / "plan.json")


def read_cells(folder: Path) -> Iterator[CellDocument]:
    """All finished cells of a folder, sorted by name.

    Raises:
        UsageError: if a file cannot be read, is not a cell, or lacks a measure.
    """
    for path in sorted((folder / "cells").glob("*.json")):
        yield CellDocument.read(path)


def mean_distance(layers: Mapping[str, KernelFigures]) -> float:
    """Mean over generators of the cosine distance between pictures' kernels.

    Kernels that are zero for all pictures, of a generator whose output nothing reads, are alike: 0, where cells of
    earlier versions say 1.
    """
    return statistics.fmean(one.cosine_distance if one.variation else 0.0 for one in layers.values())


def distance_gained(over_training: Sequence[KernelsAtStep]) -> float | None:
    """By how many decades the mean cosine distance between pictures' kernels grew in training; below zero, it fell.

    Of the generators whose kernels were not all zero at the start, as second kernels are where ADR starts at identity.

    Args:
        over_training: a cell's measurements, in order.

    Returns:
        None where the first was not before the first step, or all kernels are alike at one end.
    """
    if not over_training or over_training[0].step:
        return None
    first, last = (one.layers for one in (over_training[0], over_training[-1]))
    alive = [name for name in last if first[name].variation]
    ends = [mean_distance({name: layers[name] for name in alive}) if alive else 0.0 for layers in (first, last)]
    return None if min(ends) <= 0 else math.log10(ends[1] / ends[0])


def mean_rank(layers: Mapping[str, KernelFigures]) -> float:
    """Mean over generators of the effective rank of pictures' kernels."""
    return statistics.fmean(one.effective_rank for one in layers.values())
