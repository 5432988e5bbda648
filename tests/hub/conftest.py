"""A hub on this machine, a home of its own for what is pulled, and a model to share."""

import shutil

import pytest
import stand_in

from undim.hub import finding
from undim.shipped import MODELS_FOLDER

CARD = "---\nlicense: cc-by-nc-4.0\n---\n# Night\n\nMade by a test.\n"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The folder below which everything pulled lies."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("UNDIM_PULL", raising=False)
    finding._say_once.cache_clear()
    return tmp_path / "cache" / "undim" / "hub"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """One that answers where HF_ENDPOINT points, and knows who asks."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in speaks the protocol before that one
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", stand_in.TOKEN)
    monkeypatch.setattr("time.sleep", lambda _: None)  # huggingface_hub waits before it asks again
    with stand_in.running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        yield hub


@pytest.fixture
def model(tmp_path):
    """night.onnx, with weights and card beside it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for suffix in ("onnx", "safetensors"):
        shutil.copy(MODELS_FOLDER / f"tiny.{suffix}", folder / f"night.{suffix}")
    (folder / "night.md").write_text(CARD)
    return folder / "night.onnx"
