"""An exported graph, written anew so that CPUs run it faster; what it computes stays.

PyTorch's exporter names each operation by the one that stands for it, not by the one that runtimes are quick at. On two
cores of an AMD EPYC a third of the time of Candela went into other things than convolutions. Of these,

- interchanging many axes at once and `DepthToSpace` take one element after the other; moving one axis at a time copies
  what lies together, four times as fast;
- ONNX Runtime's convolutions keep their features in blocks of eight or sixteen channels, and so does a sum of what
  convolutions gave, which they even add up as they go; but where one summand comes from elsewhere, each sum down the
  chain of residual blocks is taken out of the blocks and put back;
- picking rows and columns that lie beside each other one by one takes one element after the other as well;
- splitting what a depth-wise convolution gives copies it, and splitting its kernels does not;
- `softmax(q k^T)` of vectors of unit length divides all pixels of q and k, and could divide the products.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

UNSHUFFLE = [0, 1, 3, 5, 2, 4]
"""How the exporter interchanges the axes of N x C x H x 2 x W x 2 for N x C x 2 x 2 x H x W."""
BLOCK = 8
"""Channels of ONNX Runtime's smallest block."""


def speed_up(proto: onnx.ModelProto) -> None:
    """Rewrite a model's graph in place, as said above. Sizes of inner values that it tells are forgotten."""
    del proto.graph.value_info[:]
    graph = Graph(proto.graph)
    for rewrite in (split_kernels, slice_neighbours, divide_products, lerp_once):
        rewrite(graph)
    for rewrite in (unshuffle_by_axes, shuffle_by_axes, enter_blocks):
        rewrite(graph)
    graph.drop_unused()


class Graph:
    """A graph whose nodes can be found by what they read and give, and replaced.

    Args:
        proto: the graph, which is changed.
    """

    def __init__(self, proto: onnx.GraphProto) -> None:
        self.proto = proto
        self.constants = {tensor.name: tensor for tensor in proto.initializer}
        self.makers: dict[str, NodeProto] = {}
        self.readers: dict[str, list[NodeProto]] = {}
        self._index()

    def of_kind(self, kind: str) -> list[NodeProto]:
        """All nodes of an operator, in their order."""
        return [node for node in self.proto.node if node.op_type == kind]

    def maker(self, value: str, kind: str) -> NodeProto | None:
        """The node of that operator that gives a value; None if another does, or none."""
        node = self.makers.get(value)
        return node if node is not None and node.op_type == kind else None

    def constant(self, value: str) -> npt.NDArray[np.generic] | None:
        """A value that the file holds; None if it is computed."""
        tensor = self.constants.get(value)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def add_constant(self, name: str, values: npt.ArrayLike) -> str:
        """Put a value into the file; its name."""
        self.proto.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        self.constants[name] = self.proto.initializer[-1]
        return name

    def replace(self, old: NodeProto, new: Iterable[NodeProto]) -> None:
        """Put nodes, each after those that it reads from, in the place of one."""
        place = next(place for place, node in enumerate(self.proto.node) if node is old or node == old)
        kept = list(self.proto.node)
        kept[place : place + 1] = new
        self._set(kept)

    def drop_unused(self) -> None:
        """Leave out the nodes and values that nothing reads."""
        needed, kept = {output.name for output in self.proto.output}, []
        for node in reversed(self.proto.node):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self._set(kept[::-1])
        needed.update(value.name for value in self.proto.input)  # whose defaults are kept with the constants
        constants = [tensor for tensor in self.proto.initializer if tensor.name in needed]
        del self.proto.initializer[:]
        self.proto.initializer.extend(constants)
        self.constants = {tensor.name: tensor for tensor in self.proto.initializer}

    def _set(self, nodes: Sequence[NodeProto]) -> None:
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]  # the list owns those it had
        del self.proto.node[:]
        self.proto.node.extend(copies)
        self._index()

    def _index(self) -> None:
        self.makers, self.readers = {}, {}
        for node in self.proto.node:
            self.makers.update(dict.fromkeys(node.output, node))
            for value in node.input:
                self.readers.setdefault(value, []).append(node)


def unshuffle_by_axes(graph: Graph) -> None:
    """`pixel_unshuffle` by two: first the rows, then the columns."""
    for node in graph.of_kind("Transpose"):
        (output,) = node.output
        readers = graph.readers.get(output, [])
        if _numbers(node, "perm") != UNSHUFFLE or any(reader.op_type != "Reshape" for reader in readers):
            continue
        # Between them another shape, or ONNX Runtime would make one of both again.
        apart = graph.add_constant(f"{output}.apart", np.array([0, 0, 2, -1, 2], np.int64))
        graph.replace(
            node,
            [
                _move(node.input[0], f"{output}.rows", (0, 1, 3, 2, 4, 5)),  # (N, C, 2, H, W, 2)
                helper.make_node("Reshape", [f"{output}.rows", apart], [f"{output}.lines"]),  # (N, C, 2, H W, 2)
                _move(f"{output}.lines", output, (0, 1, 2, 4, 3)),
            ],
        )


