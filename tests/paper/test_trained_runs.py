"""`undim paper` measures trainings that lie in --runs, and names damaged files."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from undim.cli.main import main
from undim.errors import UsageError
from undim.nets import create_model
from undim.paper.pages import Entry, Page
from undim.weights.files import ModelSpec, save_model

SETTINGS = {"dims": [4, 4, 4], "heads": [1, 1], "global_width": 2}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two trainings called after a recipe, and eval15 of two pictures where $UNDIM_DATA says."""
    rng = np.random.default_rng(0)
    for part, count in (("our485", 2), ("eval15", 2)):
        for number in range(1, count + 1):
            for side in ("low", "high"):
                target = tmp_path / "data" / "lol_v1" / part / side / f"{number}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256, (4, 5, 3)).repeat(8, 0).repeat(8, 1)
                Image.fromarray(pixels.astype(np.uint8)).save(target)
    monkeypatch.setenv("UNDIM_DATA", str(tmp_path / "data"))
    folder = tmp_path / "trained"
    for seed in (0, 1):
        torch.manual_seed(seed)
        run = folder / f"restormer_base-s{seed}"
        run.mkdir(parents=True)
        model = create_model("candela_tiny", **SETTINGS)
        save_model(ModelSpec("candela_tiny", SETTINGS), model, run / "average.safetensors")
    (folder / "restormer_base-old").mkdir()
    (folder / "restormer_pog").mkdir()  # not at its end
    return folder


def psnr_of(path):
    return json.loads(path.read_text())["psnr"]


def test_finished_trainings_are_measured_into_the_output(runs, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["paper", "table6", "--runs", str(runs), "-o", str(out)]) == 0
    rows = {(row["label"], row["column"]): row for row in json.loads((out / "table6.json").read_text())["rows"]}
    ours = rows["Restormer", "LOL-v1: PSNR, dB"]
    each = [psnr_of(out / f"restormer_base-s{seed}" / "lol-v1" / "results.json") for seed in (0, 1)]
    assert ours["ours"] == pytest.approx(math.fsum(each) / 2)
    assert ours["seeds"] == [0, 1]
    assert rows["Restormer+ours", "LOL-v1: PSNR, dB"]["ours"] is None
    told = capsys.readouterr().err
    assert told.count("undim evaluate ") == 2
    inside = ["paper", "table6", "--results", str(tmp_path), "--runs", str(runs), "-o", str(out)]
    assert main(inside) == 0  # nothing is measured twice, nor counted twice for an output within the results
    assert "undim evaluate" not in capsys.readouterr().err
    assert json.loads((out / "table6.json").read_text())["rows"] == list(rows.values())


def test_a_seed_that_is_trained_later_is_measured_then(runs, tmp_path, capsys):
    late, out = runs / "restormer_base-s1", tmp_path / "out"
    late.rename(tmp_path / "elsewhere")
    assert main(["paper", "table6", "--runs", str(runs), "-o", str(out)]) == 0
    (tmp_path / "elsewhere").rename(late)
    capsys.readouterr()
    assert main(["paper", "table6", "--runs", str(runs), "-o", str(out)]) == 0
    assert capsys.readouterr().err.count("undim evaluate ") == 1
    rows = json.loads((out / "table6.json").read_text())["rows"]
    assert next(row for row in rows if row["label"] == "Restormer" and "PSNR" in row["column"])["seeds"] == [0, 1]


def test_what_cannot_be_measured_leaves_the_page_and_says_so(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNDIM_DATA", str(tmp_path / "nowhere"))
    assert main(["paper", "table6", "--runs", str(runs), "-o", str(tmp_path / "out")]) == 2
    assert "2 of 2 measurements failed" in capsys.readouterr().err
    assert "/ not run" in (tmp_path / "out" / "table6.md").read_text()


def test_no_measure_leaves_trainings_alone(runs, tmp_path):
    out = tmp_path / "out"
    assert main(["paper", "table6", "--no-measure", "--runs", str(runs), "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["table6.json", "table6.md"]


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        ("net/lol-v1/results.json", {"psnr": 20.0}, "is damaged, measure it anew: ssim: Field required"),
        ("net/lol-v1/results.json", {"psnr": "much"}, "psnr: Input should be a valid number"),
        (
            "net/lol-v1/reset.json",
            {"seeds": [0], "pictures": []},
            "is damaged, measure it anew: result: Field required",
        ),
        ("net/lol-v1/prune.json", [1], "is not a result of undim evaluate or undim redundancy"),
    ],
)
def test_damaged_measurements_are_named(make_file, tmp_path, capsys, place, content, message):
    path = tmp_path / "in" / place
    make_file(path, {"data": "lol-v1", **content} if isinstance(content, dict) else content)
    assert main(["paper", "table1", "--results", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert str(path) in told
    assert message in told
    assert len(told.splitlines()) == 1


def test_changes_of_other_pictures_than_there_are_are_named(make_file, make_resets, tmp_path, capsys):
    resets, reset_change = make_resets
    result = resets([20.0], {}, {"layer": reset_change(0.0, [[0.1, 0.2]])})
    path = tmp_path / "in" / "net" / "lol-v1" / "reset.json"
    make_file(path, {"data": "lol-v1", "seeds": [0], "pictures": ["1"], "result": result})
    assert main(["paper", "table1", "--results", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    assert "layer has not a change for each of 1 pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read: it is not JSON"),
        ("[1]", "is not what undim paper writes"),
        ('{"rows": [{"label": "x"}]}', "is damaged, delete it: name: Field required"),
    ],
)
def test_a_damaged_page_whose_sheet_would_stay_is_named(tmp_path, capsys, text, message):
    (tmp_path / "figure6.json").write_text(text)
    assert main(["paper", "figure6", "--no-measure", "-o", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert str(tmp_path / "figure6.json") in told
    assert message in told
    assert len(told.splitlines()) == 1
    assert (tmp_path / "figure6.json").read_text() == text


def test_a_page_has_one_figure_for_each_place():
    with pytest.raises(UsageError, match="table0 would have two figures for a / b: move one of them elsewhere"):
        Page("table0", "", (Entry("a", "b", 1.0), Entry("a", "b", 2.0)))
