"""`undim data`: lines, JSON and exit status."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from undim.cli.main import main

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it fails
from undim.cli.main import main
sys.exit(main(["data", "list"]))
"""


@pytest.fixture(autouse=True)
def _no_data(monkeypatch):
    monkeypatch.delenv("UNDIM_DATA", raising=False)


@pytest.fixture
def folders(tmp_path):
    """low/ and high/ with twelve pairs."""
    rng = np.random.default_rng(0)
    for side in ("low", "high"):
        (tmp_path / side).mkdir()
        for index in range(12):
            pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / side / f"{index}.png")
    return tmp_path


def check_folders(folders, *words):
    return main(["data", "check", "folder", "--low", str(folders / "low"), "--high", str(folders / "high"), *words])


def test_a_sound_data_set(folders, capsys):
    assert check_folders(folders) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"folder in {folders / 'low'} and {folders / 'high'}"
    assert lines[1] == "12 train"
    assert lines[-1] == "usable"


def test_problems_are_counted_and_the_first_shown(folders, capsys):
    for index in range(11):
        (folders / "low" / f"{index}.png").write_bytes(b"broken")
    (folders / "high" / "11.png").unlink()
    assert check_folders(folders) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "unreadable: 11" in lines
    assert "  and 1 more (--json lists all)" in lines
    assert "unpaired: 1" in lines
    assert f"  {folders / 'low' / '11.png'} has no partner" in lines
    assert lines[-1] == "12 problems"


def test_json_has_all(folders, capsys):
    (folders / "high" / "3.png").unlink()
    assert check_folders(folders, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["usable"] is False
    assert report["counts"] == {"train": 11}
    assert report["folders"] == [str(folders / "low"), str(folders / "high")]
    assert [problem["pictures"] for problem in report["problems"]["unpaired"]] == [[str(folders / "low" / "3.png")]]
    assert report["problems"]["unreadable"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "lol"], "Did you mean 'lol-v1'"),
        (["check", "folder"], "needs two folders"),
        (["check", "lol-v1"], "UNDIM_DATA"),
        (["check", "lol-v1", "--root", "absent"], "absent does not hold lol-v1"),
        (["check", "dicm", "--root", "absent"], "absent does not hold dicm"),
        (["check", "sice", "--low", "a", "--high", "b"], "belong to the data set folder"),
        (["check"], "Missing argument"),
        (["chekc"], "chekc"),
        ([], "Missing command"),
    ],
)
def test_wrong_use_is_one_line(capsys, words, message):
    assert main(["data", *words]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)


def test_list_names_every_set_and_where_it_is(tmp_path, capsys, monkeypatch):
    (tmp_path / "unpaired" / "MEF").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "unpaired" / "MEF" / "a.png")
    assert main(["data", "list"]) == 0
    assert "UNDIM_DATA is not set" in capsys.readouterr().out
    monkeypatch.setenv("UNDIM_DATA", str(tmp_path))
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("mef ")).endswith(str(tmp_path / "unpaired" / "MEF"))
    assert next(line for line in lines if line.startswith("vv ")).endswith("not found")
    assert "689 training and 100 test pairs" in next(line for line in lines if line.startswith("lol-v2-real "))
    assert main(["data", "list", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in entries if entry["found"]] == ["mef"]
    assert len(entries) == 12


def test_works_without_torch():
    run = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "lol-v2-syn" in run.stdout
