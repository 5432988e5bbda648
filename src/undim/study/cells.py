"""The folder of a study, and the small files in it that may be kept in a repository.

- plan.json: what the study is, its variants, seeds and base
- cells/VARIANT-sSEED.json: one trained network's measures, written whole when all of them are there
- .gitignore: leaves runs/ out
- runs/VARIANT-sSEED/: the training run, its log and its weights
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from undim.atomic import write_text
from undim.errors import UsageError
from undim.study.plan import Cell, Plan, find_change

FORMAT = 1
WEIGHTS = "average.safetensors"
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
            UsageError: if a finished cell was made by another recipe.
            OSError: if files cannot be written here.
        """
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
        there = read_cell(path)
        if there["fingerprint"] != cell.fingerprint:
            change = find_change(cell.content, there["content"])
            raise UsageError(f"{path} was made by another recipe: {change}. Delete it, or give another folder.")
        return True

    def adopt(self, cell: Cell, *, with_weights: bool) -> str | None:
        """Take over an equal cell of a study beside this one: by its fingerprint it was trained and measured alike.

        Args:
            cell: one that is not finished.
            with_weights: take only one whose weights are on this machine, for cells that start after it.

        Returns:
            What was taken, as STUDY/CELL; None if there is nothing to take.

        Raises:
            UsageError: if a file there is no cell.
        """
        for path in sorted(self.path.resolve().parent.glob(f"*/cells/*-s{cell.recipe.seed}.json")):
            beside = StudyFolder(path.parent.parent)
            weights = beside.path / "runs" / path.stem / WEIGHTS
            if beside.path == self.path.resolve() or (with_weights and not weights.is_file()):
                continue
            there = read_cell(path)
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
    return plan


def read_cells(folder: Path) -> Iterator[dict[str, Any]]:
    """All finished cells of a folder, sorted by name."""
    for path in sorted((folder / "cells").glob("*.json")):
        yield read_cell(path)


def read_cell(path: Path) -> dict[str, Any]:
    """One finished cell.

    Raises:
        UsageError: if the file cannot be read or is none.
    """
    cell = _load(path)
    if not isinstance(cell, dict) or not {"format", "fingerprint", "content", "variant", "seed"} <= cell.keys():
        raise UsageError(f"{path} is not a cell that undim study wrote: delete it.")
    if cell["format"] != FORMAT:
        raise UsageError(f"{path} has format {cell['format']}; this version of Undim reads format {FORMAT}.")
    return cell


def _load(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: it is no JSON. Delete it to run that cell anew.") from error
