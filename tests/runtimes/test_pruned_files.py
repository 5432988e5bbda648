"""Model files cut down to one output, against the onnx package's reading of them and the whole file's result."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from undim.runtimes.onnx_subgraphs import keep_output
from undim.shipped import find_model


def make_file(*nodes):
    ports = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("x", "first", "second")}
    graph = helper.make_graph(list(nodes), "g", [ports["x"]], [ports["first"], ports["second"]])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


SMALL = (
    helper.make_node("Exp", ["x"], ["shared"]),
    helper.make_node("Neg", ["shared"], ["first"]),
    helper.make_node("Sqrt", ["shared"], ["root"]),
    helper.make_node("Neg", ["root"], ["second"]),
)


@pytest.mark.parametrize(("name", "kinds"), [("first", ["Exp", "Neg"]), ("second", ["Exp", "Sqrt", "Neg"])])
def test_what_the_output_needs_is_kept_and_nothing_else(name, kinds):
    kept = onnx.load_from_string(keep_output(make_file(*SMALL), name))
    onnx.checker.check_model(kept, full_check=True)
    assert [node.op_type for node in kept.graph.node] == kinds
    assert [info.name for info in kept.graph.output] == [name]
    whole = onnx.load_from_string(make_file(*SMALL))
    assert (kept.graph.input, kept.opset_import) == (whole.graph.input, whole.opset_import)


def test_a_file_with_graphs_inside_is_left_as_it_is():
    branch = helper.make_graph(
        [helper.make_node("Neg", ["shared"], ["inner"])],
        "b",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    choice = helper.make_node("If", ["flag"], ["second"], then_branch=branch, else_branch=branch)
    file = make_file(*SMALL[:2], choice)
    assert keep_output(file, "first") == file


def test_an_unknown_output_and_a_cut_file_are_refused():
    with pytest.raises(ValueError, match="no output 'third'"):
        keep_output(make_file(*SMALL), "third")
    with pytest.raises(ValueError, match="cut short"):
        keep_output(make_file(*SMALL)[:-5], "first")


def test_the_statistics_of_a_shipped_model_stay_the_same():
    file = find_model("tiny").read_bytes()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    numbers = np.random.default_rng(0)
    feeds = {
        "image": numbers.random((1, 3, 128, 96), np.float32),
        "source": np.array(1),
        "rows": np.arange(2, 14),
        "columns": np.arange(1, 11),
        "weights": np.ones(1, np.float32),
        "thumbnail": numbers.random((1, 3, 64, 96), np.float32),
    }
    whole, pruned = (onnxruntime.InferenceSession(one, options) for one in (file, keep_output(file, "statistics")))
    assert [port.name for port in pruned.get_outputs()] == ["statistics"]
    assert np.array_equal(pruned.run(None, feeds)[0], whole.run(["statistics"], feeds)[0])
