"""What can run a model: ONNX Runtime, which is always there, and others by name where they are installed.

A runtime is one row here and one file beside it. A package of its own adds one by an entry point of the group
`undim.runtimes` that names a `RuntimeRow`. None but the chosen one is imported.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from undim.contract import Precision
from undim.errors import UsageError, suggest
from undim.installed import add_extra
from undim.runtimes.base import Runtime
from undim.runtimes.precision import PrecisionWish, ReducedRuntime, settle_precision

RuntimeWish = str
"""A runtime's name, or "auto" for the fastest of those that are installed."""
DEFAULT_RUNTIME = "onnxruntime"
ENTRY_POINTS = "undim.runtimes"
PAYS_FROM = 3_000_000
"""Pixels of one picture from which on a runtime that starts more slowly than ONNX Runtime can win."""
PAYS_FOR_PICTURES = 16
"""Pictures in one run from which on it can win, however small they are."""


class Opener(Protocol):
    """What loads a model into a runtime."""

    def __call__(
        self, path: str | os.PathLike[str], *, name: str, threads: int | None, precision: Precision
    ) -> Runtime:
        """Load the file.

        Args:
            path: of a file that the row `reads`.
            name: of the row.
            threads: of the CPU; one per core if None.
            precision: what to compute in.

        Raises:
            ModelError: if the file is not a model that the runtime takes.
        """


@dataclass(frozen=True)
class RuntimeRow:
    """One runtime before it is loaded."""

    opener: str
    """`module:function`, an `Opener`."""
    packages: tuple[str, ...] = ()
    """Top-level modules that it imports beyond the base install."""
    remedy: str = ""
    """What to do where it is not installed."""
    provider: str | None = None
    """ONNX Runtime's execution provider, where it is one of those."""
    reduces: str | None = None
    """`module:function` that tells whether this machine computes in bfloat16 there; None where it never does."""
    reads: str = ".onnx"
    """Suffix of the files that it loads."""
    survives_fork: bool = True
    """Whether a process that was forked off after a run can load and run a model."""
    extra: str = ""
    """In place of a remedy: the optional part of Undim that brings it."""


_ONNX = "undim.runtimes.by_onnxruntime:open_model"
_GPU = "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
RUNTIMES: dict[str, RuntimeRow] = {
    "onnxruntime": RuntimeRow(_ONNX),
    "openvino": RuntimeRow(
        "undim.runtimes.by_openvino:open_model",
        ("openvino", "onnx"),
        extra="openvino",
        reduces="undim.runtimes.by_openvino:computes_bfloat16",
        survives_fork=False,
    ),
    "torch": RuntimeRow(
        "undim.runtimes.by_torch:open_model",
        ("torch", "safetensors"),
        extra="torch",
        reduces="undim.runtimes.by_torch:computes_bfloat16",
        reads=".safetensors",
        survives_fork=False,
    ),
    "cuda": RuntimeRow(_ONNX, (), _GPU, "CUDAExecutionProvider"),
    "tensorrt": RuntimeRow(_ONNX, (), f"{_GPU}, and NVIDIA's TensorRT", "TensorrtExecutionProvider"),
    "coreml": RuntimeRow(_ONNX, (), "it comes with onnxruntime on macOS alone", "CoreMLExecutionProvider"),
    "directml": RuntimeRow(
        _ONNX,
        (),
        "on Windows, pip uninstall onnxruntime, then pip install onnxruntime-directml",
        "DmlExecutionProvider",
    ),
}


@functools.cache
def known_runtimes() -> Mapping[str, RuntimeRow]:
    """The rows above, then those of other packages, which cannot take a name from above."""
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    return {entry.name: entry.load() for entry in entry_points(group=ENTRY_POINTS)} | RUNTIMES


def find_runtime(name: str) -> RuntimeRow:
    """The row of a runtime.

    Raises:
        UsageError: if there is none of that name.
    """
    row = RUNTIMES.get(name) or known_runtimes().get(name)
    if row is None:
        known = ["auto", *known_runtimes()]
        raise UsageError(
            f"There is no runtime {name!r}.{suggest(name, known)} Known: {', '.join(known)}.", subject="runtime"
        )
    return row


def reads_of(wish: RuntimeWish) -> str:
    """Suffix of the model files that a runtime loads; "auto" takes those that the default one does.

    Raises:
        UsageError: if there is no runtime of that name.
    """
    return find_runtime(DEFAULT_RUNTIME if wish == "auto" else wish).reads


def check_runtime(name: RuntimeWish) -> None:
    """Raise UsageError unless the name is "auto" or a runtime that is installed. Loads none of them."""
    if name != "auto" and not is_installed(name):
        row = find_runtime(name)
        remedy = add_extra(row.extra) if row.extra else row.remedy
        raise UsageError(f"The runtime {name} is not installed: {remedy}.", subject="runtime")


def is_installed(name: str) -> bool:
    """Whether the packages of a known runtime are there; of an execution provider, whether ONNX Runtime has it."""
    row = find_runtime(name)
    if row.provider is not None:
        import onnxruntime

        return row.provider in onnxruntime.get_available_providers()
    return all(importlib.util.find_spec(package) is not None for package in row.packages)


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
        path: a file that it reads.
        threads: of the CPU; one per core if None.
        precision: "auto" for what `settle_precision` says. What a reduced precision cannot hold, float32 does.

    Raises:
        UsageError: if the runtime is unknown, not installed, or does not compute in that precision.
        ModelError: if it does not take the file.
    """
    check_runtime(name)
    row = find_runtime(name)
    opener = cast("Opener", _load(row.opener))
    settled = settle_precision(precision, path, name, lambda: _can_reduce(row))

    def load(wanted: Precision) -> Runtime:
        return opener(path, name=name, threads=threads, precision=wanted)

    return load(settled) if settled == "float32" else ReducedRuntime(load(settled), lambda: load("float32"))


def chosen_precision(name: str, path: str | os.PathLike[str]) -> Precision:
    """What the precision "auto" means for a model file in an installed runtime. Loads no model.

    Raises:
        UsageError: if the runtime is unknown.
    """
    row = find_runtime(name)
    return settle_precision("auto", path, name, lambda: _can_reduce(row))


def _can_reduce(row: RuntimeRow) -> bool:
    return row.reduces is not None and cast("Callable[[], bool]", _load(row.reduces))()


def _load(target: str) -> object:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
