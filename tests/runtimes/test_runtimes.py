"""Every runtime that is installed gives what ONNX Runtime gives in float32."""

import json
import logging
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import helper

from tiny_models import psnr, save_model, save_unary
from undim import Enhancer
from undim.cancellation import NEVER, Cancellation
from undim.enhance.survey import look_at_whole
from undim.errors import CancelledError, ModelError, PictureError, UsageError
from undim.runtimes import choice
from undim.runtimes.base import OutOfMemoryError, Runtime, WholePicture
from undim.runtimes.by_onnxruntime import OnnxRuntime
from undim.runtimes.precision import ALLOWED_LOSS, BFLOAT16_LOSS, ReducedRuntime, settle_precision
from undim.runtimes.table import RUNTIMES, check_runtime, is_installed, open_runtime
from undim.shipped import find_model, list_shipped_models

OTHERS = [name for name in RUNTIMES if name != "onnxruntime"]
TOLERANCE = 1e-5
"""Of float32, with values around [0, 1]: the order of additions."""
REDUCED_PSNR = 45
"""In dB: bfloat16 has 8 bits of precision."""


def needs(name):
    return pytest.mark.skipif(not is_installed(name), reason=f"{name} is not installed")


each = pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in OTHERS])
free_of_weights = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs(name)) for name in RUNTIMES if name != "torch"]
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "undim" / "runtimes.json"


@pytest.fixture(scope="module")
def network():
    """A shipped model: ADR and POG, a view of the whole picture, and its weights for PyTorch beside it."""
    return find_model("tiny")


def dark_batch(*shape):
    return np.random.default_rng(0).random(shape, np.float32) * np.float32(0.2)


@each
@pytest.mark.parametrize(
    "shape",
    [(3, 3, 64, 40), *(pytest.param(shape, marks=pytest.mark.slow) for shape in ((1, 3, 8, 8), (1, 3, 33, 47)))],
)
def test_whole_pictures(name, shape, network):
    batch = dark_batch(*shape)
    expected = OnnxRuntime(network, threads=1).run(batch)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(open_runtime(name, network, threads=1).run(batch), expected, atol=TOLERANCE)


