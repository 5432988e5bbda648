"""Cells of studies beside each other: equal ones are taken over, and nothing else is."""

import json

from undim.study.cells import WEIGHTS, StudyFolder
from undim.study.plan import load_study


def cells_of(path):
    return {cell.name: cell for cell in load_study(path).cells}


def finish(folder, cell, *, weights):
    """Leave what a finished cell leaves."""
    path = folder.result(cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"fingerprint": cell.fingerprint, "content": cell.content, "seed": cell.recipe.seed}
    path.write_text(json.dumps({"format": 1, "variant": cell.variant, **facts, "scores": {"val": 20.5}}))
    if weights:
        folder.run(cell).mkdir(parents=True)
        (folder.run(cell) / WEIGHTS).write_bytes(b"weights")


def test_an_equal_cell_of_a_study_beside_is_taken_over(study_file, tmp_path):
    theirs = cells_of(study_file)
    other = tmp_path / "other.yaml"  # the same network under another name, and another network under the same
    other.write_text(study_file.read_text().replace("base", "plain").replace("embedding: 4", "embedding: 8"))
    ours = cells_of(other)
    beside, folder = (StudyFolder(tmp_path / "studies" / name) for name in ("beside", "own"))
    finish(beside, theirs["base-s0"], weights=True)
    finish(beside, theirs["base-s1"], weights=False)
    finish(beside, theirs["pog-s0"], weights=True)

    assert folder.adopt(ours["plain-s0"], with_weights=True) == "beside/base-s0"
    there = json.loads(folder.result(ours["plain-s0"]).read_text())
    assert (there["variant"], there["seed"], there["scores"]) == ("plain", 0, {"val": 20.5})
    assert folder.is_finished(ours["plain-s0"])
    assert folder.weights(ours["plain-s0"]).read_bytes() == b"weights"

    assert folder.adopt(ours["plain-s1"], with_weights=True) is None  # its weights are not on this machine
    assert not folder.result(ours["plain-s1"]).exists()
    assert folder.adopt(ours["plain-s1"], with_weights=False) == "beside/base-s1"
    assert not folder.weights(ours["plain-s1"]).exists()

    assert folder.adopt(ours["pog-s0"], with_weights=False) is None  # another embedding
    assert beside.adopt(theirs["further-s0"], with_weights=False) is None
    assert beside.adopt(theirs["base-s0"], with_weights=False) == "own/plain-s0"  # not from itself


def test_apart_from_other_studies_nothing_is_taken(study_file, tmp_path):
    cells = cells_of(study_file)
    finish(StudyFolder(tmp_path / "elsewhere" / "beside"), cells["base-s0"], weights=True)
    folder = StudyFolder(tmp_path / "studies" / "own")
    assert folder.adopt(cells["base-s0"], with_weights=False) is None
    folder.path.mkdir(parents=True)
    assert folder.adopt(cells["base-s0"], with_weights=False) is None
