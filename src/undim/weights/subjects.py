"""What a MODEL argument means, once: a shipped model, a file, the folder of a training run, or other people's code.

Finding out needs neither torch nor a runtime; `undim.weights.foreign.open_network` loads what was found into PyTorch.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from undim.errors import CheckpointError, ModelError, UsageError, suggest
from undim.hub.finding import find_pulled_files
from undim.hub.reference import names_hub
from undim.shipped import MODELS_FOLDER, ONNX, WEIGHTS, list_shipped_models
from undim.weights.run_files import MEASURED

_FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_PICKLES = (".pth", ".pt", ".ckpt")
SubjectKind = Literal["shipped", "pulled", "onnx", "weights", "run", "factory"]


@dataclass(frozen=True)
class Subject:
    """A network that somebody named, and where it lies."""

    name: str
    """As it was named."""
    kind: SubjectKind
    """A shipped model; one pulled from a hub; an .onnx file; an Undim .safetensors file; a training run; or
    package.module:factory."""
    onnx: Path | None = None
    """The file that the runtimes run: of a shipped or pulled model or an .onnx file."""
    weights: Path | None = None
    """The file of weights that PyTorch loads: of all but an .onnx file; of a factory, those that were given with it."""
    multiple_of: int = 1
    """Of a factory: what its network needs the sides of pictures to be multiples of."""


def names_factory(text: str) -> bool:
    """Whether a text has the form `package.module:factory`."""
    return _FACTORY.fullmatch(text) is not None


def find_subject(model: str | os.PathLike[str], *, weights: Path | None = None, multiple_of: int = 1) -> Subject:
    """Find what a name or a path means.

    Args:
        model: in this order: the name of a shipped model, `hf:owner/name@revision` of one that was pulled,
            `package.module:factory`, the folder of a training run (its best weights, else its last average), a
            .safetensors file, or an .onnx file. A path object is only a path.
        weights: of a factory: the file with its weights.
        multiple_of: of a factory, see `Subject.multiple_of`.

    Raises:
        ModelError: if there is no such model or file (code "unknown-model").
        CheckpointError: if a folder holds no weights.
        UsageError: for a pickle (code "needs-conversion"), or for options of a factory with something else (code
            "factory-only").
    """
    text = os.fspath(model)
    shipped = isinstance(model, str) and text in list_shipped_models()
    if isinstance(model, str) and not shipped and names_factory(text):
        return Subject(text, "factory", weights=weights, multiple_of=multiple_of)
    if weights is not None or multiple_of != 1:
        raise UsageError(
            f"Weights of their own and sides of a multiple belong to package.module:factory. Got the model {text!r}.",
            code="factory-only",
            subject=text,
        )
    if shipped:
        twin = MODELS_FOLDER / f"{text}.safetensors"
        return Subject(text, "shipped", MODELS_FOLDER / f"{text}.onnx", twin if twin.is_file() else None)
    if isinstance(model, str) and names_hub(text):
        pulled = find_pulled_files(text)
        return Subject(text, "pulled", pulled.get(ONNX), pulled.get(WEIGHTS))
    path = Path(text)
    if path.is_dir():
        return Subject(text, "run", weights=_find_weights(path))
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise UsageError(
            f"{text} does not say which network it belongs to: run undim convert first, or name package.module:factory"
            " and give this file as its weights.",
            code="needs-conversion",
            subject=text,
        )
    if not path.is_file():
        names = list_shipped_models()
        raise ModelError(
            f"There is no model {text!r}.{suggest(text, names)} Give a shipped model's name ({', '.join(names)}), an"
            " .onnx or Undim .safetensors file, the folder of a training run, or package.module:factory.",
            code="unknown-model",
            subject=text,
        )
    if suffix == ".safetensors":
        return Subject(text, "weights", weights=path)
    return Subject(text, "onnx", onnx=path)


def _find_weights(run: Path) -> Path:
    there = next((run / name for name in MEASURED if (run / name).is_file()), None)
    if there is None:
        raise CheckpointError(f"The folder {run} holds neither {' nor '.join(MEASURED)}.", subject=os.fspath(run))
    return there
