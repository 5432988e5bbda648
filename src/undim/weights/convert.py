"""Public checkpoints of the backbones, of any size, to Undim's files.

The architecture is recognised by the names of the weights, its size by their shapes. Pickles are read with
`weights_only=True`: nothing in the file is executed.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from undim.errors import CheckpointError, ModelError, UndimError
from undim.nets import create_model
from undim.weights.files import ModelSpec, check_state, is_own, load_model, read_spec, save_model
from undim.weights.systems import SYSTEMS

State = dict[str, Tensor]

WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model_state", "model", "generator", "net")
"""Keys under which training scripts keep the weights, most wanted first."""
PREFIXES = ("module.", "_orig_mod.")
"""What data-parallel and compiled modules put before each name."""
PARTS = {"net1_": "DecomNet.", "net2_": "RelightNet."}
"""How names begin in files of one part of a network -> what stands before them in the whole network."""
LEFTOVERS = ("total_ops", "total_params")
"""Last part of names that thop leaves in networks it has counted."""


def convert(
    checkpoint: Path | Sequence[Path],
    output: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> ModelSpec:
    """Convert a public checkpoint to an Undim file.

    Args:
        checkpoint: a pickle of PyTorch (.pth, .pt, .ckpt, ...) or a .safetensors file, or several that hold the parts
            of one network. An Undim file keeps its own settings and notes.
        output: the .safetensors file to write.
        settings: constructor arguments of the network that its weights do not tell, such as {"variant": "upe"} of RUAS.
        overwrite: whether `output` may be replaced.

    Returns:
        What was recognised; its notes name the system, its licence, what its authors set, the scores that were
        published of a network of this size, and the files that were read with their checksums.

    Raises:
        CheckpointError: if the checkpoint is unreadable, unsafe or of another architecture, or writing fails.
        ModelError: if the network has no such setting, or the weights tell another value.
        UsageError: if `output` exists.
    """
    files = [Path(checkpoint)] if isinstance(checkpoint, str | Path) else [Path(file) for file in checkpoint]
    if len(files) == 1 and (own := _read_own(files[0])) is not None:
        spec, state = own
    else:
        spec, state = _read_public(files)
    spec = replace(spec, overrides={**spec.overrides, **(settings or {})})
    model = spec.build()
    shapes, wanted = ({name: tensor.shape for name, tensor in part.items()} for part in (state, model.state_dict()))
    if shapes != wanted:
        raise ModelError(
            f"{', '.join(f'{key}={value}' for key, value in (settings or {}).items())}: the weights of"
            f" {spec.architecture} are of another size, which their shapes tell. Leave that setting out."
        )
    model.load_state_dict(state)
    save_model(spec, model, output, overwrite=overwrite)
    return spec


def _read_own(file: Path) -> tuple[ModelSpec, State] | None:
    """What is in an Undim file; None if it is another one."""
    if file.suffix != ".safetensors" or not is_own(file):
        return None
    return read_spec(file), dict(load_model(file).state_dict())


def _read_public(files: Sequence[Path]) -> tuple[ModelSpec, State]:
    """The network in public checkpoints that hold its parts, and its weights."""
    state: State = {}
    for file in files:
        part = read_checkpoint(file)
        twice = state.keys() & part.keys()
        if twice:
            raise CheckpointError(
                f"{file} holds {min(twice)}, which a file before it holds too: give the parts of one network only."
            )
        state |= part
    spec = recognise(state, ", ".join(map(str, files)))
    read = ", ".join(f"{file.name} (sha256 {hashlib.sha256(file.read_bytes()).hexdigest()})" for file in files)
    return replace(spec, notes=spec.notes | {"read from": read}), state


def read_checkpoint(path: Path) -> State:
    """The weights in a checkpoint, unwrapped from what training scripts put around them.

    Raises:
        CheckpointError: if there are none, they are not finite, or the file is absent, damaged or unsafe.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: give the checkpoint in it.")
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    if path.suffix == ".safetensors":
        try:
            state = unwrap(load_file(path))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is not a safetensors file or is damaged.") from error
    else:
        state = unwrap(_unpickle(path))
    if not state:
        raise CheckpointError(f"{path} holds no weights: neither at its top nor under {', '.join(WRAPPERS)}.")
    broken = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(f"{path} holds weights that are not finite numbers: {broken[0]} ({len(broken)} in all).")
    return state


def _unpickle(path: Path) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):  # of the pickle's protocol; what is refused is said below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found:
            raise CheckpointError(
                f"{path} holds more than weights ({found[1]}), and unpickling that could execute code: it is not"
                " loaded. Save its state dict alone, on a machine that trusts the file."
            ) from error
        raise CheckpointError(f"{path} is not a PyTorch checkpoint or is damaged.") from error
    except Exception as error:  # a damaged file raises nearly anything: RuntimeError, EOFError, KeyError, ...
        raise CheckpointError(f"{path} is not a PyTorch checkpoint or is damaged.") from error