@each
def test_statistics_and_tiles(name, network, half_dark):
    reference, runtime = OnnxRuntime(network, threads=1), open_runtime(name, network, threads=1)
    assert runtime.tiling == reference.tiling
    whole = look_at_whole(reference, reference.tiling, half_dark, 256)
    found = look_at_whole(runtime, runtime.tiling, half_dark, 256)
    np.testing.assert_allclose(found.statistics, whole.statistics, rtol=1e-3, atol=1e-4)
    batch = dark_batch(1, 3, 72, 56)
    expected = reference.run(batch, whole)
    assert not np.allclose(expected, reference.run(batch), atol=1e-3)  # it matters that it is told
    np.testing.assert_allclose(runtime.run(batch, whole), expected, atol=TOLERANCE)
    np.testing.assert_allclose(runtime.run(batch), reference.run(batch), atol=TOLERANCE)  # and that it forgets


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in RUNTIMES])
def test_one_run_looks_and_enhances(name, network):
    runtime = open_runtime(name, network, threads=1, precision="float32")
    numbers = np.random.default_rng(1)
    crops = dark_batch(3, 3, 64, 72)
    crops *= np.array([0.5, 1, 3], np.float32)[:, None, None, None]  # they differ, so that the weights matter
    cells = np.arange(2, 6), np.arange(1, 8)
    thumbnail = numbers.random((1, 3, *runtime.tiling.thumbnail), np.float32)
    told = (*cells, np.array([0.2, 0.5, 0.3], np.float32), thumbnail)
    enhanced, statistics = runtime.look_and_run(crops, *told)
    whole = WholePicture(thumbnail, runtime.look(crops, *told))
    np.testing.assert_allclose(statistics, whole.statistics, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(enhanced, runtime.run(crops, whole), atol=TOLERANCE)
    assert not np.allclose(enhanced, runtime.run(crops), atol=1e-3)


@pytest.mark.slow
@each
def test_tiled_pictures_of_an_odd_size(name, network, half_dark):
    picture = half_dark[:301, :411]
    expected = Enhancer(network, threads=1, tile=256)(picture).astype(int)
    result = Enhancer(network, threads=1, tile=256, runtime=name, precision="float32")(picture)
    assert np.abs(result - expected).max() <= 1  # what lay at a half may be rounded the other way
    assert psnr(result, expected) > 70


@each
@pytest.mark.slow
@pytest.mark.parametrize("model", list_shipped_models())
def test_shipped_models(name, model):
    batch = dark_batch(1, 3, 88, 72)
    expected = OnnxRuntime(find_model(model), threads=1).run(batch)
    runtime = open_runtime(name, find_model(model), threads=1)
    np.testing.assert_allclose(runtime.run(batch), expected, atol=TOLERANCE)


@each
def test_threads_that_share_the_cores_compute_the_same(name, network):
    batch = dark_batch(1, 3, 96, 80)
    runtime = open_runtime(name, network, threads=2)
    expected = runtime.run(batch)
    runtime.share_cores()
    np.testing.assert_array_equal(runtime.run(batch), expected)


def test_an_enhancer_of_many_pictures_keeps_no_core_waiting(network):
    def spinning(enhancer):
        options = enhancer._runtime._session.get_session_options()
        try:
            return options.get_session_config_entry("session.intra_op.allow_spinning")
        except RuntimeError:  # it was not set
            return "1"

    assert spinning(Enhancer(network, threads=2)) == "1"
    assert spinning(Enhancer(network, threads=2, expect_many=True, runtime="onnxruntime")) == "0"


@each
def test_bfloat16(name, network):
    try:
        runtime = open_runtime(name, network, threads=1, precision="bfloat16")
    except UsageError as error:
        pytest.skip(str(error))
    batch = dark_batch(1, 3, 96, 80)
    exact, reduced = OnnxRuntime(network, threads=1).run(batch), runtime.run(batch)
    assert str(runtime) == f"{name} bfloat16"
    assert reduced.dtype == np.float32
    assert psnr(255 * reduced, 255 * exact) > REDUCED_PSNR
    assert np.abs(reduced - exact).max() > 1e-4  # it did compute in fewer bits


@free_of_weights
def test_files_that_are_not_models(name, tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match="not a model"):
        open_runtime(name, tmp_path / "text.onnx")
    identity = [helper.make_node("Identity", ["image"], ["enhanced"])]
    with pytest.raises(ModelError, match="N x 3 x H x W"):
        open_runtime(name, save_model(tmp_path / "grey.onnx", identity, shape=("n", 1, "h", "w")))
    with pytest.raises(ModelError, match="only 64 x 64"):
        open_runtime(name, save_model(tmp_path / "fixed.onnx", identity, shape=("n", 3, 64, 64)))
    pool = [helper.make_node("AveragePool", ["image"], ["enhanced"], kernel_shape=[2, 2], strides=[2, 2])]
    half = save_model(tmp_path / "half.onnx", pool, out_shape=("n", 3, "a", "b"))
    with pytest.raises(ModelError, match="returned"):
        open_runtime(name, half).run(dark_batch(1, 3, 16, 16))


@needs("torch")
def test_torch_needs_the_weights(gain):
    with pytest.raises(ModelError, match=r"torch needs .*gain\.safetensors"):
        Enhancer(gain, runtime="torch")


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in RUNTIMES])
def test_a_run_that_is_asked_to_end_does_and_leaves_nothing_behind(name, network):
    runtime = open_runtime(name, network, threads=1)
    cancellation = Cancellation()
    ended = []

    def work():
        try:
            with runtime.under(cancellation):
                while True:
                    runtime.run(dark_batch(1, 3, 256, 256), more=True)
        except PictureError as error:
            ended.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    cancellation.cancel()
    thread.join(60)
    assert ended == ["was stopped"]
    with pytest.raises(CancelledError, match="was stopped"), runtime.under(cancellation):
        runtime.run(dark_batch(1, 3, 8, 8))
    fresh = open_runtime(name, network, threads=1)  # the next run is as if nothing had been
    np.testing.assert_array_equal(runtime.run(dark_batch(1, 3, 256, 256)), fresh.run(dark_batch(1, 3, 256, 256)))


@needs("openvino")
def test_a_run_in_progress_is_cancelled(network):
    runtime = open_runtime("openvino", network, threads=1)
    cancellation = Cancellation()
    cancelled = []

    class Request:
        model_inputs = ()

        def start_async(self, _):
            cancellation.cancel()

        def cancel(self):
            cancelled.append(True)

        def wait(self):
            raise RuntimeError("Infer Request was canceled")

    runtime._request = lambda *_: Request()
    with pytest.raises(CancelledError, match="was stopped"), runtime.under(cancellation):
        runtime.run(dark_batch(1, 3, 8, 8))
    assert cancelled


