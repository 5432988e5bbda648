"""Networks as ONNX files: frozen, any size and batch, checked against PyTorch before the file exists."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from undim.enhance.runtime import INPUT, OUTPUT
from undim.errors import CheckpointError
from undim.nets import Backbone, freeze
from undim.weights.files import write_whole

OPSET = 20
TRACED = (2, 3, 72, 104)
"""Shape of the example that the exporter runs: of no special size, so that nothing is specialised."""
CHECKED = ((1, 3, 33, 47), (2, 3, 64, 40))
"""Shapes at which the file is compared with PyTorch before it is kept."""
TOLERANCE = 1e-4
"""Largest absolute difference allowed there, with outputs around [0, 1]; parity is usually near 1e-6."""


def export_onnx(model: Backbone, path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write a network as ONNX: input `image`, output `enhanced`, both N x 3 x H x W float32 with dynamic N, H and W.

    The network is frozen first (`undim.nets.freeze`); values are nominally in [0, 1] and the output is not clamped.
    Parameters that 16-bit floats hold exactly are stored so.

    Args:
        model: any registered backbone, with or without ADR; it is left as it is.
        path: the file, replaced in one step once it has been checked.
        metadata: further entries for the file's header, such as a licence.

    Raises:
        CheckpointError: if the file would not reproduce the network, or cannot be written.
    """
    frozen = freeze(model).float().cpu()
    numbers = torch.Generator().manual_seed(0)
    dynamic = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            frozen,
            (torch.rand(TRACED, generator=numbers),),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={INPUT: dynamic},
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise CheckpointError(f"PyTorch gave no ONNX program for {type(model).__name__}.")
    proto = program.model_proto
    for info, name in ((proto.graph.input[0], INPUT), (proto.graph.output[0], OUTPUT)):
        _name_axes(info, name)
    _store_halves(proto)
    _drop_traces(proto)
    for key, value in {"producer": "undim", **(metadata or {})}.items():
        proto.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(proto, full_check=True)
    data = proto.SerializeToString(deterministic=True)
    _check(data, frozen, numbers)
    write_whole(path, data)


def _check(data: bytes, frozen: Backbone, numbers: torch.Generator) -> None:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for shape in CHECKED:
        image = torch.rand(shape, generator=numbers)
        with torch.no_grad():
            expected = frozen(image).numpy()
        (got,) = session.run([OUTPUT], {INPUT: image.numpy()})
        difference = float(np.abs(got - expected).max())
        if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise CheckpointError(
                f"The ONNX form of {type(frozen).__name__} differs from PyTorch by {difference:.2g} at {shape}: nothing"
                " was written."
            )


def _name_axes(info: onnx.ValueInfoProto, name: str) -> None:
    info.name = name
    for axis, label in ((0, "N"), (2, "H"), (3, "W")):
        info.type.tensor_type.shape.dim[axis].dim_param = label
    info.type.tensor_type.shape.dim[1].dim_value = 3


def _store_halves(proto: onnx.ModelProto) -> None:
    """Store initialisers of 16-bit values as such, each with a cast that runtimes fold when they load the file."""
    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if values.size < 64 or not np.array_equal(halves.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(halves, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT, name=f"{name}.cast"))
    stored = {node.input[0].removesuffix(".half") for node in casts}
    kept = [info for info in proto.graph.value_info if info.name not in stored]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(kept)
    for node in reversed(casts):
        proto.graph.node.insert(0, node)


def _drop_traces(proto: onnx.ModelProto) -> None:
    """Remove the exporter's stack traces and paths: they grow the file and tell of the machine it was made on."""
    proto.doc_string = ""
    del proto.metadata_props[:]
    proto.graph.doc_string = ""
    del proto.graph.metadata_props[:]
    for item in (*proto.graph.node, *proto.graph.value_info, *proto.graph.initializer, *proto.graph.input):
        item.doc_string = ""
        del item.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's notices about absent, unneeded packages are not the user's concern."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