def shuffle_by_axes(graph: Graph) -> None:
    """`pixel_shuffle` by two of what a convolution gives: first the columns, then the rows."""
    for node in graph.of_kind("DepthToSpace"):
        convolution = graph.maker(node.input[0], "Conv")
        kernels = None if convolution is None else graph.constant(convolution.input[1])
        if kernels is None or _text(node, "mode") != "CRD" or _number(node, "blocksize") != 2:
            continue
        channels, (features,), (output,) = len(kernels) // 4, node.input, node.output
        name = f"{output}.shuffle"
        apart = graph.add_constant(f"{name}.apart", np.array([0, 2 * channels, 2, -1], np.int64))
        start = graph.add_constant(f"{name}.start", np.array([0, channels, 2], np.int64))
        same = graph.add_constant(f"{name}.same", np.array([0, 0], np.int64))
        rest = graph.add_constant(f"{name}.rest", np.array([-1], np.int64))
        two = graph.add_constant(f"{name}.two", np.array([2], np.int64))
        graph.replace(
            node,
            [
                helper.make_node("Shape", [features], [f"{name}.high"], start=2, end=3),
                helper.make_node("Reshape", [features, apart], [f"{name}.pairs"]),  # (N, 2 C, 2, H W)
                _move(f"{name}.pairs", f"{name}.columns", (0, 1, 3, 2)),
                helper.make_node("Concat", [start, f"{name}.high", rest], [f"{name}.lines"], axis=0),
                helper.make_node("Reshape", [f"{name}.columns", f"{name}.lines"], [f"{name}.wide"]),
                _move(f"{name}.wide", f"{name}.rows", (0, 1, 3, 2, 4)),  # (N, C, 2, H, 2 W) before
                helper.make_node("Mul", [f"{name}.high", two], [f"{name}.higher"]),
                helper.make_node("Concat", [same, f"{name}.higher", rest], [f"{name}.size"], axis=0),
                helper.make_node("Reshape", [f"{name}.rows", f"{name}.size"], [output]),
            ],
        )


def enter_blocks(graph: Graph) -> None:
    """Let a pooling of one pixel, which changes nothing but runs in blocks, start each chain of residual blocks."""
    in_blocks: set[str] = set()
    for node in list(graph.proto.node):
        blocked = node.op_type in ("Conv", "MaxPool") or (
            node.op_type in ("Relu", "Add") and all(value in in_blocks for value in node.input)
        )
        if blocked:
            in_blocks.update(node.output)
        elif node.op_type == "Add" and _starts_chain(graph, node.output[0]):
            (output,) = node.output
            summed = NodeProto.FromString(node.SerializeToString())
            summed.output[0] = f"{output}.summed"
            entry = helper.make_node("MaxPool", [summed.output[0]], [output], kernel_shape=[1, 1])
            graph.replace(node, [summed, entry])
            in_blocks.add(output)


def _starts_chain(graph: Graph, value: str) -> bool:
    """Whether a convolution reads it, and a sum of it with what a convolution gives does."""
    readers = graph.readers.get(value, [])
    kernels = [graph.constant(node.input[1]) for node in readers if node.op_type == "Conv"]
    sums = [node for node in readers if node.op_type == "Add" and any(graph.maker(part, "Conv") for part in node.input)]
    channels = {array.shape[1] for array in kernels if array is not None}
    return bool(sums) and bool(channels) and all(count % BLOCK == 0 for count in channels)