@each
def test_running_out_of_memory_is_told_apart(name, network, monkeypatch):
    runtime = open_runtime(name, network, threads=1)

    def infer(*_, **__):
        raise RuntimeError("std::bad_alloc")

    monkeypatch.setattr(runtime, "infer", infer)
    with pytest.raises(OutOfMemoryError, match="8 x 16 pixels, too large"):
        runtime.run(dark_batch(1, 3, 16, 8))


@pytest.mark.slow
@needs("openvino")
def test_openvino_compiles_a_shape_once_and_keeps_few(network, monkeypatch):
    runtime = open_runtime("openvino", network, threads=1)
    compiled, compile_shape = [], runtime._compile
    monkeypatch.setattr(runtime, "_compile", lambda *args: compiled.append(1) or compile_shape(*args))
    first, second, third = (dark_batch(1, 3, 16, side) for side in (16, 24, 32))
    for batch in (first, second, first, second, third, second):
        runtime.run(batch)
    assert len(compiled) == 3
    runtime.run(first)
    assert len(compiled) == 4


def test_names():
    with pytest.raises(UsageError, match=r"no runtime 'openvin'\. Did you mean 'openvino'\? Known: auto, onnxruntime"):
        check_runtime("openvin")
    with pytest.raises(UsageError, match="no precision 'half'"):
        Enhancer("tiny", precision="half")
    with pytest.raises(UsageError, match="onnxruntime does not compute in bfloat16"):
        Enhancer("tiny", precision="bfloat16")


def test_what_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for name in ("openvino", "torch"):
        with pytest.raises(
            UsageError, match=rf'^The runtime {name} is not installed: pip install "undim\[{name}\]"\.$'
        ):
            Enhancer("tiny", runtime=name)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UsageError, match=r"^The runtime cuda is not installed: .*pip install onnxruntime-gpu\.$"):
        check_runtime("cuda")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of ONNX Runtime, which goes on
def test_a_provider_that_cannot_start_is_told(gain):
    # ONNX Runtime itself would go on with the CPU.
    with pytest.raises(ModelError, match="cuda cannot start"):
        OnnxRuntime(gain, name="cuda", provider="CUDAExecutionProvider")


def test_no_runtime_is_loaded_unless_chosen():
    code = (
        "import sys, numpy, undim\n"
        "undim.Enhancer('tiny', runtime=sys.argv[1])(numpy.zeros((9, 9, 3), 'uint8'))\n"
        "print(*sorted({'torch', 'openvino', 'onnx', 'importlib.metadata'} & set(sys.modules)))"
    )
    for name in ("onnxruntime", "auto"):
        run = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=True)
        assert run.stdout == "\n"


class Fake(Runtime):
    """enhanced = value, whatever comes."""

    def __init__(self, value, precision="float32", name="openvino"):
        self.value, self.precision, self.name = value, precision, name

    def infer(self, outputs, feeds, *, more, cancellation=NEVER):  # noqa: ARG002
        return [np.full_like(feeds["image"], self.value) for _ in outputs]


def test_what_is_not_finite_is_made_in_float32_and_said_once(caplog):
    opened = []
    runtime = ReducedRuntime(Fake(np.inf, "bfloat16"), lambda: opened.append(1) or Fake(0.5))
    with caplog.at_level(logging.WARNING, "undim"):
        for _ in range(3):
            assert (runtime.run(dark_batch(1, 3, 8, 8)) == 0.5).all()
    assert len(opened) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "openvino gave values that are not finite in bfloat16; it goes on in float32"
    ]
    assert str(runtime) == "openvino float32"


def test_finite_output_stays_reduced():
    runtime = ReducedRuntime(Fake(0.25, "bfloat16"), lambda: pytest.fail("not needed"))
    assert (runtime.run(dark_batch(1, 3, 8, 8)) == 0.25).all()
    assert runtime.precision == "bfloat16"


@needs("openvino")
def test_not_finite_in_any_precision_is_a_failure(tmp_path):
    with pytest.raises(PictureError, match="not finite"):
        Enhancer(save_unary(tmp_path / "log.onnx", "Log"), runtime="openvino")(np.zeros((8, 8, 3), np.uint8))


