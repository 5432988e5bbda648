"""A tiny model file for every test that enhances. Being here also puts `tiny_models` on the import path."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: on pictures this small, threads cost more than they give

# Tests interrupt commands, which start with Ctrl-C ignored where the tests do: a shell's background jobs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import onnx
import onnx.parser
import pytest

from tiny_models import save_gain
from undim.contract import TILE_INPUTS
from undim.installed import Installation


@pytest.fixture
def one_thread():
    """PyTorch computes in one thread: on pictures this small, more of them cost more than they give."""
    import torch  # not for tests of the base install

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _as_from_an_index(monkeypatch):
    """Messages say what to install as if the package came from an index, wherever the tests run from."""
    monkeypatch.setattr("undim.installed.find_installation", lambda: Installation("pip"))


@pytest.fixture(scope="session")
def gain(tmp_path_factory):
    """Path of a model that computes 0.5 * image + 0.41."""
    return save_gain(tmp_path_factory.mktemp("models") / "gain.onnx")


@pytest.fixture(scope="session")
def tileable(tmp_path_factory):
    """enhanced = mean 3x3 of image * 0.4 / mean of the whole picture: a network that a tile alone gets wrong."""
    text = """
    <ir_version: 10, opset_import: ["" : 20], metadata_props: ["tile_overlap": "32"]>
    tiny (float[N,3,H,W] image, int64 source, int64[R] rows, int64[C] columns, float[B] weights,
          float[1,3,64,96] thumbnail, float[1,1] given) => (float[N,3,H,W] enhanced, float[1,1] statistics)
    {
        flat = Constant <value_ints: ints = [-1, 1]> ()
        form = Constant <value_ints: ints = [-1, 1, 1, 1]> ()
        axes = Constant <value_ints: ints = [1, 2, 3]> ()
        first = Constant <value_ints: ints = [0]> ()
        from_crops = Constant <value_int: int = 1> ()
        from_outside = Constant <value_int: int = 2> ()
        target = Constant <value_float: float = 0.4> ()
        eight = Constant <value_int: int = 8> ()
        steps = Constant <value_ints: ints = [0, 1, 2, 3, 4, 5, 6, 7]> ()
        upright = Constant <value_ints: ints = [-1, 1]> ()
        flattened = Constant <value_ints: ints = [-1]> ()
        one = ReduceMean <keepdims: int = 1> (image, axes)
        own = Reshape (one, flat)
        tall = Mul (rows, eight)
        wide = Mul (columns, eight)
        tops = Reshape (tall, upright)
        lefts = Reshape (wide, upright)
        down = Add (tops, steps)
        across = Add (lefts, steps)
        lines = Reshape (down, flattened)
        posts = Reshape (across, flattened)
        band = Gather <axis: int = 2> (image, lines)
        inner = Gather <axis: int = 3> (band, posts)
        middle = ReduceMean <keepdims: int = 1> (inner, axes)
        middles = Reshape (middle, flat)
        column = Reshape (weights, flat)
        parts = Mul (middles, column)
        together = ReduceSum <keepdims: int = 1> (parts, first)
        outside = Equal (source, from_outside)
        statistics = Identity (together)
        told = Where (outside, given, together)
        crops = Equal (source, from_crops)
        shared = Or (outside, crops)
        used = Where (shared, told, own)
        level = Reshape (used, form)
        gain = Div (target, level)
        smooth = AveragePool <kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1]> (image)
        enhanced = Mul (smooth, gain)
    }
    """
    model = onnx.parser.parse_model(text)
    cell = np.zeros(1, np.int64)
    zeros = (np.float32(np.zeros((1, 3, 64, 96))), np.float32([[0]]))
    defaults = zip(TILE_INPUTS, (np.array(0), cell, cell, np.float32([1]), *zeros), strict=True)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in defaults)
    path = tmp_path_factory.mktemp("tileable") / "net.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def half_dark():
    """480 x 720: waves of several lengths with noise, the right half in shadow."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:480, :720] / 100
    light = np.stack([60 + 40 * np.sin(a * x + b * y) for a, b in ((1, 2), (2, 1), (7, 5))], -1)
    light[:, 360:] *= 0.2
    return np.clip(light + random.normal(0, 3, light.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def dark():
    return np.random.default_rng(0).integers(0, 60, (21, 17, 3), dtype=np.uint8)
