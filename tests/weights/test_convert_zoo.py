import json

import pytest
import torch

from undim.cli.main import main
from undim.errors import CheckpointError, ModelError
from undim.nets import create_model
from undim.weights.convert import convert
from undim.weights.files import load_model, read_spec

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


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("ruas", "variant", "upe"),
        ("pairlie", "exponent", 0.2),
        ("snr_net", "resize", [64, 48]),
        ("rsfnet", "bypass", True),
    ],
)
def test_what_weights_do_not_tell_can_be_set(name, setting, value, tmp_path, capsys):
    torch.manual_seed(0)
    model, plain = (create_model(name, **NETWORKS[name], **more).eval() for more in ({setting: value}, {}))
    plain.load_state_dict(model.state_dict())
    torch.save(model.state_dict(), tmp_path / "public.pth")
    text = value if isinstance(value, str) else json.dumps(value)
    command = ["convert", str(tmp_path / "public.pth"), "-o", str(tmp_path / "ours.safetensors")]
    assert main([*command, "--set", f"{setting}={text}"]) == 0
    assert f"{setting}={value}" in capsys.readouterr().out
    image = torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        found = load_model(tmp_path / "ours.safetensors")(image)
        torch.testing.assert_close(found, model(image))
        assert not torch.allclose(found, plain(image), atol=1e-3)


def test_an_undim_file_keeps_its_settings_and_where_its_weights_come_from(tmp_path):
    model = create_model("enlightengan", width=4)
    old = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    first = convert(tmp_path / "old.pth", tmp_path / "first.safetensors")
    again = convert(tmp_path / "first.safetensors", tmp_path / "again.safetensors")
    assert again == first == read_spec(tmp_path / "again.safetensors")
    other = convert(tmp_path / "first.safetensors", tmp_path / "other.safetensors", settings={"align_corners": False})
    assert other.overrides == {"width": 4, "align_corners": False}
    assert other.notes["read from"].startswith("old.pth")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ruas", ["variant=night"], "variant"),
        ("ruas", ["tone=3"], "tone"),
        ("ruas", ["variant"], "--set takes key=value. Got 'variant'"),
        ("pairlie", ["exponent=NaN"], "exponent"),
    ],
)
def test_settings_that_do_not_fit_give_one_line(name, settings, message, tmp_path, capsys):
    torch.save(create_model(name).state_dict(), tmp_path / "public.pth")
    options = [part for one in settings for part in ("--set", one)]
    assert main(["convert", str(tmp_path / "public.pth"), "-o", str(tmp_path / "ours.safetensors"), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "ours.safetensors").exists()


def test_a_size_that_the_weights_tell_otherwise_is_refused(tmp_path):
    torch.save(create_model("enlightengan", width=4).state_dict(), tmp_path / "public.pth")
    with pytest.raises(ModelError, match="width=8: the weights of enlightengan are of another size"):
        convert(tmp_path / "public.pth", tmp_path / "ours.safetensors", settings={"width": 8})