def test_precision_is_reduced_for_models_that_bear_it(monkeypatch, gain):
    assert {model for _, model in BFLOAT16_LOSS} == set(list_shipped_models())
    path = find_model("photo")
    monkeypatch.setitem(BFLOAT16_LOSS, ("openvino", "photo"), ALLOWED_LOSS * 0.99)
    assert settle_precision("auto", path, "openvino", lambda: True) == "bfloat16"
    assert settle_precision("auto", path, "openvino", lambda: False) == "float32"
    assert settle_precision("auto", find_model("tiny"), "torch", lambda: True) == "float32"  # it loses more there
    assert settle_precision("auto", gain, "openvino", lambda: True) == "float32"  # nobody measured it
    assert settle_precision("bfloat16", gain, "openvino", lambda: True) == "bfloat16"
    monkeypatch.setitem(BFLOAT16_LOSS, ("openvino", "photo"), ALLOWED_LOSS * 1.01)
    assert settle_precision("auto", path, "openvino", lambda: True) == "float32"


@pytest.fixture
def timed(monkeypatch):
    """Pretend that onnxruntime and openvino are installed and take these seconds; lists what was measured."""
    seconds, measured = {"onnxruntime": 1.0, "openvino": 0.5}, []
    monkeypatch.setattr(choice, "is_installed", lambda name: name in seconds)
    monkeypatch.setattr(choice, "open_runtime", lambda name, *_, **__: Fake(0.5, name=name))

    def take(runtime, _):
        measured.append(runtime.name)
        return seconds[runtime.name]

    monkeypatch.setattr(choice, "_time", take)
    return SimpleNamespace(seconds=seconds, measured=measured)


def test_the_fastest_is_chosen_and_remembered(timed, gain, cache):
    assert choice.open_fastest(gain).name == "openvino"
    assert timed.measured == ["onnxruntime", "openvino"]
    timed.seconds["openvino"] = 2.0
    assert choice.open_fastest(gain).name == "openvino"  # the same again, not measured
    assert len(timed.measured) == 2
    assert choice.open_fastest(gain, threads=1).name == "onnxruntime"  # another question
    assert len(json.loads(cache.read_text())) == 2


def test_little_is_not_enough_to_leave_the_default(timed, gain):
    timed.seconds["openvino"] = 0.95
    assert choice.open_fastest(gain).name == "onnxruntime"


def test_the_default_alone_is_not_measured(timed, gain, cache):
    del timed.seconds["openvino"]
    assert choice.open_fastest(gain).name == "onnxruntime"
    assert not timed.measured
    assert not cache.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 3}', "\0\xff", '{"KEY": {"runtime": 7}}', '{"KEY": {}}'])
def test_a_damaged_memory_is_measured_anew(timed, gain, cache, text):
    choice.open_fastest(gain)
    key = next(iter(json.loads(cache.read_text())))
    cache.write_text(text.replace("KEY", key), encoding="latin-1")
    timed.measured.clear()
    assert choice.open_fastest(gain).name == "openvino"
    assert timed.measured
    assert json.loads(cache.read_text())[key]["runtime"] == "openvino"


def test_a_folder_that_cannot_be_made_is_no_failure(timed, gain, cache):
    cache.parent.parent.write_text("a file")
    assert choice.open_fastest(gain).name == "openvino"


def test_what_fails_is_not_chosen(timed, gain, monkeypatch):
    def fails(runtime, _):
        if runtime.name == "openvino":
            raise PictureError("no")
        return 1.0

    monkeypatch.setattr(choice, "_time", fails)
    assert choice.open_fastest(gain).name == "onnxruntime"


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification: to be ignored
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    monkeypatch.setattr("undim.machine.sys.platform", "linux")
    assert choice.cache_file() == tmp_path / ".cache" / "undim" / "runtimes.json"
    monkeypatch.setattr("undim.machine.sys.platform", "darwin")
    assert choice.cache_file() == tmp_path / "Library" / "Caches" / "undim" / "runtimes.json"


def test_auto_goes_by_the_size_of_the_work(timed, gain, monkeypatch):
    monkeypatch.setattr("undim.enhance.enhancer.PAYS_FROM", 1000)
    small, large = np.zeros((20, 20, 3), np.uint8), np.zeros((40, 40, 3), np.uint8)
    enhancer = Enhancer(gain, runtime="auto")
    enhancer(small)
    assert enhancer.runtime == "onnxruntime float32"
    assert not timed.measured
    assert (enhancer(large) == 128).all()  # what Fake makes
    assert not (enhancer(small) == 128).all()  # the same as before
    assert enhancer.runtime == "onnxruntime float32 and openvino float32"
    assert (Enhancer(gain, runtime="auto", expect_many=True)(small) == 128).all()
