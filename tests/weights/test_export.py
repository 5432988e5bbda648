"""ONNX files: parity with PyTorch at sizes that were not traced, for every backbone with ADR and POG."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from undim.cli.main import main
from undim.errors import CheckpointError
from undim.nets import add_adr, create_model, freeze
from undim.weights import export
from undim.weights.export import export_onnx
from undim.weights.files import AdrSpec, ModelSpec, load_model, round_to_half, save_model

pytestmark = pytest.mark.slow  # an export takes half a minute; tests/weights/test_export_zoo.py has a quick one

SIZES = [(1, 3, 8, 8), (2, 3, 37, 51), (1, 3, 96, 64), (3, 3, 17, 130)]


def make(name, **adr):
    torch.manual_seed(0)
    settings = {"num_blocks": (1, 1, 1, 1)} if name == "restormer_small" else {}
    model = add_adr(create_model(name, **settings), bottleneck=4, embedding=8, **adr).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small network and the file that it was exported to (an export takes half a minute)."""
    model = make("candela_tiny").train()
    path = tmp_path_factory.mktemp("export") / "tiny.onnx"
    before = {key: value.clone() for key, value in model.state_dict().items()}
    export_onnx(model, path, metadata={"data": "none"})
    return model, path, before


def check_parity(model, path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("image", ["N", 3, "H", "W"])]
    assert [(o.name, o.shape) for o in session.get_outputs()][:1] == [("enhanced", ["N", 3, "H", "W"])]
    for size in SIZES:
        assert size not in (export.TRACED, *export.CHECKED)
        image = torch.rand(size)
        with torch.no_grad():
            expected = model(image).numpy()
        got = session.run(None, {"image": image.numpy()})[0]
        assert np.abs(got - expected).max() < 1e-5 * max(1, np.abs(expected).max())


def test_parity_of_our_own_backbone(tiny):
    model, path, _ = tiny
    check_parity(model, path)


@pytest.mark.parametrize("name", ["candela", "restormer_small", "retinexformer_small", "cidnet_small"])
def test_parity(name, tmp_path):
    model = make(name)
    export_onnx(model, tmp_path / "net.onnx")
    check_parity(model, tmp_path / "net.onnx")


def test_file_says_what_it_was_told_and_nothing_of_the_machine_it_was_made_on(tiny):
    _, path, _ = tiny
    proto = onnx.load(path)
    assert {p.key: p.value for p in proto.metadata_props} == {"producer": "undim", "data": "none", "tile_overlap": "32"}
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    assert b"site-packages" not in path.read_bytes()


def test_exporting_leaves_the_model_alone(tiny):
    model, _, before = tiny
    assert model.training
    assert before.keys() == model.state_dict().keys()
    assert freeze(model).state_dict().keys() != before.keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_half_precision_weights_are_stored_as_such_and_nothing_is_lost(tiny, tmp_path):
    _, full, _ = tiny
    model = round_to_half(make("candela_tiny"))
    export_onnx(model, tmp_path / "half.onnx")
    assert (tmp_path / "half.onnx").stat().st_size < 0.8 * full.stat().st_size
    check_parity(model, tmp_path / "half.onnx")


def test_a_file_that_would_differ_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    with pytest.raises(CheckpointError, match="differs from PyTorch"):
        export_onnx(make("candela_tiny"), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_onnx_runtime_cannot_run_is_not_written(tmp_path, monkeypatch):
    def unknown(proto):
        proto.opset_import.add(domain="nowhere", version=1)
        proto.graph.node[0].domain = "nowhere"

    monkeypatch.setattr(export, "speed_up", unknown)
    with pytest.raises(CheckpointError, match="ONNX Runtime cannot run the ONNX form of Candela, so nothing") as caught:
        export_onnx(make("candela_tiny"), tmp_path / "net.onnx")
    assert "nowhere" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path, capsys):
    spec = ModelSpec("candela_tiny", adr=AdrSpec(embedding=8), notes={"data": "none"})
    save_model(spec, spec.build(), tmp_path / "full.safetensors")
    half = ["--half", "-o", str(tmp_path / "net.safetensors")]
    assert main(["export", str(tmp_path / "full.safetensors"), *half]) == 0
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "net")]
    assert sizes[1] < 0.6 * sizes[0]
    full, rounded = (load_model(tmp_path / f"{name}.safetensors").state_dict() for name in ("full", "net"))
    assert all(torch.equal(full[key].half().float(), value) for key, value in rounded.items())
    assert main(["export", str(tmp_path / "full.safetensors"), "-o", str(tmp_path / "copy.safetensors")]) == 2
    assert main(["export", str(tmp_path / "net.safetensors"), "-o", str(tmp_path / "net.onnx")]) == 0
    assert main(["export", str(tmp_path / "net.safetensors"), "-o", str(tmp_path / "net.onnx")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "net.safetensors"), "-o", str(tmp_path / "net.bin")]) == 2
    assert main(["export", str(tmp_path / "absent.safetensors"), "-o", str(tmp_path / "a.onnx")]) == 2
    image = torch.rand(1, 3, 20, 28)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = load_model(tmp_path / "net.safetensors")(image).numpy()
    assert np.abs(session.run(None, {"image": image.numpy()})[0] - expected).max() < 1e-5
