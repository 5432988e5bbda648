"""Rewritten graphs compute what they computed before, and have lost what was slow."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from undim.shipped import SHIPPED, find_model
from undim.weights.onnx_rewriting import speed_up

NUMBERS = np.random.default_rng(0)


def make(nodes, constants, size=(2, 8, 6, 10), channels=8):
    """A model of one input and one output from nodes and the values that they read."""
    shapes = ["N", size[1], "H", "W"], ["N", channels, "h", "w"]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip("xy", shapes, strict=True)]
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def kinds(model):
    return Counter(node.op_type for node in model.graph.node)


def run(model, *images):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(None, {"x": image})[0] for image in images]


def optimise(model, folder):
    """What ONNX Runtime makes of a model before it runs it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")


def pictures(*shapes):
    return [NUMBERS.standard_normal(shape).astype(np.float32) for shape in shapes]


def kernels(*shape):
    return NUMBERS.standard_normal(shape).astype(np.float32) * np.float32(0.2)


def check(model, *shapes, near=0.0):
    images = pictures(*shapes)
    before, old = run(model, *images), kinds(model)
    speed_up(model)
    onnx.checker.check_model(model, full_check=True)
    for was, now in zip(before, run(model, *images), strict=True):
        assert was.shape == now.shape
        assert np.abs(was - now).max() <= near * max(1, np.abs(was).max())
    return old, kinds(model)


def test_shuffling_pixels_moves_one_axis_at_a_time():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    old, new = check(make(nodes, {"w": kernels(12, 8, 1, 1)}, channels=3), (2, 8, 6, 10), (1, 8, 1, 7), (3, 8, 4, 1))
    assert (old["DepthToSpace"], new["DepthToSpace"], new["Transpose"]) == (1, 0, 2)


def test_shuffling_of_another_kind_stays():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="DCR"),
    ]
    old, new = check(make(nodes, {"w": kernels(12, 8, 1, 1)}, channels=3), (2, 8, 6, 10))
    assert old == new


def test_unshuffling_pixels_moves_one_axis_at_a_time(tmp_path):
    nodes = [
        helper.make_node("Reshape", ["x", "apart"], ["a"]),
        helper.make_node("Transpose", ["a"], ["t"], perm=[0, 1, 3, 5, 2, 4]),
        helper.make_node("Reshape", ["t", "size"], ["y"]),
    ]
    constants = {"apart": np.array([0, 8, 3, 2, 5, 2]), "size": np.array([0, 32, 3, 5])}
    model = make(nodes, constants, channels=32)
    check(model, (2, 8, 6, 10))
    assert kinds(optimise(model, tmp_path))["Transpose"] == 2


@pytest.mark.parametrize("channels", [8, 24])
def test_chains_of_residual_blocks_start_in_blocks_and_stay_there(channels, tmp_path):
    nodes, constants, value = [helper.make_node("Mul", ["x", "two"], ["first"])], {"two": np.float32(2)}, "first"
    nodes.append(helper.make_node("Add", ["first", "x"], ["start"]))
    value = "start"
    for block in range(3):
        for half in "ab":
            constants[f"w{block}{half}"] = kernels(channels, channels, 3, 3)
        nodes += [
            helper.make_node("Conv", [value, f"w{block}a"], [f"a{block}"], kernel_shape=[3, 3], pads=[1] * 4),
            helper.make_node("Relu", [f"a{block}"], [f"r{block}"]),
            helper.make_node("Conv", [f"r{block}", f"w{block}b"], [f"b{block}"], kernel_shape=[3, 3], pads=[1] * 4),
            helper.make_node("Add", [value, f"b{block}"], [f"s{block}" if block < 2 else "y"]),
        ]
        value = f"s{block}"
    model = make(nodes, constants, (2, channels, 6, 10), channels)
    old, new = check(model, (2, channels, 6, 10), (1, channels, 5, 3), near=1e-5)
    assert (old["MaxPool"], new["MaxPool"]) == (0, 1)
    run_as = kinds(optimise(model, tmp_path))
    if run_as["ReorderInput"]:  # where ONNX Runtime has blocks
        assert (run_as["ReorderInput"], run_as["ReorderOutput"], run_as["Add"]) == (1, 1, 1)


