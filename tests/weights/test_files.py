import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from undim.errors import CheckpointError, ModelError, UsageError
from undim.weights.files import AdrSpec, ModelSpec, load_model, read_spec, save_model

TINY = {"channels": [4, 4, 8, 16]}
SPECS = [
    ModelSpec("retinexformer", {"n_feat": 8, "num_blocks": [1, 1, 1]}),
    ModelSpec("cidnet", TINY, AdrSpec("pog", bottleneck=3, embedding=8), {"data": "none"}),
    ModelSpec("cidnet", TINY, AdrSpec("dynamic", "all", bottleneck=2)),
    ModelSpec("cidnet", TINY, AdrSpec("static", "encoder", bottleneck=2)),
]


@pytest.fixture
def saved(tmp_path):
    spec = SPECS[1]
    model = spec.build()
    path = tmp_path / "model.safetensors"
    save_model(spec, model, path)
    return spec, model, path


def rewrite(path, header=None, **weights):
    """Replace weights or the header of a file."""
    content = load_file(path) | weights
    text = {"undim": json.dumps(header)} if header is not None else None
    save_file({name: value for name, value in content.items() if value is not None}, path, metadata=text)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.architecture}-{spec.adr and spec.adr.kernel}")
def test_a_network_comes_back_from_its_file_alone(spec, tmp_path):
    model = spec.build().eval()
    path = tmp_path / "model.safetensors"
    save_model(spec, model, path)
    loaded = load_model(path)
    assert read_spec(path) == spec
    assert not loaded.training
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(image), model(image))


def test_loading_draws_no_random_numbers(saved):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_model(saved[2])
    assert torch.equal(torch.rand(4), expected)


def test_saving_twice_gives_the_same_bytes(saved, tmp_path):
    spec, model, path = saved
    save_model(spec, model, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_an_existing_file_is_kept_unless_overwriting_is_asked_for(saved):
    spec, model, path = saved
    before = path.read_bytes()
    torch.nn.init.zeros_(model.trans.density_k)
    with pytest.raises(UsageError, match="allow overwriting"):
        save_model(spec, model, path)
    assert path.read_bytes() == before
    save_model(spec, model, path, overwrite=True)
    assert load_model(path).trans.density_k.item() == 0


def test_a_failed_write_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    spec, model, path = saved
    before = path.read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="could not be written: No space left on device"):
        save_model(spec, model, path, overwrite=True)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"end in \.safetensors"):
        save_model(SPECS[0], SPECS[0].build(), tmp_path / "model.pth")


def test_weights_of_another_network_are_not_saved_under_a_spec(tmp_path):
    with pytest.raises(CheckpointError, match=r"has the unknown .*\.adr\."):
        save_model(ModelSpec("cidnet", TINY), SPECS[1].build(), tmp_path / "model.safetensors")
    assert not any(tmp_path.iterdir())


def test_damaged_values_are_found_by_the_checksum(saved):
    path = saved[2]
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged: its weights do not have the checksum"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 64])
def test_a_file_that_is_no_safetensors_gives_one_line(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a safetensors file or is damaged") as raised:
        load_model(path)
    assert "\n" not in str(raised.value)


def test_a_truncated_file_gives_one_line(saved):
    path = saved[2]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is not a safetensors file or is damaged"):
        load_model(path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no file of weights at .*absent\.safetensors"):
        load_model(tmp_path / "absent.safetensors")


def test_weights_without_a_header_are_pointed_to_convert(saved):
    rewrite(saved[2])
    with pytest.raises(CheckpointError, match="undim convert"):
        read_spec(saved[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2; this version of Undim reads format 1"),
        ({"adr": {"rank": 3}}, "not one that Undim writes"),
        ({"overrides": None}, "not one that Undim writes"),
        ({"architecture": None}, "names no architecture but None"),
        ({"architecture": "restormr"}, "Did you mean 'restormer'"),
        ({"overrides": {"channels": "abcd"}}, "cidnet cannot be built with"),
        ({"overrides": {"channels": [1]}}, "CIDNet has four levels"),
    ],
)
def test_headers_of_other_versions_are_refused(saved, change, message):
    path = saved[2]
    header = {"format": 1, "architecture": "cidnet", "overrides": TINY, "adr": None, "notes": {}, "sha256": ""}
    rewrite(path, header | change)
    with pytest.raises((CheckpointError, ModelError), match=message):
        read_spec(path).build()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"trans.density_k": None}, r"it lacks trans\.density_k"),
        ({"extra": torch.ones(1)}, "it has the unknown extra"),
        ({"trans.density_k": torch.ones(2)}, r"it has other shapes for trans\.density_k \(2,\) \(not \(1,\)\)"),
    ],
)
def test_loading_is_strict(saved, weights, message):
    from undim.weights.files import checksum

    spec, model, path = saved
    content = {name: value for name, value in (model.state_dict() | weights).items() if value is not None}
    header = {
        "format": 1,
        "architecture": "cidnet",
        "overrides": TINY,
        "adr": vars(spec.adr),
        "notes": {},
        "sha256": checksum(content),
    }
    save_file(content, path, metadata={"undim": json.dumps(header)})
    with pytest.raises(CheckpointError, match=message):
        load_model(path)
