"""Which models are shipped, and which file a name means."""

from __future__ import annotations

import os
from pathlib import Path

from undim.errors import ModelError, suggest

DEFAULT_MODEL = "photo"

MODELS_FOLDER = Path(__file__).parent / "models"
"""Holds `<name>.onnx`, `<name>.safetensors` and the model card `<name>.md` of each shipped model."""


def list_shipped_models() -> list[str]:
    """Names of the models in the package, sorted."""
    return sorted(path.stem for path in MODELS_FOLDER.glob("*.onnx"))


def find_model(model: str | os.PathLike[str]) -> Path:
    """The file of a shipped model's name, or of a path that ends in `.onnx` or has a folder in it.

    Raises:
        ModelError: if there is no such model or file.
    """
    text = os.fspath(model)
    if not isinstance(model, str) or text.lower().endswith(".onnx") or Path(text).name != text:
        path = Path(text)
        if path.suffix.lower() == ".safetensors" and path.is_file():
            raise ModelError(f"{text} holds weights for PyTorch: undim export {text} -o FILE.onnx makes what is run.")
        if path.is_file():
            return path
        raise ModelError(f"There is no model file {text!r}. Give a .onnx file or one of: {_shipped()}.")
    names = list_shipped_models()
    if text in names:
        return MODELS_FOLDER / f"{text}.onnx"
    raise ModelError(
        f"There is no model {text!r}.{suggest(text, names)} Shipped: {_shipped()}; or give the path of a .onnx file."
    )


def _shipped() -> str:
    return ", ".join(list_shipped_models()) or "none in this installation"
