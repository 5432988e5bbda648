"""What a MODEL argument means, with a file of each kind on the disk."""

import subprocess
import sys
from pathlib import Path

import pytest

from undim.errors import CheckpointError, ModelError, UsageError
from undim.shipped import MODELS_FOLDER, list_shipped_models
from undim.weights.subjects import Subject, find_subject


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "NET.ONNX", "net.safetensors", "net.pth", "odd"):
        Path(name).touch()
    for run, files in (("done", ("average",)), ("best", ("best", "average")), ("begun", ())):
        Path(run).mkdir()
        for name in files:
            Path(run, f"{name}.safetensors").touch()
    return tmp_path


@pytest.mark.parametrize("name", list_shipped_models())
def test_a_shipped_name_is_both_files_even_where_a_folder_has_the_name(here, name):
    Path(name).mkdir()
    found = find_subject(name)
    assert found == Subject(name, "shipped", MODELS_FOLDER / f"{name}.onnx", MODELS_FOLDER / f"{name}.safetensors")
    assert found.onnx.is_file()
    assert found.weights.is_file()


@pytest.mark.parametrize(
    ("model", "kind", "onnx", "weights"),
    [
        ("net.onnx", "onnx", "net.onnx", None),
        ("NET.ONNX", "onnx", "NET.ONNX", None),
        ("odd", "onnx", "odd", None),
        ("net.safetensors", "weights", None, "net.safetensors"),
        (Path("net.safetensors"), "weights", None, "net.safetensors"),
        ("done", "run", None, "done/average.safetensors"),
        (Path("best"), "run", None, "best/best.safetensors"),
        ("nets.mine:make", "factory", None, None),
        ("nets:Net.build", "factory", None, None),
    ],
)
def test_what_names_and_paths_mean(here, model, kind, onnx, weights):
    found = find_subject(model)
    assert (found.name, found.kind) == (str(model), kind)
    assert found.onnx == (None if onnx is None else Path(onnx))
    assert found.weights == (None if weights is None else Path(weights))


def test_a_factory_takes_weights_and_a_multiple(here):
    assert find_subject("nets:make", weights=Path("net.pth"), multiple_of=4) == Subject(
        "nets:make", "factory", weights=Path("net.pth"), multiple_of=4
    )


@pytest.mark.parametrize(
    ("model", "options", "error", "code", "words"),
    [
        ("photoo", {}, ModelError, "unknown-model", "Did you mean 'photo'"),
        ("absent.safetensors", {}, ModelError, "unknown-model", "There is no model 'absent.safetensors'"),
        (Path("photo"), {}, ModelError, "unknown-model", "There is no model"),
        ("net.pth", {}, UsageError, "needs-conversion", "run undim convert first"),
        ("begun", {}, CheckpointError, "", "neither best.safetensors nor average.safetensors"),
        ("photo", {"multiple_of": 4}, UsageError, "factory-only", "belong to package.module:factory"),
        ("net.onnx", {"weights": Path("net.pth")}, UsageError, "factory-only", "belong to package.module:factory"),
    ],
)
def test_what_means_nothing_is_refused(here, model, options, error, code, words):
    with pytest.raises(error, match=words) as caught:
        find_subject(model, **options)
    assert caught.value.code == code
    assert "--" not in str(caught.value)


def test_finding_needs_no_torch():
    code = "import sys, undim.weights.subjects as s; s.find_subject('photo'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
