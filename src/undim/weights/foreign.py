"""Networks from other people's code: named as `package.module:factory`, told about in one line when they fail."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import CheckpointError, ModelError, UsageError, suggest
from undim.shipped import list_shipped_models
from undim.weights.convert import read_checkpoint
from undim.weights.files import ModelSpec, check_state, load_model, read_spec
from undim.weights.subjects import Subject, names_factory


def open_network(subject: Subject) -> tuple[nn.Module, ModelSpec | None]:
    """Load what was named into PyTorch, on the CPU, in evaluation mode.

    Returns:
        The network, and what its file says; None for networks of other code.

    Raises:
        UsageError: for an .onnx file, which PyTorch does not open (code "needs-weights").
        ModelError, CheckpointError: as `load_network` and `load_model`.
    """
    if subject.kind == "factory":
        return load_network(subject.name, subject.weights, subject.multiple_of), None
    if subject.weights is None:
        raise UsageError(
            f"This opens networks in PyTorch, by their weights. Got {subject.name!r}: give an Undim .safetensors"
            f" file, a training run's folder, package.module:factory, or one of: {', '.join(list_shipped_models())}.",
            code="needs-weights",
            subject=subject.name,
        )
    return load_model(subject.weights), read_spec(subject.weights)


def load_network(text: str, weights: Path | None = None, multiple_of: int = 1) -> nn.Module:
    """Make a network by calling somebody's factory.

    The current directory is put on the import path, first, and stays there, as with `python -m`: the code may import
    more when it runs. It is executed; name only what you trust.

    Args:
        text: `package.module:factory`; the factory takes no arguments and returns a module that maps N x 3 x H x W in
            [0, 1] to the same.
        weights: .safetensors, or a pickle of tensors alone, for exactly the network's weights; without it the network
            keeps those it was made with.
        multiple_of: sides that the network needs; others are padded (see `PaddedNetwork`).

    Returns:
        The factory's network in evaluation mode, inside a `PaddedNetwork` if `multiple_of` is above 1.

    Raises:
        ModelError: if the module or the factory is not there, cannot be called, raises, or returns anything else.
        CheckpointError: if the weights cannot be read or are not those of the network.
        UsageError: if the text has another form or `multiple_of` is below 1.
    """
    if not names_factory(text):
        raise UsageError(f"A network of other code is named package.module:factory. Got {text!r}.")
    if multiple_of < 1:
        raise UsageError(f"Sides are padded to a multiple of 1 or more. Got {multiple_of}.")
    network = _call(_find(text), text)
    if weights is not None:
        state = read_checkpoint(weights)
        check_state(state, network.state_dict(), str(weights))
        try:
            network.load_state_dict(state)
        except Exception as error:  # the network's own hooks may refuse them in any way
            raise CheckpointError(f"{weights} does not load into {text}: {describe_failure(error)}.") from error
    return (network if multiple_of == 1 else PaddedNetwork(network, multiple_of)).eval()


class PaddedNetwork(nn.Module):
    """A network that sees sides of a multiple, and whose output is cropped back.

    The right and the bottom are continued by reflection, or, where a side is too short for that, by its last pixels.

    Args:
        network: N x 3 x H x W to the same, for H and W that are multiples.
        multiple_of: 1 or more.
    """

    def __init__(self, network: nn.Module, multiple_of: int) -> None:
        super().__init__()
        self.network = network
        self.multiple_of = multiple_of

    def forward(self, image: Tensor) -> Tensor:
        """N x 3 x H x W to the same, for any H and W."""
        height, width = image.shape[-2:]
        down, right = -height % self.multiple_of, -width % self.multiple_of
        mode = "reflect" if down < height and right < width else "replicate"
        output: Tensor = self.network(F.pad(image, (0, right, 0, down), mode=mode))
        return output[..., :height, :width] if isinstance(output, Tensor) else output

    def extra_repr(self) -> str:
        """What printing tells: figures depend on it, and no weight does."""
        return f"multiple_of={self.multiple_of}"


def describe_failure(error: BaseException) -> str:
    """An exception of other people's code in one line: its name, its first line and where it was raised.

    Args:
        error: as caught. Where it was raised is the innermost line outside installed packages.
    """
    lines = str(error).splitlines()
    reason = f"{type(error).__name__}{': ' + lines[0].rstrip('.') if lines else ''}"
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not {"site-packages", "dist-packages"} & set(Path(frame.filename).parts) and "<frozen" not in frame.filename
    ]
    place = own[-1] if own else None
    if place is None or Path(place.filename) == Path(__file__):
        return reason
    return f"{reason} ({Path(place.filename).name}, line {place.lineno})"


def _find(text: str) -> Callable[[], object]:
    name, _, path = text.partition(":")
    found: object = _import(name)
    for part in path.split("."):
        if not hasattr(found, part):
            public = [word for word in dir(found) if not word.startswith("_")]
            raise ModelError(f"{name} has no {path!r}.{suggest(part, public)}")
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        raise ModelError(f"{text} is a network already. Give a function without arguments that returns it.")
    if not callable(found):
        raise ModelError(f"{text} is {_a(found)} and cannot be called. Give a function that returns the network.")
    return found


def _import(name: str) -> ModuleType:
    here = os.fspath(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ModelError(
                f"There is no module {error.name!r}: it is neither installed nor in the current directory, {here}."
            ) from error
        raise ModelError(f"Importing {name} failed: {describe_failure(error)}.") from error
    except (Exception, SystemExit) as error:  # scripts that read their command line when imported exit
        raise ModelError(f"Importing {name} failed: {describe_failure(error)}.") from error


def _call(factory: Callable[[], object], text: str) -> nn.Module:
    try:
        with torch.random.fork_rng(devices=[]):  # what follows does not depend on how many weights were drawn
            network = factory()
    except (Exception, SystemExit) as error:
        raise ModelError(f"{text}() failed: {describe_failure(error)}.") from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"{text}() returned {_a(network)}; it must return a torch.nn.Module.")
    return network


def _a(thing: object) -> str:
    return "None" if thing is None else f"a value of type {type(thing).__name__}"
