"""Cells of studies beside each other: equal ones are taken over, and nothing else is."""

import json

import pytest

from undim.errors import UsageError
from undim.study.cells import WEIGHTS, StudyFolder
from undim.study.plan import load_study

MEASURES = {
    "steps": 6,
    "scores": {"val": {"psnr": 20.5, "ssim": 0.8, "psnr_gt_mean": 23.5, "brightness_error": 0.2}},
    "redundancy": {"dmr": 40.0, "dmr_adr_kept": 40.0, "poi": 30.0, "pictures": 2, "draws": 1, "layers": {}},
    "diversity": None,
    "diversity_over_training": [],
    "cost": {"parameters": 1, "flops": 1},
    "curve": {"step": [6], "psnr": [20.5]},
    "time": {"seconds": [1.0], "seconds_per_step": 0.1},
    "machine": {"device": "cpu", "precision": "32-true", "threads": 1, "torch": "2", "undim": "0"},
    "notes": [],
}


def cells_of(path):
    return {cell.name: cell for cell in load_study(path).cells}


def finish(folder, cell, *, weights):
    """Leave what a finished cell leaves."""
    path = folder.result(cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"fingerprint": cell.fingerprint, "content": cell.content, "seed": cell.recipe.seed}
    path.write_text(json.dumps({"format": 1, "variant": cell.variant, **facts, **MEASURES}))
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
    assert (there["variant"], there["seed"], there["scores"]["val"]["psnr"]) == ("plain", 0, 20.5)
    assert folder.is_finished(ours["plain-s0"])
    assert folder.weights(ours["plain-s0"]).read_bytes() == b"weights"

    assert folder.adopt(ours["plain-s1"], with_weights=True) is None  # its weights are not on this machine
    assert not folder.result(ours["plain-s1"]).exists()
    assert folder.adopt(ours["plain-s1"], with_weights=False) == "beside/base-s1"
    assert not folder.weights(ours["plain-s1"]).exists()

    assert folder.adopt(ours["pog-s0"], with_weights=False) is None  # another embedding
    assert beside.adopt(theirs["further-s0"], with_weights=False) is None
    assert beside.adopt(theirs["base-s0"], with_weights=False) == "own/plain-s0"  # not from itself


def test_a_broken_cell_beside_is_passed_over(study_file, tmp_path):
    cells = cells_of(study_file)
    broken, beside, folder = (StudyFolder(tmp_path / "studies" / name) for name in ("a", "b", "own"))
    finish(broken, cells["base-s0"], weights=True)
    broken.result(cells["base-s0"]).write_text("{")
    assert folder.adopt(cells["base-s0"], with_weights=False) is None
    finish(beside, cells["base-s0"], weights=True)
    assert folder.adopt(cells["base-s0"], with_weights=False) == "b/base-s0"


def test_another_studys_folder_is_refused(study_file, tmp_path):
    folder = StudyFolder(tmp_path / "studies" / "own")
    folder.prepare(load_study(study_file))
    before = (folder.path / "plan.json").read_bytes()
    other = study_file.with_name("other.yaml")
    other.write_text(study_file.read_text().replace("pog:", "poh:"))
    with pytest.raises(UsageError, match="holds the study 'kernels', not 'other': give another folder"):
        folder.prepare(load_study(other))
    assert (folder.path / "plan.json").read_bytes() == before


def test_apart_from_other_studies_nothing_is_taken(study_file, tmp_path):
    cells = cells_of(study_file)
    finish(StudyFolder(tmp_path / "elsewhere" / "beside"), cells["base-s0"], weights=True)
    folder = StudyFolder(tmp_path / "studies" / "own")
    assert folder.adopt(cells["base-s0"], with_weights=False) is None
    folder.path.mkdir(parents=True)
    assert folder.adopt(cells["base-s0"], with_weights=False) is None
