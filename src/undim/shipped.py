"""Which models are shipped, and which file a name means."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from undim.errors import ModelError, suggest

DEFAULT_MODEL = "photo"

MODELS_FOLDER = Path(__file__).parent / "models"
"""Holds `<name>.onnx`, `<name>.safetensors` and the model card `<name>.md` of each shipped model."""
CHECKSUMS = "SHA256SUMS"
"""Beside them, the checksums of all."""
PLAN_FOLDERS = ("recipes", "studies")
"""Of training recipes and studies: in the package, or, of a clone, beside `src`."""
ONNX, WEIGHTS = ".onnx", ".safetensors"
"""Suffixes of a model file that runtimes run, and of the weights of the same network for PyTorch."""


@dataclass(frozen=True)
class ShippedModel:
    """What a user chooses by."""

    purpose: str
    parameters: int
    licence: str


_RESEARCH = "research use, as the data it was trained on"
SHIPPED = {
    "photo": ShippedModel("any dark photograph (the default)", 1_481_835, _RESEARCH),
    "lol": ShippedModel("comparing on LOL-v1, whose scenes it remembers", 1_482_477, _RESEARCH),
    "tiny": ShippedModel("phones and video", 94_601, _RESEARCH),
}
"""The models in the package, in the order in which they are told."""


def list_shipped_models() -> list[str]:
    """Names of the models in the package, sorted."""
    return sorted(path.stem for path in MODELS_FOLDER.glob(f"*{ONNX}"))


def find_model(model: str | os.PathLike[str], reads: str = ONNX) -> Path:
    """The file of a shipped model's name, or of a path that has a model file's suffix or a folder in it.

    Args:
        model: name or path.
        reads: suffix of the files that will do. Of the two files of one network, `WEIGHTS` takes the other one too
            where the path names an .onnx file: the weights lie beside it.

    Raises:
        ModelError: if there is no such model or file, or it is weights alone where those will not do.
    """
    text = os.fspath(model)
    names = list_shipped_models()
    if isinstance(model, str) and text in names:
        return MODELS_FOLDER / f"{text}{reads}"
    path = Path(text)
    if isinstance(model, str) and path.suffix.lower() not in (ONNX, WEIGHTS) and path.name == text:
        raise ModelError(
            f"There is no model {text!r}.{suggest(text, names)} Shipped: {_shipped()}; or give the path of a .onnx"
            " file.",
            subject=text,
        )
    if not path.is_file():
        raise ModelError(f"There is no model file {text!r}. Give a .onnx file or one of: {_shipped()}.", subject=text)
    if path.suffix.lower() == WEIGHTS and reads != WEIGHTS:
        raise ModelError(
            f"{text} holds weights for PyTorch: take the runtime torch, or undim export {text} -o FILE.onnx makes what"
            " the others run.",
            code="weights",
            subject=text,
        )
    return path


def find_plan(path: Path) -> Path:
    """The file of a recipe or study: itself, or the shipped one where a path such as recipes/lol.yaml is not there.

    Args:
        path: as it was given; what is not found comes back as it is, for its reader to say so.

    Examples:
        >>> find_plan(Path("recipes/candela_pog.yaml")).is_file()  # wherever this runs
        True
        >>> find_plan(Path("recipes/no_such.yaml")).as_posix()
        'recipes/no_such.yaml'
    """
    if path.exists() or path.is_absolute() or len(path.parts) != 2 or path.parts[0] not in PLAN_FOLDERS:
        return path
    package = MODELS_FOLDER.parent
    return next((place / path for place in (package, package.parents[1]) if (place / path).is_file()), path)


def recorded_checksums() -> dict[str, str]:
    """SHA-256 of each model file as it was shipped, by the file's name; empty where the list is missing.

    The list is in the format that `sha256sum --check` reads.
    """
    try:
        lines = (MODELS_FOLDER / CHECKSUMS).read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def _shipped() -> str:
    return ", ".join(list_shipped_models()) or "none in this installation"