def unwrap(content: object) -> State:
    """The state dict inside a checkpoint's content, prefixes removed; empty if there is none."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        return {}
    state = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor) and name.rpartition(".")[2] not in LEFTOVERS
    }
    while any(state and all(name.startswith(prefix) for name in state) for prefix in PREFIXES):
        state = {name.partition(".")[2]: value for name, value in state.items()}
    return {_full_name(name): value for name, value in state.items()}


def _full_name(name: str) -> str:
    """The name in the whole network of a weight whose file holds one part of it."""
    return next((part + name for start, part in PARTS.items() if name.startswith(start)), name)


def recognise(state: State, owner: str) -> ModelSpec:
    """The architecture and size that weights belong to.

    Args:
        state: names and weights.
        owner: begins the message, such as the file's name.

    Raises:
        CheckpointError: for foreign weights; it names the nearest architecture and the first differences.
    """
    candidates = [_fit(family, state) for family in FAMILIES]
    nearest = max(candidates, key=lambda candidate: candidate.likeness)
    if not nearest.likeness:
        names = ", ".join(family.architecture for family in FAMILIES)
        raise CheckpointError(
            f"{owner} is not a checkpoint of {names}: no name of its weights is known. They begin with"
            f" {', '.join(list(state)[:3])}."
        )
    if nearest.absent is not None:
        raise CheckpointError(
            f"{owner} is nearest to {nearest.spec.architecture}, but lacks {nearest.absent}, which would tell its size."
        )
    for name in nearest.expected.keys() - state.keys():
        if name.endswith(".num_batches_tracked"):  # older than this count, which evaluation does not read
            state[name] = torch.tensor(0)
    check_state(state, nearest.expected, f"{owner} is nearest to {nearest.spec.architecture}, but")
    architecture = nearest.spec.architecture
    published = {name: tensor.shape for name, tensor in _shapes(architecture, {}).items()}
    as_published = published == {name: tensor.shape for name, tensor in nearest.expected.items()}
    return replace(nearest.spec, notes=SYSTEMS[architecture].notes(published_size=as_published))


@dataclass(frozen=True)
class Family:
    """One architecture whose public checkpoints are known."""

    architecture: str
    infer: Callable[[State], dict[str, Any]]
    """Constructor arguments from shapes; raises KeyError or IndexError where a weight it needs is absent."""


@dataclass(frozen=True)
class Candidate:
    """An architecture held against some weights."""

    spec: ModelSpec
    expected: State
    """Names and shapes (on the meta device) that it would have in the size inferred."""
    likeness: float
    """Common names as a part of all names, 0 to 1."""
    absent: str | None
    """A weight that is needed to tell the size and is not there; the published size then stands for it."""


def _fit(family: Family, state: State) -> Candidate:
    absent = None
    settings: dict[str, Any] = {}
    try:
        settings = family.infer(state)
        expected = _shapes(family.architecture, settings)
    except KeyError as error:
        absent = str(error.args[0])
        expected = _shapes(family.architecture, {})
    except (IndexError, ValueError, ZeroDivisionError, RuntimeError, UndimError):
        expected = _shapes(family.architecture, {})  # of a shape that no size has: hold the published size against it
    likeness = len(expected.keys() & state.keys()) / len(expected.keys() | state.keys())
    spec = ModelSpec(family.architecture, settings)
    return Candidate(spec, expected, likeness, absent)


def _shapes(architecture: str, settings: dict[str, Any]) -> State:
    with torch.device("meta"):
        return dict(create_model(architecture, **settings).state_dict())


def _count(state: State, prefix: str) -> int:
    """How many numbered modules `<prefix>.0`, `<prefix>.1`, ... there are."""
    return len({found[1] for name in state if (found := re.match(rf"{re.escape(prefix)}\.(\d+)\.", name))})


def _restormer(state: State) -> dict[str, Any]:
    levels = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
    hidden = {
        state[f"{level}.0.ffn.project_in.weight"].shape[1]: state[f"{level}.0.ffn.project_out.weight"].shape[1]
        for level in levels
    }
    return {
        "dim": state["patch_embed.proj.weight"].shape[0],
        "num_blocks": [_count(state, level) for level in levels],
        "num_refinement_blocks": _count(state, "refinement"),
        "heads": [state[f"{level}.0.attn.temperature"].shape[0] for level in levels],
        "ffn_expansion_factor": expansion_factor(hidden),
        "bias": "patch_embed.proj.bias" in state,
        "layer_norm": "WithBias" if "encoder_level1.0.norm1.body.bias" in state else "BiasFree",
    }


def expansion_factor(hidden: Mapping[int, int]) -> float:
    """The shortest decimal number f with int(channels * f) = hidden channels for each pair.

    Raises:
        ModelError: if there is none with at most six decimals.
    """
    lowest = max(width / channels for channels, width in hidden.items())
    for decimals in range(7):
        scale = float(10**decimals)
        factor = math.ceil(round(lowest * scale, 6)) / scale
        if all(int(channels * factor) == width for channels, width in hidden.items()):
            return factor
    raise ModelError(f"No single expansion factor gives these hidden channels: {dict(hidden)}.")


def _retinexformer(state: State) -> dict[str, Any]:
    network = "body.0.denoiser"
    rows = ("encoder_layers.0.0", "encoder_layers.1.0", "bottleneck")
    return {
        "n_feat": state[f"{network}.embedding.weight"].shape[0],
        "stage": _count(state, "body"),
        "num_blocks": [_count(state, f"{network}.{row}.blocks") for row in rows],
    }


def _cidnet(state: State) -> dict[str, Any]:
    return {
        "channels": [
            state["HVE_block0.1.weight"].shape[0],
            *(state[f"HVE_block{level}.down.0.weight"].shape[0] for level in (1, 2, 3)),
        ],
        "heads": [1, *(state[f"HV_LCA{level}.ffn.temperature"].shape[0] for level in (1, 2, 3))],
        "norm": "HVE_block1.norm.weight" in state,
    }


def _enlightengan(state: State) -> dict[str, Any]:
    # Weights without a count of batches come from a PyTorch whose bilinear resizing aligned the corners.
    return {"width": state["conv1_1.weight"].shape[0], "align_corners": "bn1_1.num_batches_tracked" not in state}


def _snr_net(state: State) -> dict[str, Any]:
    layer = "transformer.layer_stack.0"
    head_width = 64  # as published: shapes do not tell it
    return {
        "nf": state["conv_first_1.weight"].shape[0],
        "front_blocks": _count(state, "feature_extraction"),
        "back_blocks": _count(state, "recon_trunk"),
        "light_blocks": _count(state, "recon_trunk_light"),
        "layers": _count(state, "transformer.layer_stack"),
        "ffn_width": state[f"{layer}.pos_ffn.w_1.weight"].shape[0],
        "heads": state[f"{layer}.slf_attn.w_qs.weight"].shape[0] // head_width,
        "head_width": head_width,
    }


def _llformer(state: State) -> dict[str, Any]:
    levels = ("decoder_level1_0", "decoder_level2_0", "decoder_level3_0", "decoder_level4")
    hidden = {
        state[f"{level}.0.ffn.project_in.weight"].shape[1]: state[f"{level}.0.ffn.project_out.weight"].shape[1]
        for level in ("encoder_1", *levels)
    }
    return {
        "dim": state["patch_embed.proj.weight"].shape[0],
        "num_blocks": [_count(state, level) for level in levels],
        "num_refinement_blocks": _count(state, "refinement_1"),
        "ffn_expansion_factor": expansion_factor(hidden),
        "bias": "patch_embed.proj.bias" in state,
    }


def _retinexmamba(state: State) -> dict[str, Any]:
    network = "body.0.Restorer"
    rows = ("encoder_layers.0.0", "encoder_layers.1.0", "bottleneck")
    return {
        "n_feat": state[f"{network}.embedding.weight"].shape[0],
        "stage": _count(state, "body"),
        "num_blocks": [_count(state, f"{network}.{row}.blocks") for row in rows],
        "d_state": state[f"{network}.encoder_layers.0.0.blocks.0.1.A_logs"].shape[1],
    }


def _channels(name: str, setting: str = "channels") -> Callable[[State], dict[str, Any]]:
    """Reads one width off the number of a convolution's outputs."""
    return lambda state: {setting: state[name].shape[0]}


FAMILIES = (
    Family("restormer", _restormer),
    Family("retinexformer", _retinexformer),
    Family("cidnet", _cidnet),
    Family("zero_dce", _channels("e_conv1.weight", "filters")),
    Family("pairlie", lambda _state: {}),
    Family("ruas", lambda _state: {}),
    Family("retinexnet", _channels("DecomNet.shallow_feature_extraction.weight")),
    Family("retinexnet_port", _channels("DecomNet.net1_conv0.weight")),
    Family("kind", lambda _state: {}),
    Family("enlightengan", _enlightengan),
    Family("snr_net", _snr_net),
    Family("llformer", _llformer),
    Family("retinexmamba", _retinexmamba),
    Family("rsfnet", lambda _state: {}),
)
