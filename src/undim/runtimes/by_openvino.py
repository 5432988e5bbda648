"""OpenVINO on the CPU: float32, or bfloat16 where the processor computes in it."""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from undim.arrays import Floats
from undim.cancellation import NEVER, Cancellation
from undim.contract import INPUT, Precision
from undim.errors import ModelError
from undim.runtimes.base import Feeds, Runtime, check_contract, check_threads, describe, read_tiling

# OpenVINO's tools, which it imports by itself, report their use to Intel and keep an identifier in the home folder.
# Where the package that does so cannot be imported, they do without.
if "openvino" not in sys.modules:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # Python's own way to say "not there"
import openvino

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_KEPT = 2
"""Compiled shapes that are kept for each set of outputs. A picture's tiles have at most four, two in one row."""
_FREE = ("rows", "columns")
"""Inputs whose length is left open: which cells count changes from window to window, and only sums depend on it."""
_Shapes = tuple[tuple[int, ...], ...]


def computes_bfloat16() -> bool:
    """Whether the processor has instructions for it."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def open_model(
    path: str | os.PathLike[str],
    *,
    name: str = "openvino",
    threads: int | None = None,
    precision: Precision = "float32",
) -> OpenVinoRuntime:
    """Load a model; see `undim.runtimes.table.Opener`."""
    return OpenVinoRuntime(path, threads=threads, precision=precision, name=name)


class OpenVinoRuntime(Runtime):
    """A model in OpenVINO.

    A network of fixed shape runs up to twice as fast as one of free shape, and is compiled in about half a second: so
    it is compiled for each shape that comes, and the last few are kept.

    Args:
        path: an .onnx file.
        threads: of the CPU; one per core if None.
        precision: what to compute in.

    Raises:
        ModelError: if the file is not a model that keeps the contract.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        precision: Precision = "float32",
        name: str = "openvino",
    ) -> None:
        check_threads(threads)
        self.name = name
        self.precision = precision
        try:
            proto = onnx.load(Path(path))
            self._defaults = _take_defaults(proto)
            self._core = openvino.Core()
            self._model = self._core.read_model(proto.SerializeToString())
        except Exception as error:  # those of protobuf, the operating system and OpenVINO
            raise ModelError(f"{os.fspath(path)} is not a model that OpenVINO loads: {describe(error)}") from error
        graph = proto.graph
        needed = [info for info in graph.input if info.name not in self._defaults]
        tensor = needed[0].type.tensor_type if needed else onnx.TypeProto.Tensor()
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        shape = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param for axis in tensor.shape.dim]
        check_contract(
            os.fspath(path), [info.name for info in needed], [info.name for info in graph.output], kind, shape
        )
        facts = {entry.key: entry.value for entry in proto.metadata_props}
        self.tiling = read_tiling(facts, {name: list(value.shape) for name, value in self._defaults.items()})
        self._settings: dict[str, str | int | bool] = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # else all processes of a machine would share the same cores
        }
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._requests: dict[tuple[str, ...], OrderedDict[_Shapes, openvino.InferRequest]] = {}

    def infer(
        self,
        outputs: Sequence[str],
        feeds: Feeds,
        *,
        more: bool,  # noqa: ARG002 - memory belongs to the shape
        cancellation: Cancellation = NEVER,
    ) -> list[Floats]:
        """See `Runtime.infer`."""
        told = {**self._defaults, **feeds}
        request = self._request(outputs, told)
        request.start_async({name: told[name] for name in self._inputs(request)})
        try:
            with cancellation.calling(request.cancel):
                request.wait()
        except BaseException:
            self._requests.pop(tuple(outputs), None)  # one that was broken off is not asked again
            raise
        # Copied, since the next run takes the memory.
        found: list[Floats] = [request.get_tensor(output).data.copy() for output in outputs]
        return found

    def _request(self, outputs: Sequence[str], feeds: Feeds) -> openvino.InferRequest:
        kept = self._requests.setdefault(tuple(outputs), OrderedDict())
        shapes = tuple(feeds[name].shape for name in sorted(feeds) if name not in _FREE)
        if shapes not in kept:
            while len(kept) >= _KEPT:  # before the next takes its memory
                kept.popitem(last=False)
            kept[shapes] = self._compile(outputs, feeds)
        kept.move_to_end(shapes)
        return kept[shapes]

    def _compile(self, outputs: Sequence[str], feeds: Feeds) -> openvino.InferRequest:
        """For these outputs and the shapes of these inputs; what no output needs is left out."""
        model = self._model.clone()
        names = [port.get_any_name() for port in model.inputs]
        model.reshape({name: [-1] if name in _FREE else list(feeds[name].shape) for name in names})
        wanted = openvino.Model([model.output(output) for output in outputs], model.get_parameters())
        return self._core.compile_model(wanted, "CPU", self._settings).create_infer_request()

    @staticmethod
    def _inputs(request: openvino.InferRequest) -> list[str]:
        return [port.get_any_name() for port in request.model_inputs]


def _take_defaults(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Take the defaults of inputs out of the file, in which OpenVINO would see constants in place of inputs."""
    names = {info.name for info in proto.graph.input} - {INPUT}
    stored = list(proto.graph.initializer)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(tensor for tensor in stored if tensor.name not in names)
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in stored if tensor.name in names}
