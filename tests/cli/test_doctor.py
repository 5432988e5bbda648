"""`undim doctor`: what it says of this installation, and what it must not say."""

import getpass
import hashlib
import json
import shutil
import socket
from pathlib import Path

import pytest

from undim import shipped
from undim.cli import doctor as module
from undim.cli.main import main
from undim.images.formats import FORMATS
from undim.installed import Installation


@pytest.fixture
def report(capsys):
    def run():
        status = main(["doctor", "--json"])
        return status, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A copy of the shipped models that a test may damage."""
    for path in shipped.MODELS_FOLDER.iterdir():
        if path.name == shipped.CHECKSUMS or path.name.startswith("tiny."):
            shutil.copy(path, tmp_path)
    sums = tmp_path / shipped.CHECKSUMS
    sums.write_text("".join(line for line in sums.read_text().splitlines(keepends=True) if " tiny." in line))
    for place in (shipped, module):
        monkeypatch.setattr(place, "MODELS_FOLDER", tmp_path)
    return tmp_path


def test_one_object_that_agrees_with_the_files(report):
    status, found = report()
    assert status == 0
    assert found["schema"] == "undim.doctor/1"
    assert {name for name, form in found["formats"].items() if form["writes"]} == set(FORMATS)
    assert not found["formats"]["jxl"]["reads"]
    assert found["runtimes"]["onnxruntime"]["installed"]
    assert set(found["runtimes"]["onnxruntime"]["precision"].values()) == {"float32"}
    assert not found["runtimes"]["directml"]["installed"]
    assert found["packages"]["numpy"]
    for name, file in found["models"].items():
        assert file["state"] == "whole", name
        assert file["sha256"] == hashlib.sha256((shipped.MODELS_FOLDER / name).read_bytes()).hexdigest()


def test_a_changed_and_a_missing_model_are_told(models, report, capsys):
    path = models / "tiny.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    (models / "tiny.safetensors").unlink()
    shutil.copy(path, models / "mine.onnx")
    status, found = report()
    assert status == 1
    states = {name: file["state"] for name, file in found["models"].items()}
    assert states == {"mine.onnx": "unknown", "tiny.onnx": "changed", "tiny.safetensors": "missing"}
    assert main(["doctor"]) == 1
    assert "tiny.onnx: changed" in capsys.readouterr().out


def test_a_missing_part_is_told_with_its_remedy(report, monkeypatch):
    monkeypatch.setattr(module, "NEEDS", {"heic": ("module_that_is_absent", "heic")})
    _, found = report()
    assert found["formats"]["heic"] == {"reads": False, "writes": False, "remedy": 'pip install "undim[heic]"'}


def test_nothing_private(report, capsys, monkeypatch, tmp_path):
    secret = tmp_path / "secret-clone"
    monkeypatch.setattr(module, "NEEDS", {"heic": ("module_that_is_absent", "heic")})
    monkeypatch.setattr("undim.installed.find_installation", lambda: Installation("pip", str(secret), editable=True))
    monkeypatch.setenv("UNDIM_DATA", str(secret))
    text = json.dumps(report()[1])
    assert main(["doctor"]) == 0
    text += capsys.readouterr().out
    private = {"secret-clone", str(Path.home()), str(Path.cwd()), socket.gethostname(), getpass.getuser()}
    assert [word for word in private if len(word) > 4 and word in text] == []
    assert "/" not in text.replace("undim.doctor/1", "")  # no path at all