def split_kernels(graph: Graph) -> None:
    """In place of splitting what a 1 x 1 and then a depth-wise convolution give, split both convolutions."""
    for node in graph.of_kind("Split"):
        deep = graph.maker(node.input[0], "Conv")
        mixed = None if deep is None else graph.maker(deep.input[0], "Conv")
        if deep is None or mixed is None or _number(node, "axis") != 1 or _number(mixed, "group") not in (None, 1):
            continue
        if any(len(graph.readers[value]) > 1 for value in (node.input[0], deep.input[0])):
            continue
        arrays = [graph.constant(value) for part in (mixed, deep) for value in part.input[1:]]
        kernels = [array for array in arrays if array is not None]
        channels = len(kernels[0]) if len(kernels) == 4 else 0
        count = len(node.output)
        if not channels or _number(deep, "group") != channels or channels % count or len(node.input) > 1:
            continue
        new = []
        for index, output in enumerate(node.output):
            part = slice(index * channels // count, (index + 1) * channels // count)
            for convolution, source, target in (
                (mixed, mixed.input[0], f"{output}.mixed"),
                (deep, f"{output}.mixed", output),
            ):
                names = [
                    graph.add_constant(f"{target}.{kind}", numpy_helper.to_array(graph.constants[value])[part])
                    for kind, value in zip(("weight", "bias"), convolution.input[1:], strict=True)
                ]
                own = NodeProto.FromString(convolution.SerializeToString())
                own.name = ""
                own.input[:], own.output[:] = [source, *names], [target]
                if convolution is deep:
                    next(entry for entry in own.attribute if entry.name == "group").i = channels // count
                new.append(own)
        graph.replace(node, new)


def slice_neighbours(graph: Graph) -> None:
    """The rows and columns that count by their first and last, as they are neighbours, not one by one."""
    for columns in graph.of_kind("Gather"):
        rows = graph.maker(columns.input[0], "Gather")
        if rows is None or (_number(rows, "axis"), _number(columns, "axis")) != (2, 3):
            continue
        graph.replace(columns, [*_bounds(graph, rows.input[1], columns.input[1]), *_slice(rows, columns)])


def _bounds(graph: Graph, rows: str, columns: str) -> list[NodeProto]:
    """The nodes that find the first and the last of both; none if they are there already."""
    if f"{rows}.{columns}.end" in graph.makers:
        return []
    one = graph.add_constant(f"{rows}.{columns}.one", np.array([1, 1], np.int64))
    graph.add_constant(f"{rows}.{columns}.axes", np.array([2, 3], np.int64))
    ends = {"first": "ReduceMin", "last": "ReduceMax"}
    return [
        *(
            helper.make_node(kind, [value], [f"{rows}.{columns}.{name}.{axis}"], keepdims=1)
            for name, kind in ends.items()
            for axis, value in enumerate((rows, columns))
        ),
        *(
            helper.make_node("Concat", [f"{rows}.{columns}.{name}.{axis}" for axis in (0, 1)], [target], axis=0)
            for name, target in (("first", f"{rows}.{columns}.start"), ("last", f"{rows}.{columns}.lasts"))
        ),
        helper.make_node("Add", [f"{rows}.{columns}.lasts", one], [f"{rows}.{columns}.end"]),
    ]


def _slice(rows: NodeProto, columns: NodeProto) -> list[NodeProto]:
    bounds = (f"{rows.input[1]}.{columns.input[1]}.{part}" for part in ("start", "end", "axes"))
    return [helper.make_node("Slice", [rows.input[0], *bounds], columns.output)]


def divide_products(graph: Graph) -> None:
    """(q / |q|) (k / |k|)^T as q k^T / |q| / |k|^T."""
    for node in graph.of_kind("MatMul"):
        turned = graph.maker(node.input[1], "Transpose")
        query = graph.maker(node.input[0], "Div")
        key = None if turned is None else graph.maker(turned.input[0], "Div")
        if query is None or key is None or turned is None:
            continue
        lengths = [graph.maker(part.input[1], "Expand") for part in (query, key)]
        if lengths[0] is None or lengths[1] is None or _numbers(turned, "perm") != [0, 1, 3, 2]:
            continue
        (output,) = node.output
        names = [f"{output}.{part}" for part in ("key", "product", "length", "scaled")]
        graph.replace(
            node,
            [
                _move(key.input[0], names[0], (0, 1, 3, 2)),
                helper.make_node("MatMul", [query.input[0], names[0]], [names[1]]),
                _move(lengths[1].input[0], names[2], (0, 1, 3, 2)),
                helper.make_node("Div", [names[1], lengths[0].input[0]], [names[3]]),
                helper.make_node("Div", [names[3], names[2]], [output]),
            ],
        )


def lerp_once(graph: Graph) -> None:
    """`lerp` from whichever of its ends is nearer, which the exporter writes as two, from its start alone."""
    for node in graph.of_kind("Where"):
        nearer, start, end = (graph.makers.get(value) for value in node.input)
        if nearer is None or start is None or end is None:
            continue
        if (nearer.op_type, start.op_type, end.op_type) != ("Less", "Add", "Sub"):
            continue
        step = graph.maker(start.input[1], "Mul")
        difference = None if step is None else graph.maker(step.input[1], "Sub")
        if step is None or difference is None or step.input[0] != nearer.input[0]:
            continue
        if list(difference.input) == [end.input[0], start.input[0]]:
            graph.replace(node, [helper.make_node("Add", start.input, node.output)])


def _move(source: str, target: str, order: Sequence[int]) -> NodeProto:
    return helper.make_node("Transpose", [source], [target], perm=list(order))


def _numbers(node: NodeProto, name: str) -> list[int]:
    return next((list(entry.ints) for entry in node.attribute if entry.name == name), [])


def _number(node: NodeProto, name: str) -> int | None:
    return next((int(entry.i) for entry in node.attribute if entry.name == name), None)


def _text(node: NodeProto, name: str) -> str:
    return next((entry.s.decode() for entry in node.attribute if entry.name == name), "")
