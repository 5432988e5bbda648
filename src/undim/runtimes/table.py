"""What can run a model: ONNX Runtime, which is always there, and others by name where they are installed.

None but the chosen one is imported.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from undim.contract import Precision
from undim.errors import UsageError, suggest
from undim.runtimes.base import Runtime
from undim.runtimes.precision import PrecisionWish, ReducedRuntime, settle_precision

RuntimeName = Literal["onnxruntime", "openvino", "torch", "cuda", "tensorrt", "coreml", "directml"]
RuntimeWish = RuntimeName | Literal["auto"]
DEFAULT_RUNTIME: RuntimeName = "onnxruntime"
PAYS_FROM = 3_000_000
"""Pixels of one picture from which on a runtime that starts more slowly than ONNX Runtime can win."""
PAYS_FOR_PICTURES = 16
"""Pictures in one run from which on it can win, however small they are."""


@dataclass(frozen=True)
class Kind:
    """One runtime before it is loaded."""

    packages: tuple[str, ...]
    """Top-level modules that it imports beyond the base install."""
    remedy: str
    """What to do where it is not installed."""
    provider: str | None = None
    """ONNX Runtime's execution provider, where it is one of those."""


_GPU = "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
RUNTIMES: dict[str, Kind] = {
    "onnxruntime": Kind((), ""),
    "openvino": Kind(("openvino", "onnx"), 'pip install "undim[openvino]"'),
    "torch": Kind(("torch", "safetensors"), 'pip install "undim[torch]"'),
    "cuda": Kind((), _GPU, "CUDAExecutionProvider"),
    "tensorrt": Kind((), f"{_GPU}, and NVIDIA's TensorRT", "TensorrtExecutionProvider"),
    "coreml": Kind((), "it comes with onnxruntime on macOS alone", "CoreMLExecutionProvider"),
    "directml": Kind(
        (), "on Windows, pip uninstall onnxruntime, then pip install onnxruntime-directml", "DmlExecutionProvider"
    ),
}


def check_runtime(name: str) -> None:
    """Raise UsageError unless the name is "auto" or a runtime that is installed. Loads none of them."""
    if name != "auto" and name not in RUNTIMES:
        known = ["auto", *RUNTIMES]
        raise UsageError(f"There is no runtime {name!r}.{suggest(name, known)} Known: {', '.join(known)}.")
    if name != "auto" and not is_installed(name):
        raise UsageError(f"The runtime {name} is not installed: {RUNTIMES[name].remedy}.")


def is_installed(name: str) -> bool:
    """Whether the packages of a known runtime are there; of an execution provider, whether ONNX Runtime has it."""
    kind = RUNTIMES[name]
    if kind.provider is not None:
        import onnxruntime

        return kind.provider in onnxruntime.get_available_providers()
    return all(importlib.util.find_spec(package) is not None for package in kind.packages)


def open_runtime(
    name: str,
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    precision: PrecisionWish = "float32",
) -> Runtime:
    """Load a model.

    Args:
        name: of a runtime, not "auto".
        path: an .onnx file.
        threads: of the CPU; one per core if None.
        precision: "auto" for what `settle_precision` says. What a reduced precision cannot hold, float32 does.

    Raises:
        UsageError: if the runtime is unknown, not installed, or does not compute in that precision.
        ModelError: if it does not take the file.
    """
    check_runtime(name)
    opener, can_reduce = _opener(name)
    settled = settle_precision(precision, path, name, can_reduce)
    if settled == "float32":
        return opener(path, threads, settled)
    return ReducedRuntime(opener(path, threads, settled), lambda: opener(path, threads, "float32"))


_Opener = Callable[[str | os.PathLike[str], int | None, Precision], Runtime]


def _opener(name: str) -> tuple[_Opener, Callable[[], bool]]:
    """What loads a model into a runtime, and what tells whether this machine computes in bfloat16 there."""
    if name == "openvino":
        from undim.runtimes import by_openvino

        return (
            lambda path, threads, precision: by_openvino.OpenVinoRuntime(path, threads=threads, precision=precision),
            by_openvino.computes_bfloat16,
        )
    if name == "torch":
        from undim.runtimes import by_torch

        return (
            lambda path, threads, precision: by_torch.TorchRuntime(path, threads=threads, precision=precision),
            by_torch.computes_bfloat16,
        )
    from undim.runtimes.by_onnxruntime import CPU, OnnxRuntime

    provider = RUNTIMES[name].provider or CPU
    return lambda path, threads, _: OnnxRuntime(path, threads=threads, name=name, provider=provider), lambda: False
