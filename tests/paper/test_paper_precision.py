"""Networks that were trained in bfloat16 are named on every page that has a figure of them."""

import json
from pathlib import Path

import pytest

from undim.cli.main import main
from undim.paper.precision import DROWNED_RUNS, find_caution

PAGES = ("table6", "table10", "figure6", "figure7")
"""The figures show what the weights before made, the tables what the present ones do."""


def notes_of(page):
    return json.loads(page.read_text())["notes"]


def named(notes, network):
    return [note for note in notes if note.startswith(f"{network}, ") and "bfloat16" in note]


@pytest.mark.parametrize("network", ["photo", "tiny", "lol"])
def test_the_committed_pages_say_so_run_by_run(network):
    results = Path(__file__).parents[2] / "docs" / "results"
    cautions = [find_caution(run.network, run.iterations) for run in DROWNED_RUNS if run.network == network]
    for name in PAGES:
        assert len(named(notes_of(results / f"{name}.json"), network)) == 1, name
        assert sum(caution in (results / f"{name}.md").read_text() for caution in cautions) == 1, name
    assert "trained and measured in float32" in (results / "study.md").read_text()
    assert "trained and measured in float32" in (results / "claims.md").read_text()


def test_only_the_training_that_it_is_about_is_named(make_file, tmp_path):
    scores = {"data": "lol-v1", "split": "test", "psnr": 21.0, "ssim": 0.8, "niqe": 4.0, "images": []}
    place = tmp_path / "in" / "tiny" / "lol-v1" / "results.json"
    for iterations, count in ((1091, 1), (9000, 0)):  # another training of the same name is not
        make_file(place, {**scores, "iterations": iterations})
        assert main(["paper", "table6", "--results", str(tmp_path / "in"), "-o", str(tmp_path)]) == 0
        assert len(named(notes_of(tmp_path / "table6.json"), "tiny")) == count


@pytest.mark.parametrize(
    ("machine", "drowned"),
    [
        ({"precision": "bf16-mixed"}, True),
        ({"precision": "bf16-mixed", "kernels": "32-true"}, False),  # of a version that computes kernels in float32
        ({"precision": "32-true"}, False),
    ],
)
def test_cells_that_were_trained_in_bfloat16_are_named(make_cell, make_study, tmp_path, machine, drowned):
    kernels = {"p1": {"cosine_distance": 0.1, "variation": 0.1, "effective_rank": 1.0}}
    cells = [make_cell(variant, seed, 20.0 + seed) for variant in ("base", "pog") for seed in (0, 1)]
    for cell in cells:
        cell["machine"] |= machine
        cell["diversity"] = kernels if cell["variant"] == "pog" else None
    folder = tmp_path / "results" / "study"
    make_study(folder, "a_candela_tiny", cells)
    assert main(["study", "report", str(folder), "-o", str(tmp_path)]) == 0
    text = (tmp_path / "study.md").read_text()
    assert (
        "rounding what generated kernels say of the picture, so that these networks had in effect" in text
    ) == drowned
    assert ("static kernels with noise: pog-s0, pog-s1" in text) == drowned
    assert ("trained and measured in float32" in text) == (machine["precision"] == "32-true")
    assert main(["paper", "claims", "table7", "--results", str(folder), "-o", str(tmp_path)]) == 0
    for name in ("claims", "table7"):
        told = [note for note in notes_of(tmp_path / f"{name}.json") if "pog-s0, pog-s1: trained in bfloat16" in note]
        assert len(told) == drowned, name
