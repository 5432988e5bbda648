"""ONNX files of other systems' networks against PyTorch, at sizes that the exporter did not see."""

import numpy as np
import onnxruntime
import pytest
import torch

from undim.cli.main import main
from undim.enhance.enhancer import Enhancer
from undim.errors import ModelError
from undim.nets import create_model
from undim.weights import export
from undim.weights.export import export_onnx
from undim.weights.files import ModelSpec, save_model

THIN = {
    "zero_dce": {"filters": 8},
    "pairlie": {},
    "ruas": {},
    "retinexnet": {"channels": 8},
    "retinexnet_port": {"channels": 8},
    "kind": {},
    "enlightengan": {"width": 4},
    "snr_net_small": {},
    "llformer": {"dim": 4, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1},
    "retinexmamba": {"n_feat": 8, "num_blocks": (1, 1, 1), "d_state": 2},
    "rsfnet": {},
}
"""The systems, thin where their settings allow it: the graph has the same shape."""
EXPORTED = (
    pytest.param("zero_dce", marks=pytest.mark.slow),
    pytest.param("retinexnet", marks=pytest.mark.slow),
    pytest.param("enlightengan", marks=pytest.mark.slow),
    pytest.param("snr_net_small", marks=pytest.mark.slow),
)
"""One that is cut into tiles, one whose zeros depend on the size, one that pads by itself, one with attention. An
export takes half a minute."""
SIZES = ((1, 3, 37, 51), (3, 3, 24, 88))


@pytest.mark.parametrize("name", EXPORTED)
def test_the_file_computes_what_the_network_does(name, tmp_path):
    torch.manual_seed(0)
    model = create_model(name, **THIN[name]).eval()
    export_onnx(model, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert [(one.name, one.shape) for one in session.get_inputs()] == [("image", ["N", 3, "H", "W"])]
    for size in SIZES:
        assert size not in (export.TRACED, *export.CHECKED)
        image = torch.rand(size)
        with torch.no_grad():
            expected = model(image).numpy()
        got = session.run(["enhanced"], {"image": image.numpy()})[0]
        assert np.abs(got - expected).max() < 2e-5 * max(1, np.abs(expected).max())


def test_what_onnx_cannot_hold_is_refused_in_one_line(tmp_path, capsys):
    spec = ModelSpec("retinexmamba", overrides=THIN["retinexmamba"])
    save_model(spec, spec.build(), tmp_path / "net.safetensors")
    assert main(["export", str(tmp_path / "net.safetensors"), "-o", str(tmp_path / "net.onnx")]) == 2
    assert "The runtime torch runs its file" in capsys.readouterr().err
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize("name", THIN)
def test_pictures_of_any_size_go_through_pytorch(name, tmp_path):
    torch.manual_seed(0)
    spec = ModelSpec(name, overrides=THIN[name])
    model = spec.build().eval()
    save_model(spec, model, tmp_path / "net.safetensors")
    with Enhancer(tmp_path / "net.safetensors", runtime="torch", precision="float32") as enhancer:
        for size in ((5, 3), (24, 41)):
            assert enhancer(np.full((*size, 3), 40, np.uint8)).shape == (*size, 3)
        pixels = np.random.default_rng(0).integers(0, 90, (24, 41, 3), np.uint8)
        with torch.no_grad():
            expected = model(torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0) / 255)[0]
        made = enhancer(pixels).astype(int)
    assert np.abs(made - (expected.clamp(0, 1) * 255).permute(1, 2, 0).numpy()).max() <= 0.51


@pytest.mark.parametrize("name", ["zero_dce", "ruas", "retinexnet"])
def test_tiles_of_a_network_of_convolutions_agree_with_the_whole_picture(name, tmp_path):
    torch.manual_seed(0)
    spec = ModelSpec(name, overrides=THIN[name])
    save_model(spec, spec.build(), tmp_path / "net.safetensors")
    pixels = np.random.default_rng(0).integers(0, 90, (264, 400, 3), np.uint8)
    whole, tiled = (
        Enhancer(tmp_path / "net.safetensors", runtime="torch", precision="float32", tile=tile)(pixels).astype(int)
        for tile in (0, 256)
    )
    assert np.abs(whole - tiled).max() <= 1


@pytest.mark.parametrize("name", ["rsfnet", "kind"])
def test_networks_that_take_more_from_the_whole_picture_are_not_cut(name, tmp_path):
    spec = ModelSpec(name)
    save_model(spec, spec.build(), tmp_path / "net.safetensors")
    with pytest.raises(ModelError, match="would not agree"):
        Enhancer(tmp_path / "net.safetensors", runtime="torch", precision="float32", tile=256)
