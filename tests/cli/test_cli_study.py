"""`undim study` from the command line: errors are one line, a dry run writes nothing, a report is merged."""

import json

import pytest

from undim.cli.main import main

STUDY = """
recipe: tiny.yaml
variants: {base: {}, static: {change: {model: {adr: {kernel: static}}}}}
seeds: [3, 4]
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "tiny.yaml").write_text("model: {name: candela_tiny}\nsteps: 7\n")
    path = tmp_path / "kernels.yaml"
    path.write_text(STUDY)
    return path


@pytest.mark.parametrize("words", [["study", "FILE", "-o", "OUT"], ["study", "-o", "OUT", "FILE"]])
def test_a_dry_run_lists_the_cells_and_writes_nothing(study, tmp_path, capsys, words):
    out = tmp_path / "out"
    places = {"FILE": str(study), "OUT": str(out)}
    assert main([*(places.get(word, word) for word in words), "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: to do, 7 steps" for name in ("base-s3", "static-s3", "base-s4", "static-s4")
    ]
    assert not out.exists()


def test_bad_input_is_one_line_and_status_2(study, tmp_path, capsys):
    study.write_text(STUDY.replace("seeds", "sedes"))
    assert main(["study", str(study), "-o", str(tmp_path / "out")]) == 2
    assert main(["study", str(tmp_path / "none.yaml"), "-o", str(tmp_path / "out")]) == 2
    assert main(["study", "report", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert main(["study", str(study)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "there is no key 'sedes'. Did you mean 'seeds'" in lines[0]
    assert "none.yaml cannot be read" in lines[1]
    assert "plan.json cannot be read" in lines[2]
    assert "--output" in lines[3]


@pytest.mark.parametrize("words", [["FILE", "--dry-run"], ["FILE"], ["report", "FOLDER"]])
def test_an_output_that_is_a_file_is_refused(study, tmp_path, capsys, words):
    out = tmp_path / "out"
    out.write_text("mine")
    words = [{"FILE": str(study), "FOLDER": str(tmp_path)}.get(word, word) for word in words]
    assert main(["study", *words, "-o", str(out)]) == 2
    assert capsys.readouterr().err.splitlines() == [f"undim: error: -o {out} is a file: give a folder."]
    assert out.read_text() == "mine"


def test_cells_of_another_recipe_are_refused_before_anything_runs(study, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "cells").mkdir(parents=True)
    cell = {"format": 1, "fingerprint": "x", "content": {"recipe": {"steps": 9}}, "variant": "base", "seed": 3}
    (out / "cells" / "base-s3.json").write_text(json.dumps(cell))
    assert main(["study", str(study), "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert "base-s3.json was made by another recipe" in error
    assert "Delete it, or give another folder" in error
    assert not (out / "runs").exists()


def test_help_of_both_verbs(capsys):
    assert main(["study", "--help"]) == 0
    assert "report" in capsys.readouterr().out
    assert main(["study", "report", "--help"]) == 0
    assert main(["study", "run", "--help"]) == 0
    assert "--jobs" in capsys.readouterr().out
