"""Undim's own files of weights: safetensors whose header says which network to build."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from undim.atomic import replacing
from undim.errors import CheckpointError, UsageError
from undim.nets.backbone import Backbone
from undim.nets.config import AdrConfig, ConvsConfig, NetworkSpec

HEADER = "undim"
"""The key of the safetensors metadata under which everything below stands as JSON."""
FORMAT = 1


AdrSpec = AdrConfig
ConvsSpec = ConvsConfig


@dataclass(frozen=True)
class ModelSpec(NetworkSpec):
    """What to build before weights can be loaded, and what is to be known of them."""

    notes: dict[str, str] = field(default_factory=dict)
    """Free text for people, such as the data the weights were trained on and their licence."""


def save_model(spec: ModelSpec, model: Backbone, path: Path, *, overwrite: bool = False) -> None:
    """Write a network's weights; the file appears whole or not at all.

    Weights that 16-bit floats hold exactly (see `round_to_half`) are stored so; nothing is lost.

    Args:
        spec: what the weights belong to; checked against them.
        model: the network, not frozen.
        path: ends in ".safetensors".
        overwrite: whether a file that is there may be replaced.

    Raises:
        CheckpointError: if the weights are not those of the spec, or the file cannot be written.
        UsageError: if the file exists or its name ends otherwise.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UsageError(f"Weights are written as safetensors. Got {path}: let the name end in .safetensors.")
    if path.exists() and not overwrite:
        raise UsageError(
            f"{path} exists: allow overwriting, or choose another name.", code="file-exists", subject=str(path)
        )
    weights = {name: _compact(tensor.detach().cpu().contiguous()) for name, tensor in model.state_dict().items()}
    weights = _apart(weights)
    with torch.device("meta"):
        expected = spec.build().state_dict()
    check_state(weights, expected, "The model")
    header = {"format": FORMAT, **dataclasses.asdict(spec), "sha256": checksum(weights)}
    write_whole(path, save(weights, metadata={HEADER: json.dumps(header, sort_keys=True)}))


def round_to_half(model: Backbone) -> Backbone:
    """Round every parameter to the nearest value that 16-bit floats hold, in place.

    Files then store them in half the space without any further loss.

    Raises:
        CheckpointError: if a parameter leaves the range of 16-bit floats (65504), before any is changed.
    """
    rounded = [parameter.detach().half().to(parameter.dtype) for parameter in model.parameters()]
    if not all(bool(values.isfinite().all()) for values in rounded):
        raise CheckpointError("The weights do not fit 16-bit floats, which end at 65504.")
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), rounded, strict=True):
            parameter.copy_(values)
    return model


def _apart(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights, each in memory of its own: a layer that stands under two names is written twice."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in weights.items():
        apart[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return apart


def _compact(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32:
        return tensor
    half = tensor.half()
    return half if torch.equal(half.float(), tensor) else tensor


def load_model(path: Path) -> Backbone:
    """Rebuild a network from its file, ADR included, with the weights in it, in evaluation mode.

    Raises:
        CheckpointError: if the file is absent, damaged, not Undim's, or does not hold exactly the network's weights.
        ModelError: if it names an architecture or settings that this version does not have.
    """
    header, weights = _read(Path(path))
    if checksum(weights) != header.get("sha256"):
        raise CheckpointError(f"{path} is damaged: its weights do not have the checksum in its header. Fetch it again.")
    spec = _spec(header, path)
    with torch.random.fork_rng(devices=[]):  # the random weights that are about to be replaced cost no random numbers
        model = spec.build()
    check_state(weights, model.state_dict(), str(path))
    model.load_state_dict(weights)
    return model.eval()


def read_spec(path: Path) -> ModelSpec:
    """What a file's weights belong to, from its header alone.

    Raises:
        CheckpointError: if the file is absent, damaged or not Undim's.
    """
    return _spec(_read(Path(path), weights=False)[0], path)


def is_own(path: Path) -> bool:
    """Whether a safetensors file is one that Undim writes; not of one that is absent or damaged."""
    try:
        with safe_open(path, "pt") as file:
            return HEADER in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def check_state(weights: dict[str, Tensor], expected: dict[str, Tensor], owner: str) -> None:
    """Compare names and shapes of weights, both ways.

    Args:
        weights: what there is.
        expected: what there should be.
        owner: begins the message, such as the file's name.

    Raises:
        CheckpointError: naming the first differences.
    """
    problems = [
        *_listed("lacks", [name for name in expected if name not in weights]),
        *_listed("has the unknown", [name for name in weights if name not in expected]),
        *_listed(
            "has other shapes for",
            [
                f"{name} {tuple(weights[name].shape)} (not {tuple(tensor.shape)})"
                for name, tensor in expected.items()
                if name in weights and weights[name].shape != tensor.shape
            ],
        ),
    ]
    if problems:
        raise CheckpointError(f"{owner} does not fit its network: it {'; it '.join(problems)}.")


def _listed(verb: str, names: list[str], shown: int = 3) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return [f"{verb} {', '.join(names[:shown])}{more}"]


def checksum(weights: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, independent of their order in the file."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there in one step.

    Raises:
        CheckpointError: if that fails; nothing is left behind and a file that was there is intact.
    """
    try:
        with replacing(path) as stream:
            stream.write(content)
    except OSError as error:
        raise CheckpointError(f"{path} could not be written: {error.strerror}.") from error


def _read(path: Path, *, weights: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of an Undim file."""
    if not path.is_file():
        raise CheckpointError(f"There is no file of weights at {path}.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()} if weights else {}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a safetensors file or is damaged: {first_line(error)}.") from error
    try:
        header = json.loads(metadata[HEADER])
        known = header["format"] == FORMAT
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not say which network it belongs to. For a public checkpoint run `undim convert` first."
        ) from error
    if not known:
        raise CheckpointError(f"{path} has format {header['format']}; this version of Undim reads format {FORMAT}.")
    return header, tensors


def _spec(header: dict[str, Any], path: Path) -> ModelSpec:
    try:
        adr = None if header["adr"] is None else AdrSpec(**header["adr"])
        convs = None if header.get("convs") is None else ConvsSpec(**header["convs"])  # absent until it was added
        spec = ModelSpec(header["architecture"], dict(header["overrides"]), adr, dict(header["notes"]), convs=convs)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"The header of {path} is not one that Undim writes: {error}.") from error
    if not isinstance(spec.architecture, str):
        raise CheckpointError(f"The header of {path} names no architecture but {spec.architecture!r}.")
    return spec


def first_line(error: BaseException) -> str:
    """What an exception of a library says first, without a full stop; its name if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
