"""The page on adding a backbone works as it stands: its code is run, and what it promises is looked at."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from undim.nets import create_model
from undim.nets.registry import REGISTRY
from undim.redundancy.cutting import Cut, cut_down
from undim.redundancy.resetting import reset

PAGE = Path(__file__).parents[2] / "docs" / "add-a-backbone.md"


@pytest.fixture
def followed(tmp_path, monkeypatch):
    """Names that the page's code leaves, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("glow_of_the_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.manual_seed(0)
    try:
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
            exec(compile(block, str(PAGE), "exec"), module.__dict__)  # noqa: S102 - the page is ours
        yield module
    finally:
        REGISTRY.pop("glow", None)


@pytest.mark.slow
def test_the_page_s_backbone_gets_everything_without_an_edit_to_the_package(followed, tmp_path):
    model, picture = followed.model, followed.pictures[0][..., :23, :31]  # an odd size
    with torch.no_grad():
        expected = model(picture)
        assert torch.equal(followed.again(picture), expected)
        (found,) = onnxruntime.InferenceSession(tmp_path / "glow.onnx").run(["enhanced"], {"image": picture.numpy()})
    assert expected.shape == picture.shape
    assert np.abs(found - expected.numpy()).max() < 1e-5

    assert model.decoder[2].adr is not None
    assert model.encoder[0].adr is None
    # By hand: every dense convolution at 32 x 32 of 64 x 64 pixels, attention's two products, and ADR with POG.
    convs = (12 * 4 * 9 + 4 * 12 * 9) + 2 * (4 * 12 + 4 * 4) + 3 * (4 * 8 + 8 * 4 * 9)
    attention = 2 * 2 * 4 * 4
    assert followed.multiply_adds > (convs + attention) * 32 * 32
    assert followed.multiply_adds < 1.1 * (convs + attention + 2 * 2 * 12 + 12) * 32 * 32

    before = {name: value.clone() for name, value in model.state_dict().items()}
    with reset(model, "decoder.2", 0), torch.no_grad():
        assert torch.equal(model.decoder[2].temperature, torch.ones(1, 1, 1))
        assert not torch.equal(model(picture), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert set(followed.redundancy.ratios) == {"encoder.0", "decoder.2"}

    smaller, spec = cut_down(model, followed.spec, Cut(blocks=("decoder.0",), hidden={"encoder.1": (0, 2, 5)}))
    assert spec.overrides == {"blocks": 1, "hidden": {"encoder.1": 3}}
    assert smaller(picture).shape == picture.shape
    assert create_model("glow", blocks=3).decoder[3].qkv_channels == 12
