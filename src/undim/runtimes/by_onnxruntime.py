"""ONNX Runtime: the CPU, and its other execution providers where they are installed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from undim.arrays import Floats
from undim.cancellation import NEVER, Cancellation
from undim.contract import INPUT, OUTPUT, TILE_OUTPUT, Precision
from undim.errors import ModelError
from undim.runtimes.base import Feeds, Runtime, check_contract, check_threads, describe, read_tiling
from undim.runtimes.onnx_subgraphs import keep_output
from undim.runtimes.table import DEFAULT_RUNTIME, find_runtime

if os.environ.get("ORT_DISABLE_TELEMETRY") == "1":  # which ONNX Runtime does not read on Windows
    onnxruntime.disable_telemetry_events()

CPU = "CPUExecutionProvider"
_KEPT_PIXELS = 1_000_000
"""Up to this size a run keeps its memory for the next one, which saves a fifth of the time; above, it gives it back."""
_FATAL = 4
"""ONNX Runtime's log severity at which it prints nothing that is not raised as well."""


def open_model(
    path: str | os.PathLike[str],
    *,
    name: str = DEFAULT_RUNTIME,
    threads: int | None = None,
    precision: Precision = "float32",  # noqa: ARG001 - the only one that it has
) -> OnnxRuntime:
    """Load a model; see `undim.runtimes.table.Opener`."""
    return OnnxRuntime(path, threads=threads, name=name, provider=find_runtime(name).provider or CPU)


class OnnxRuntime(Runtime):
    """A model in ONNX Runtime, in float32.

    Args:
        path: an .onnx file.
        threads: of the CPU; one per core if None.
        name: what it is called.
        provider: ONNX Runtime's name of the execution provider; operators that it lacks run on the CPU.

    Raises:
        ModelError: if the file is not a model that keeps the contract, or the provider cannot start.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        name: str = "onnxruntime",
        provider: str = CPU,
    ) -> None:
        check_threads(threads)
        self.name = name
        self._on_cpu = provider == CPU
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = threads or 0
        options.enable_mem_pattern = False  # pictures differ in size, and plans per shape would pile up
        self._path, self._options, self._providers = Path(path), options, [CPU] if self._on_cpu else [provider, CPU]
        try:
            self._session = self._load(os.fspath(self._path))
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise ModelError(f"{os.fspath(path)} is not a model that ONNX Runtime loads: {describe(error)}") from error
        if self._session.get_providers()[0] != provider:  # it would go on with the CPU, and say so only in its log
            raise ModelError(f"{name} cannot start on this machine: its device or driver was not found.")
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        kind = inputs[0].type.removeprefix("tensor(").removesuffix(")") if inputs else ""
        shape = inputs[0].shape if inputs else []
        names = [node.name for node in inputs], [node.name for node in outputs]
        check_contract(os.fspath(path), *names, kind, shape)
        shapes = {node.name: node.shape for node in self._session.get_overridable_initializers()}
        self.tiling = read_tiling(self._session.get_modelmeta().custom_metadata_map, shapes)
        self._statistics: onnxruntime.InferenceSession | None = None

    def infer(
        self, outputs: Sequence[str], feeds: Feeds, *, more: bool, cancellation: Cancellation = NEVER
    ) -> list[Floats]:
        """See `Runtime.infer`."""
        options = onnxruntime.RunOptions()
        options.log_severity_level = _FATAL
        if self._on_cpu and not more and feeds[INPUT].size > 3 * _KEPT_PIXELS:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        session = self._session_of(outputs)
        with cancellation.calling(lambda: setattr(options, "terminate", True)):
            found: list[Floats] = session.run(list(outputs), feeds, options)
        return found

    def share_cores(self) -> None:
        """See `Runtime.share_cores`. Threads sleep where they would ask in a loop whether there is work."""
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = self._load(os.fspath(self._path))
        self._statistics = None

    def _session_of(self, outputs: Sequence[str]) -> onnxruntime.InferenceSession:
        """The statistics alone have a session of their own, which ends with the last layer that takes some."""
        if OUTPUT in outputs:
            return self._session
        if self._statistics is None:
            self._statistics = self._load(keep_output(self._path.read_bytes(), TILE_OUTPUT))
        return self._statistics

    def _load(self, model: str | bytes) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(model, self._options, providers=self._providers)
