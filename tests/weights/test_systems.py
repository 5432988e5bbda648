"""What is told of a public checkpoint: whose it is, and figures that are those of the paper's table."""

import hashlib
import json
from importlib.resources import files

import pytest
import torch

from undim.nets import create_model
from undim.weights.convert import FAMILIES, convert, recognise
from undim.weights.files import read_spec
from undim.weights.systems import SETS, SYSTEMS

TABLE = json.loads((files("undim") / "paper" / "published.json").read_text())["table6"]
ROWS = {
    "restormer": "Restormer",
    "retinexformer": "Retinexformer",
    "cidnet": "CIDNet",
    "ruas": "RUAS",
    "retinexnet": "RetinexNet",
    "kind": "KinD",
    "enlightengan": "EnlightenGAN",
    "snr_net": "SNR-Net",
    "llformer": "LLFormer",
    "retinexmamba": "RetinexMamba",
    "rsfnet": "RSFNet",
}
"""By architecture, the row of table 6."""


def test_every_checkpoint_that_is_recognised_has_a_system():
    assert list(SYSTEMS) == [family.architecture for family in FAMILIES]
    assert {name for name, one in SYSTEMS.items() if one.scores is not None} == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_scores_are_those_of_the_table(name):
    for data, score in zip(SETS, SYSTEMS[name].scores, strict=True):
        printed = TABLE[ROWS[name]][data.lower()]
        assert (None if score is None else {"psnr": score[0], "ssim": score[1]}) == (
            None if printed is None or printed["psnr"] is None else printed
        )


@pytest.mark.parametrize("name", ["restormer", "retinexformer", "cidnet"])
def test_the_published_size_has_the_published_scores(name):
    with torch.device("meta"):
        notes = recognise(create_model(name).state_dict(), "it").notes
    score = TABLE[ROWS[name]]["lol-v1"]
    assert notes["published scores"].startswith(f"LOL-v1 {score['psnr']:.2f} / {score['ssim']:.3f}, LOL-v2-real")
    assert {"Restormer": "non-commercial"}.get(ROWS[name], "MIT") in notes["licence"]
    assert notes["system"].startswith(("Restormer (", "Retinexformer (", "HVI-CIDNet ("))


def test_another_size_has_none(tmp_path):
    torch.save(create_model("cidnet", channels=(4, 4, 8, 16)).state_dict(), tmp_path / "small.pth")
    convert(tmp_path / "small.pth", tmp_path / "small.safetensors")
    notes = read_spec(tmp_path / "small.safetensors").notes
    assert notes["system"].startswith("HVI-CIDNet")
    assert "published scores" not in notes
    digest = hashlib.sha256((tmp_path / "small.pth").read_bytes()).hexdigest()
    assert notes["read from"] == f"small.pth (sha256 {digest})"