def test_narrow_chains_stay():
    nodes = [
        helper.make_node("Add", ["x", "x"], ["start"]),
        helper.make_node("Conv", ["start", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("Add", ["start", "c"], ["y"]),
    ]
    _, new = check(make(nodes, {"w": kernels(12, 12, 1, 1)}, (2, 12, 6, 10), 12), (2, 12, 6, 10))
    assert new["MaxPool"] == 0


def split_model(*, also_whole=False, groups=1):
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["m"], kernel_shape=[1, 1], group=groups),
        helper.make_node("Conv", ["m", "W", "B"], ["d"], kernel_shape=[3, 3], pads=[1] * 4, group=12),
        helper.make_node("Split", ["d"], ["q", "k", "v"], axis=1, num_outputs=3),
        helper.make_node("Mul", ["q", "k"], ["qk"]),
        helper.make_node("Add", ["qk", "v"], ["s" if also_whole else "y"]),
    ]
    if also_whole:
        nodes.append(helper.make_node("ReduceMean", ["d", "axes"], ["mean"]))
        nodes.append(helper.make_node("Add", ["s", "mean"], ["y"]))
    constants = {"w": kernels(12, 8 // groups, 1, 1), "b": kernels(12), "W": kernels(12, 1, 3, 3), "B": kernels(12)}
    return make(nodes, constants | ({"axes": np.array([1, 2, 3])} if also_whole else {}), channels=4)


def test_depthwise_kernels_are_split_in_place_of_what_they_give():
    old, new = check(split_model(), (2, 8, 6, 10), (1, 8, 3, 1), near=1e-6)
    assert (old["Split"], new["Split"], new["Conv"]) == (1, 0, 6)


def test_what_others_read_whole_is_split_as_before():
    old, new = check(split_model(also_whole=True), (2, 8, 6, 10))
    assert old == new


@pytest.mark.parametrize("groups", [2, 4])
def test_kernels_that_see_a_part_of_the_channels_are_not_split(groups):
    old, new = check(split_model(groups=groups), (2, 8, 6, 10))
    assert old == new


def test_neighbouring_rows_and_columns_are_sliced():
    nodes = [
        helper.make_node("Gather", ["x", "rows"], ["r"], axis=2),
        helper.make_node("Gather", ["r", "columns"], ["one"], axis=3),
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("Gather", ["square", "rows"], ["s"], axis=2),
        helper.make_node("Gather", ["s", "columns"], ["other"], axis=3),
        helper.make_node("Add", ["one", "other"], ["y"]),
    ]
    constants = {"rows": np.arange(2, 5), "columns": np.arange(3, 4)}
    old, new = check(make(nodes, constants), (2, 8, 6, 10), (1, 8, 5, 4))
    assert (old["Gather"], new["Gather"], new["Slice"], new["ReduceMin"]) == (4, 0, 2, 2)


def test_lengths_divide_the_products():
    nodes = [
        helper.make_node("ReduceL2", ["x", "last"], ["length"], keepdims=1),
        helper.make_node("Shape", ["x"], ["size"]),
        helper.make_node("Expand", ["length", "size"], ["lengths"]),
        helper.make_node("Div", ["x", "lengths"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["unit", "turned"], ["y"]),
    ]
    old, new = check(make(nodes, {"last": np.array([-1])}), (2, 8, 6, 10), (1, 8, 3, 40), near=1e-6)
    assert (old["Expand"], new["Expand"]) == (1, 0)


def test_lerp_is_written_once():
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["other"]),
        helper.make_node("Sub", ["other", "x"], ["difference"]),
        helper.make_node("Less", ["share", "half"], ["nearer"]),
        helper.make_node("Mul", ["share", "difference"], ["step"]),
        helper.make_node("Add", ["x", "step"], ["from_start"]),
        helper.make_node("Sub", ["one", "share"], ["rest"]),
        helper.make_node("Mul", ["difference", "rest"], ["back"]),
        helper.make_node("Sub", ["other", "back"], ["from_end"]),
        helper.make_node("Where", ["nearer", "from_start", "from_end"], ["y"]),
    ]
    share = np.linspace(0, 1, 10, dtype=np.float32)
    constants = {"half": np.float32(0.5), "one": np.float32(1), "share": share}
    old, new = check(make(nodes, constants), (2, 8, 6, 10), near=1e-6)
    assert (old["Where"], new["Where"], new["Less"]) == (1, 0, 0)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_were_rewritten(name):
    found = kinds(onnx.load(find_model(name)))
    assert found["DepthToSpace"] == 0
    assert found["MaxPool"] >= 2
