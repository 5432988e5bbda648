import pytest
import torch

from undim.errors import CheckpointError
from undim.nets import create_model
from undim.weights.convert import convert
from undim.weights.files import load_model

NETWORKS = {
    "zero_dce": {},
    "pairlie": {},
    "ruas": {},
    "retinexnet": {"channels": 8},
    "retinexnet_port": {"channels": 8},
    "enlightengan": {"width": 4},
    "snr_net": {"nf": 8, "ffn_width": 64, "heads": 2, "layers": 2},
    "llformer": {"dim": 4, "num_blocks": (1, 1, 1, 2), "num_refinement_blocks": 1},
    "retinexmamba": {"n_feat": 8, "num_blocks": (1, 1, 2), "d_state": 3},
    "rsfnet": {},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_is_recognised_by_its_keys_and_computes_the_same(name, tmp_path):
    torch.manual_seed(0)
    model = create_model(name, **NETWORKS[name]).eval()
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "public.pth")
    spec = convert(tmp_path / "public.pth", tmp_path / "ours.safetensors")
    assert spec.architecture == name
    assert spec.notes["licence"]
    image = torch.rand(1, 3, 16, 32)
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path / "ours.safetensors")(image), model(image))


def test_parts_in_files_of_their_own_make_one_network(tmp_path):
    model = create_model("retinexnet_port", channels=8)
    torch.save(model.DecomNet.state_dict(), tmp_path / "decom.tar")
    torch.save(model.RelightNet.state_dict(), tmp_path / "relight.tar")
    spec = convert([tmp_path / "decom.tar", tmp_path / "relight.tar"], tmp_path / "ours.safetensors")
    assert spec.architecture == "retinexnet_port"
    with pytest.raises(CheckpointError, match="a file before it holds too"):
        convert([tmp_path / "decom.tar", tmp_path / "decom.tar"], tmp_path / "twice.safetensors")


def test_weights_older_than_the_count_of_batches_align_corners(tmp_path):
    model = create_model("enlightengan", width=4)
    old = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    assert convert(tmp_path / "old.pth", tmp_path / "ours.safetensors").overrides["align_corners"]
