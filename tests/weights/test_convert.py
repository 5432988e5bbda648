import pickle
from pathlib import Path

import pytest
import torch
from official import assert_public_output, load_fixture
from safetensors.torch import save_file

from undim.errors import CheckpointError, UsageError
from undim.nets import create_model
from undim.weights.convert import convert, expansion_factor, recognise, unwrap
from undim.weights.files import load_model

NAMES = ["restormer_biasfree", "restormer_withbias", "retinexformer", "cidnet", "cidnet_norm"]


@pytest.fixture(scope="module")
def weights():
    return load_fixture("retinexformer")[1]


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_of_any_size_are_recognised_and_give_the_public_output(name, tmp_path):
    config, state, image, expected = load_fixture(name)
    torch.save({"params": state}, tmp_path / "public.pth")
    spec = convert(tmp_path / "public.pth", tmp_path / "ours.safetensors")
    assert spec.architecture == name.partition("_")[0]
    assert spec.overrides == config
    with torch.no_grad():
        output = load_model(tmp_path / "ours.safetensors")(image)
    assert_public_output(output, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["restormer", "retinexformer", "cidnet"])
def test_published_sizes_are_recognised(name):
    with torch.device("meta"):
        published = create_model(name)
        state = published.state_dict()
        rebuilt = recognise(state, "it").build().state_dict()
    assert {key: value.shape for key, value in rebuilt.items()} == {key: value.shape for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"params": state},
        lambda state: {"params_ema": state, "params": {"other": torch.ones(1)}},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3},
        lambda state: {"model": {"state_dict": {f"module._orig_mod.{key}": value for key, value in state.items()}}},
        lambda state: state | {"body.0.total_ops": torch.ones(1), "total_params": torch.ones(1)},
    ],
    ids=["bare", "params", "ema first", "module", "twice", "counted by thop"],
)
def test_wrappers_are_unwrapped(wrap, weights):
    unwrapped = unwrap(wrap(weights))
    assert unwrapped.keys() == weights.keys()
    assert all(unwrapped[key] is value for key, value in weights.items())


def test_safetensors_are_read_as_well(weights, tmp_path):
    save_file(weights, tmp_path / "public.safetensors")
    assert convert(tmp_path / "public.safetensors", tmp_path / "ours.safetensors").overrides["n_feat"] == 8


def assert_refused(state, tmp_path, message):
    torch.save(state, tmp_path / "public.pth")
    with pytest.raises(CheckpointError, match=message) as raised:
        convert(tmp_path / "public.pth", tmp_path / "ours.safetensors")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "ours.safetensors").exists()


def test_a_missing_weight_is_named_with_the_nearest_architecture(weights, tmp_path):
    state = {key: value for key, value in weights.items() if not key.endswith("mapping.weight")}
    assert_refused(state, tmp_path, r"nearest to retinexformer, but .*lacks body\.0\.denoiser\.mapping\.weight\.")


def test_a_missing_weight_that_tells_the_size_is_named_too(tmp_path):
    state = load_fixture("restormer_withbias")[1]
    del state["patch_embed.proj.weight"]
    assert_refused(state, tmp_path, r"nearest to restormer, but lacks patch_embed\.proj\.weight,")


def test_another_shape_is_named(weights, tmp_path):
    state = weights | {"body.0.estimator.conv2.bias": torch.zeros(4)}
    assert_refused(
        state, tmp_path, r"retinexformer, but .*other shapes for body\.0\.estimator\.conv2\.bias \(4,\) \(not \(3,\)\)"
    )


def test_a_foreign_network_is_refused(tmp_path):
    assert_refused(
        {"conv.weight": torch.ones(3)},
        tmp_path,
        "not a checkpoint of restormer, retinexformer, cidnet.* They begin with conv.weight",
    )


def test_weights_that_are_not_finite_are_refused(weights, tmp_path):
    state = weights | {"body.0.estimator.conv2.bias": torch.tensor([0.0, float("nan"), 0.0])}
    assert_refused(state, tmp_path, r"not finite numbers: body\.0\.estimator\.conv2\.bias")


@pytest.mark.parametrize("state", [{}, [1, 2], {"epoch": 3}, torch.ones(2)], ids=["empty", "list", "numbers", "tensor"])
def test_a_checkpoint_without_weights_is_refused(state, tmp_path):
    assert_refused(state, tmp_path, "holds no weights")


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path(__file__).with_name("executed"),))


def test_nothing_in_a_pickle_is_executed(tmp_path):
    path = tmp_path / "trap.pth"
    for write in (lambda: torch.save({"params": Trap()}, path), lambda: path.write_bytes(pickle.dumps(Trap()))):
        write()
        with pytest.raises(CheckpointError) as raised:
            convert(path, tmp_path / "ours.safetensors")
        assert "\n" not in str(raised.value)
    assert not Path(__file__).with_name("executed").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 half a zip", b"\x80\x02}q\x00"], ids=repr)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_give_one_line(content, suffix, tmp_path):
    path = tmp_path / f"public{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged") as raised:
        convert(path, tmp_path / "ours.safetensors")
    assert "\n" not in str(raised.value)


def test_a_truncated_checkpoint_gives_one_line(weights, tmp_path):
    path = tmp_path / "public.pth"
    torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="damaged"):
        convert(path, tmp_path / "ours.safetensors")


def test_a_folder_is_told_apart_from_a_file_that_is_absent(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder: give the checkpoint in it"):
        convert(tmp_path, tmp_path / "ours.safetensors")


def test_a_pickle_that_is_refused_costs_one_line(tmp_path, recwarn):
    path = tmp_path / "public.pth"
    path.write_bytes(pickle.dumps(Trap(), protocol=4))
    with pytest.raises(CheckpointError):
        convert(path, tmp_path / "ours.safetensors")
    assert not recwarn.list


def test_an_absent_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*absent\.pth"):
        convert(tmp_path / "absent.pth", tmp_path / "ours.safetensors")


def test_an_existing_output_is_kept(weights, tmp_path):
    torch.save(weights, tmp_path / "public.pth")
    output = tmp_path / "ours.safetensors"
    output.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists"):
        convert(tmp_path / "public.pth", output)
    assert output.read_bytes() == b"mine"
    convert(tmp_path / "public.pth", output, overwrite=True)
    assert load_model(output)


@pytest.mark.parametrize(
    ("factor", "channels"), [(2.66, (48, 96, 192, 384)), (2.66, (8, 16, 32, 64)), (2.0, (6, 12)), (2.5, (10,))]
)
def test_the_expansion_factor_is_recovered(factor, channels):
    hidden = {width: int(width * factor) for width in channels}
    found = expansion_factor(hidden)
    assert {width: int(width * found) for width in channels} == hidden
