"""Networks of one or two layers that keep the contract of a model file."""

import numpy as np
import onnx
from onnx import TensorProto, helper


def save_model(path, nodes, constants=(), *, shape=("n", 3, "h", "w"), output="enhanced", out_shape=None):
    """Save an ONNX model with input `image`; `constants` are (name, float) pairs."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, out_shape or shape)],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def save_gain(path):
    """enhanced = 0.5 * image + 0.41. No 8-bit value falls on a half."""
    nodes = [
        helper.make_node("Mul", ["image", "half"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["enhanced"]),
    ]
    return save_model(path, nodes, [("half", 0.5), ("offset", 0.41)])


def save_unary(path, operator):
    """enhanced = operator(image), such as Log (minus infinity at 0) or Sqrt."""
    return save_model(path, [helper.make_node(operator, ["image"], ["enhanced"])])


def psnr(a, b):
    """Of two pictures of 8 bits, in dB; at most 120."""
    return -10 * np.log10(max(np.mean((a.astype(float) - b) ** 2) / 255**2, 1e-12))
