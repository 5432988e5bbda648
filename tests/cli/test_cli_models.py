import json
import subprocess
import sys

from undim.cli.models import models
from undim.nets import list_models
from undim.shipped import MODELS_FOLDER, list_shipped_models
from undim.weights.files import load_model

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it fails
from undim.cli.models import models
models()
"""


def test_lists_every_network_with_the_papers_figures(capsys):
    models()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["model", "photo", "lol", "tiny"]
    assert "any dark photograph" in lines[1]
    assert "research use" in lines[1]
    assert lines[4] == ""
    assert [line.split()[0] for line in lines[6:]] == list_models()
    restormer = next(line for line in lines if line.startswith("restormer "))
    assert "26.13 M" in restormer
    assert restormer.split().index("144.25") < restormer.split().index("145.99")


def test_json_holds_exact_counts(capsys):
    models(as_json=True)
    listed = json.loads(capsys.readouterr().out)
    assert list(listed["shipped"]) == list_shipped_models()
    for name, model in listed["shipped"].items():
        assert model["bytes"] == (MODELS_FOLDER / f"{name}.onnx").stat().st_size
        network = load_model(MODELS_FOLDER / f"{name}.safetensors")
        assert model["parameters"] == sum(part.numel() for part in network.parameters())
    figures = listed["networks"]
    assert sorted(figures) == list_models()
    assert figures["restormer"]["base"]["parameters"] == 26126644
    assert figures["restormer"]["rule"] == "fvcore"


def test_a_terminal_gets_a_table(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    models()
    output = capsys.readouterr().out
    assert "─" in output or "━" in output
    assert "restormer_small" in output


def test_works_without_torch():
    result = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "restormer" in result.stdout
