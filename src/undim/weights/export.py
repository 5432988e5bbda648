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
from torch import nn

from undim.contract import CROPS, GIVEN, INPUT, OUTPUT, OVERLAP_KEY, OWN, TILE_INPUTS, TILE_OUTPUT
from undim.errors import CheckpointError, ModelError
from undim.nets import Backbone, freeze
from undim.nets.thumbnail import THUMBNAIL
from undim.nets.tile_network import TileNetwork, can_tile
from undim.weights.files import first_line, write_whole
from undim.weights.onnx_rewriting import speed_up

OPSET = 20
TRACED = (2, 3, 72, 104)
"""Shape of the example that the exporter runs: of no special size, so that nothing is specialised."""
CHECKED = ((1, 3, 33, 47), (2, 3, 64, 40))
"""Shapes at which the file is compared with PyTorch before it is kept."""
CHECKED_CROPS = (3, 3, 48, 40)
"""Likewise, taken as crops of one picture."""
TOLERANCE = 1e-4
"""Largest absolute difference allowed there, with outputs around [0, 1]; parity is usually near 1e-6."""


def export_onnx(model: Backbone, path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write a network as ONNX: input `image`, output `enhanced`, both N x 3 x H x W float32 with dynamic N, H and W.

    The network is frozen first (`undim.nets.freeze`); values are nominally in [0, 1] and the output is not clamped.
    Parameters that 16-bit floats hold exactly are stored so. The graph is the faster one of
    `undim.weights.onnx_rewriting`. Where `can_tile` holds, the file also has what tiles need
    (`undim.runtimes.base`), in inputs with defaults: who feeds only `image` need not know of it.

    Args:
        model: any registered backbone, with or without ADR; it is left as it is.
        path: the file, replaced in one step once it has been checked.
        metadata: further entries for the file's header, such as a licence.

    Raises:
        ModelError: if it is a network that ONNX cannot hold.
        CheckpointError: if the file would not reproduce the network, or cannot be written.
    """
    if model.not_in_onnx:
        raise ModelError(
            f"{type(model).__name__} is not exported to ONNX: {model.not_in_onnx}. The runtime torch runs its file of"
            " weights."
        )
    frozen = freeze(model).float().cpu()
    numbers = torch.Generator().manual_seed(0)
    tiles = TileNetwork(frozen) if can_tile(frozen) else None
    if tiles is None and frozen.multiple_of > 1 and type(frozen).forward is Backbone.forward:
        proto = _trace(_Restoring(frozen), {}, numbers, frozen.multiple_of)
        _add_padding(proto, frozen.multiple_of)
    else:
        proto = _trace(frozen if tiles is None else tiles, _tile_defaults(tiles), numbers)
    for info, name in ((proto.graph.input[0], INPUT), (proto.graph.output[0], OUTPUT)):
        _name_axes(info, name)
    for info, axis in zip(proto.graph.input[2:5], "RCB", strict=bool(tiles)):
        info.type.tensor_type.shape.dim[0].dim_param = axis
    speed_up(proto)
    _store_halves(proto)
    _drop_traces(proto)
    facts = {"producer": "undim", **(metadata or {})}
    if tiles is not None:
        # A graph input with an initialiser of its name may be left out: that is its default.
        defaults = _tile_defaults(tiles).items()
        proto.graph.initializer.extend(numpy_helper.from_array(value.numpy(), name) for name, value in defaults)
        facts[OVERLAP_KEY] = str(frozen.tile_overlap)
    for key, value in facts.items():
        proto.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(proto, full_check=True)
    data = proto.SerializeToString(deterministic=True)
    _check(data, frozen, tiles, numbers)
    write_whole(path, data)


def _tile_defaults(tiles: TileNetwork | None) -> dict[str, torch.Tensor]:
    """The inputs beside the image in the order of `TileNetwork.forward`, as they are for a whole picture."""
    if tiles is None:
        return {}
    cell = torch.zeros(1, dtype=torch.int64)
    values = (
        torch.tensor(OWN),
        cell,
        cell,
        torch.ones(1),
        torch.zeros(1, 3, *THUMBNAIL),
        torch.zeros(1, tiles.statistics),
    )
    return dict(zip(TILE_INPUTS, values, strict=True))


class _Restoring(nn.Module):
    """A backbone without the padding and cropping around it, whose sizes are the harder part of a trace."""

    def __init__(self, model: Backbone) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.model.restore(image)


def _add_padding(proto: onnx.ModelProto, multiple: int) -> None:
    """Put around a graph for sides of a multiple what `Backbone.forward` does: reflection at the right and the bottom.

    A picture smaller than what is added to it is not padded: ONNX's reflection stops where torch's does.
    """
    graph = proto.graph
    image, enhanced = graph.input[0], graph.output[0]
    inner, outer = f"{INPUT}.padded", f"{OUTPUT}.padded"
    for node in graph.node:
        for names, old, new in ((node.input, image.name, inner), (node.output, enhanced.name, outer)):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
        for place, name in enumerate(node.input):  # where the output is read again
            if name == enhanced.name:
                node.input[place] = outer
    image.name, enhanced.name = INPUT, OUTPUT
    constants = {"multiple": [multiple], "zeros": [0, 0, 0, 0, 0, 0], "start": [0, 0], "axes": [2, 3]}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(values, np.int64), f"padding.{name}") for name, values in constants.items()
    )
    before = [
        helper.make_node("Shape", [INPUT], ["padding.size"], start=2, end=4),
        helper.make_node("Neg", ["padding.size"], ["padding.minus"]),
        helper.make_node("Mod", ["padding.minus", "padding.multiple"], ["padding.more"]),
        helper.make_node("Concat", ["padding.zeros", "padding.more"], ["padding.all"], axis=0),
        helper.make_node("Pad", [INPUT, "padding.all"], [inner], mode="reflect"),
    ]
    crop = helper.make_node("Slice", [outer, "padding.start", "padding.size", "padding.axes"], [OUTPUT])
    for node in reversed(before):
        graph.node.insert(0, node)
    graph.node.append(crop)
    del graph.value_info[:]  # of sizes that now have other names


def _trace(
    network: nn.Module, defaults: dict[str, torch.Tensor], numbers: torch.Generator, multiple: int = 1
) -> onnx.ModelProto:
    """Run the exporter on a network of any batch, and of any height and width that are multiples."""
    free = torch.export.Dim.DYNAMIC
    sides = (free, free) if multiple == 1 else tuple(multiple * torch.export.Dim(name) for name in ("high", "wide"))
    count = free if multiple == 1 else torch.export.Dim("count")
    shapes: list[dict[int, object] | None] = [{0: count, 2: sides[0], 3: sides[1]}]
    shapes += [{0: free} if value.ndim == 1 else None for value in defaults.values()]
    example = (*TRACED[:2], *(-(-side // multiple) * multiple for side in TRACED[2:]))
    examples = [_example(value) for value in defaults.values()]
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                network,
                (torch.rand(example, generator=numbers), *examples),
                dynamo=True,
                input_names=[INPUT, *defaults],
                output_names=[OUTPUT, TILE_OUTPUT] if defaults else [OUTPUT],
                dynamic_shapes=tuple(shapes),
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise CheckpointError(
            f"PyTorch cannot turn {type(network).__name__} into an ONNX file: {first_line(error)}"
        ) from error
    if program is None:
        raise CheckpointError(f"PyTorch gave no ONNX program for {type(network).__name__}.")
    return program.model_proto


def _example(default: torch.Tensor) -> torch.Tensor:
    """Three entries where a whole picture has one: a size of one is taken as fixed, two as that of the batch."""
    return torch.stack([default[0]] * 3) if default.ndim == 1 else default


def _check(data: bytes, frozen: Backbone, tiles: TileNetwork | None, numbers: torch.Generator) -> None:
    with _running(frozen):
        session = onnxruntime.InferenceSession(data, _silent(), providers=["CPUExecutionProvider"])

    def compare(image: torch.Tensor, expected: torch.Tensor, feeds: dict[str, torch.Tensor]) -> None:
        inputs = {name: value.numpy() for name, value in {INPUT: image, **feeds}.items()}
        with _running(frozen):
            got = session.run([OUTPUT], inputs)[0]
        difference = float(np.abs(got - expected.numpy()).max())
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise CheckpointError(
                f"The ONNX form of {type(frozen).__name__} differs from PyTorch by {difference:.2g} at"
                f" {tuple(image.shape)}: nothing was written."
            )

    with torch.no_grad():
        for shape in CHECKED:
            image = torch.rand(shape, generator=numbers)
            compare(image, frozen(image), {})
        if tiles is None:
            return
        image = torch.rand(CHECKED_CROPS, generator=numbers)
        thumbnail = torch.rand(1, 3, *THUMBNAIL, generator=numbers)
        inner = torch.arange(1, min(CHECKED_CROPS[2:]) // 8 - 1)
        weights = torch.arange(1.0, 1 + len(image)) / sum(range(1, 1 + len(image)))
        feeds = [torch.tensor(CROPS), inner, inner, weights, thumbnail, torch.zeros(1, tiles.statistics)]
        expected, statistics = tiles(image, *feeds)
        compare(image, expected, dict(zip(TILE_INPUTS, feeds, strict=True)))
        feeds = [torch.tensor(GIVEN), inner[:1], inner[:1], weights[:1], thumbnail, statistics]
        compare(image, tiles(image, *feeds)[0], dict(zip(TILE_INPUTS, feeds, strict=True)))


@contextmanager
def _running(network: nn.Module) -> Iterator[None]:
    """ONNX Runtime's failures in one line."""
    try:
        yield
    except Exception as error:  # they share no base class of their own
        raise CheckpointError(
            f"ONNX Runtime cannot run the ONNX form of {type(network).__name__}, so nothing was written:"
            f" {first_line(error)}"
        ) from error


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


def _silent() -> onnxruntime.SessionOptions:
    """ONNX Runtime warns of every input with a default, which is meant here."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options
