import io
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import get_overloads

import numpy as np
import pytest
from onnx import helper
from PIL import Image, ImageOps

import undim
from tiny_models import save_gain, save_model, save_unary
from undim import Enhancer, machine
from undim.enhance import memory
from undim.errors import ModelError, PictureError, ShapeError, UsageError
from undim.shipped import DEFAULT_MODEL, find_model, list_shipped_models


def expected(values):
    """The gain model in double precision."""
    return np.clip(np.rint(255 * (0.5 * values / 255 + 0.41)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def enhancer(gain):
    return Enhancer(gain, threads=1)


def test_array(enhancer, dark):
    kept = dark.copy()
    result = enhancer(dark)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected(dark.astype(np.float64)))
    np.testing.assert_array_equal(dark, kept)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 30, 3), (7, 8, 3), (8, 7), (3, 2), (40, 1)])
def test_any_size(enhancer, shape):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(enhancer(image), expected(image.astype(np.float64)))


def test_small_pictures_repeat_their_edge(tmp_path):
    # A 3 x 3 mean with zero padding: only far from the true border is a flat picture left flat.
    nodes = [helper.make_node("AveragePool", ["image"], ["enhanced"], kernel_shape=[3, 3], pads=[1] * 4)]
    small = np.full((4, 5, 3), 90, np.uint8)
    np.testing.assert_array_equal(Enhancer(save_model(tmp_path / "mean.onnx", nodes))(small), small)


def test_values_are_clipped(tmp_path):
    nodes = [helper.make_node("Mul", ["image", "k"], ["t"]), helper.make_node("Sub", ["t", "one"], ["enhanced"])]
    enhancer = Enhancer(save_model(tmp_path / "steep.onnx", nodes, [("k", 4.0), ("one", 1.0)]))
    image = np.array([[[0, 64, 255]]], np.uint8)
    assert enhancer(image).tolist() == [[[0, 1, 255]]]


def test_channels_are_rgb(tmp_path):
    nodes = [helper.make_node("Gather", ["image", "order"], ["enhanced"], axis=1)]
    constant = helper.make_node("Constant", [], ["order"], value_ints=[2, 2, 2])
    enhancer = Enhancer(save_model(tmp_path / "blue.onnx", [constant, *nodes]))
    assert enhancer(np.array([[[10, 20, 30]]], np.uint8)).tolist() == [[[30, 30, 30]]]
    assert Enhancer.__call__(enhancer, np.full((9, 9), 77, np.uint8)).tolist() == [[77] * 9] * 9


def test_grey_is_rec_601_luma_of_the_output(tmp_path):
    # Of grey the model makes (v, 0, 0): luma 0.299 v.
    nodes = [
        helper.make_node("Constant", [], ["mask"], value_floats=[1.0, 0.0, 0.0]),
        helper.make_node("Constant", [], ["form"], value_ints=[1, 3, 1, 1]),
        helper.make_node("Reshape", ["mask", "form"], ["red"]),
        helper.make_node("Mul", ["image", "red"], ["enhanced"]),
    ]
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    result = Enhancer(save_model(tmp_path / "red.onnx", nodes))(grey)
    np.testing.assert_array_equal(result, np.rint(0.299 * grey))


@pytest.mark.parametrize("strength", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_strength_blends_encoded_values(enhancer, dark, strength):
    full = enhancer(dark).astype(np.float64)
    wanted = np.rint((1 - strength) * dark + strength * full)
    np.testing.assert_array_equal(enhancer(dark, strength=strength), wanted)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_out_of_range(enhancer, dark, strength):
    with pytest.raises(UsageError, match="strength"):
        enhancer(dark, strength=strength)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_pil_modes_stay_and_alpha_is_untouched(enhancer, mode):
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (12, 10, 4), dtype=np.uint8), "RGBA").convert(
        mode
    )
    image.info["dpi"] = (72, 72)
    result = enhancer(image)
    assert (result.mode, result.size, result.info) == (mode, image.size, image.info)
    if "A" in mode:
        np.testing.assert_array_equal(np.asarray(result)[..., -1], np.asarray(image)[..., -1])
    colours = slice(0, 3) if "RGB" in mode else 0
    source = np.atleast_3d(np.asarray(image))[..., colours].astype(np.float64)
    np.testing.assert_array_equal(np.atleast_3d(np.asarray(result))[..., colours], expected(source))


@pytest.mark.parametrize(("mode", "key"), [("L", 3), ("RGB", (3, 3, 3))])
def test_pil_transparent_colour_becomes_alpha(enhancer, mode, key):
    image = Image.new(mode, (9, 8), key)
    image.putpixel((0, 0), 7 if mode == "L" else (7, 7, 7))
    image.info.update(transparency=key, dpi=(72, 72))
    result = enhancer(image)
    assert (result.mode, result.info) == (f"{mode}A", {"dpi": (72, 72)})
    alpha = np.asarray(result)[..., -1]
    assert alpha[0, 0] == 255
    assert alpha.sum() == 255


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_transparency_that_is_no_colour_of_the_mode_is_passed_over(enhancer, mode):
    image = Image.new(mode, (9, 8))
    for key in (b"\0\xff", (1, 2), "text"):
        image.info["transparency"] = key
        assert enhancer(image).mode == ("RGB" if mode == "RGB" else "L")


def test_pil_image_that_cannot_be_decoded_is_a_picture_error(enhancer):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(4).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(stream, "JPEG")
    with pytest.raises(PictureError, match="truncated"):
        enhancer(Image.open(io.BytesIO(stream.getvalue()[:2000])))


def test_picture_that_needs_more_memory_than_is_free(enhancer, dark, monkeypatch):
    needed = dark.shape[0] * dark.shape[1] * memory.BYTES_PER_PIXEL
    monkeypatch.setattr(memory, "free_memory", lambda: needed - 1)
    with pytest.raises(PictureError, match=r"^is 17 x 21 pixels, which needs about 0\.0 GB of memory, and 0\.0 GB are"):
        enhancer(dark)
    for free in (needed, None):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        assert enhancer(dark).shape == dark.shape


def test_free_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:   5 kB\n")
    assert machine.free_memory() == 5 * 1024
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\n")
    monkeypatch.setattr("os.sysconf", {"SC_AVPHYS_PAGES": 3, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert machine.free_memory() == 3 * 4096
    monkeypatch.delattr("os.sysconf")
    assert machine.free_memory() is None


def test_memory_that_runs_out_is_said_for_both_uses(gain, dark, monkeypatch):
    def run(*_):
        raise MemoryError

    enhancer = Enhancer(gain)
    monkeypatch.setattr(enhancer._runtime, "_session", SimpleNamespace(run=run))
    with pytest.raises(PictureError, match=r"17 x 21 pixels, too large .* do fewer at once"):
        enhancer(dark)


def test_pil_palette_comes_back_as_rgb(enhancer, dark):
    palette = Image.fromarray(dark).quantize(9)
    result = enhancer(palette)
    assert result.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(result), enhancer(np.asarray(palette.convert("RGB"))))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((1, 3, 8, 8), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
        [[1, 2, 3]],
    ],
)
def test_other_arrays_are_refused_by_what_was_received(enhancer, image):
    received = str(image.shape) if isinstance(image, np.ndarray) and image.dtype == np.uint8 else "float32|list"
    with pytest.raises(ShapeError, match="Got") as caught:
        enhancer(image)
    assert any(word in str(caught.value) for word in received.split("|"))


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_images_without_pixels_are_refused(enhancer, mode, size):
    for call in (enhancer, enhancer.survey):
        with pytest.raises(ShapeError, match=f"Got an image of {size[0]} x {size[1]} pixels"):
            call(Image.new(mode, size))


@pytest.mark.parametrize("size", [(-1, 5), (5, 0), (1.5, 5), ("a", 5)])
def test_a_warm_up_has_pixels(enhancer, size):
    with pytest.raises(ShapeError, match=f"{size[0]} x {size[1]} pixels"):
        enhancer.warm_up(*size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 1.5}, "threads is 1.5; allowed: whole numbers from 1 to 1024, or None"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": True}, "threads is True"),
        ({"threads": 100_000}, "threads is 100000; allowed: whole numbers from 1 to 1024"),
        ({"max_waiting": -1}, "max_waiting is -1; allowed: whole numbers from 0 on, or None"),
        ({"max_waiting": 0.5}, "max_waiting is 0.5"),
        ({"tile": True}, "tile is True"),
        ({"tile": np.int64(100)}, "tile is 100; allowed: auto, 0"),
    ],
)
def test_counts_are_whole_numbers(gain, options, message):
    with pytest.raises(UsageError, match=message):
        Enhancer(gain, **options)


def test_counts_may_be_numpys(tileable, dark):
    enhancer = Enhancer(tileable, threads=np.int32(1), tile=np.int64(256), max_waiting=np.uint8(3))
    assert enhancer(np.tile(dark, (1, 40, 1))).shape[1] == 40 * dark.shape[1]


def test_types_of_arrays_are_told_to_type_checkers():
    told = {
        overload.__annotations__["image"]: overload.__annotations__["return"]
        for overload in get_overloads(Enhancer.__call__)
    }
    for kind in ("npt.NDArray[np.uint8]", "npt.NDArray[np.uint16]", "Image.Image"):
        assert told[kind] == kind


def test_not_finite_output_is_a_failure(tmp_path):
    enhancer = Enhancer(save_unary(tmp_path / "log.onnx", "Log"))
    with pytest.raises(PictureError, match="not finite"):
        enhancer(np.zeros((8, 8, 3), np.uint8))


def test_same_result_twice_and_from_threads(enhancer, dark):
    results = [None] * 4

    def work(index):
        results[index] = enhancer(dark)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, enhancer(dark))


def test_unknown_names_and_files(tmp_path, monkeypatch):
    (tmp_path / "photo.onnx").write_bytes(b"")
    monkeypatch.setattr("undim.shipped.MODELS_FOLDER", tmp_path)
    assert list_shipped_models() == ["photo"]
    assert find_model(DEFAULT_MODEL) == tmp_path / "photo.onnx"
    with pytest.raises(ModelError, match=r"Did you mean 'photo'.*Shipped: photo"):
        find_model("phot")
    with pytest.raises(ModelError, match="no model file"):
        find_model(tmp_path / "absent.onnx")


def test_files_that_are_not_models(tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match="not a model"):
        Enhancer(tmp_path / "text.onnx")
    identity = [helper.make_node("Identity", ["image"], ["bright"])]
    with pytest.raises(ModelError, match="'bright'"):
        Enhancer(save_model(tmp_path / "name.onnx", identity, output="bright"))
    identity = [helper.make_node("Identity", ["image"], ["enhanced"])]
    with pytest.raises(ModelError, match="N x 3 x H x W"):
        Enhancer(save_model(tmp_path / "grey.onnx", identity, shape=("n", 1, "h", "w")))
    with pytest.raises(ModelError, match="only 64 x 64"):
        Enhancer(save_model(tmp_path / "fixed.onnx", identity, shape=("n", 3, 64, 64)))


def test_output_of_another_size_is_refused(tmp_path, dark):
    pool = [helper.make_node("AveragePool", ["image"], ["enhanced"], kernel_shape=[2, 2], strides=[2, 2])]
    model = save_model(tmp_path / "half.onnx", pool, out_shape=("n", 3, "a", "b"))
    with pytest.raises(ModelError, match="returned"):
        Enhancer(model)(dark)


def test_import_is_light_and_without_torch(tmp_path):
    model = save_gain(tmp_path / "gain.onnx")
    code = (
        "import sys, undim\n"
        "print(sorted({'torch', 'onnxruntime', 'PIL', 'numpy'} & set(sys.modules)))\n"
        "import numpy; undim.Enhancer(sys.argv[1])(numpy.zeros((9, 9, 3), 'uint8'))\n"
        "print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code, model], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\nFalse\n"


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="Enhance"):
        _ = undim.Enhance
    assert "Enhancer" in dir(undim)


@pytest.mark.parametrize("strength", [np.float32(0.5), np.float64(0.5), np.float16(0.5)])
def test_numpy_numbers_are_numbers(enhancer, dark, strength):
    np.testing.assert_array_equal(enhancer(dark, strength=strength), enhancer(dark, strength=0.5))
    np.testing.assert_array_equal(enhancer(dark, strength=np.int64(1)), enhancer(dark))
    with pytest.raises(UsageError, match=r"strength is 1\.5; allowed"):
        enhancer(dark, strength=np.float32(1.5))


@pytest.mark.parametrize("order", [">", "<", "="])
def test_any_byte_order(enhancer, dark, order):
    deep = dark.astype(np.uint16) * 257
    other = deep.astype(np.dtype(np.uint16).newbyteorder(order))
    result = enhancer(other)
    np.testing.assert_array_equal(result, enhancer(deep))
    assert result.dtype == np.uint16
    assert result.dtype.isnative
    np.testing.assert_array_equal(enhancer(other, strength=0), deep)


def test_read_only_strided_and_reversed_arrays(enhancer, dark):
    wide = np.repeat(dark, 2, axis=1)
    locked = dark.copy()
    locked.flags.writeable = False
    for view in (locked, wide[:, ::2], np.ascontiguousarray(dark[::-1])[::-1], np.asfortranarray(dark)):
        result = enhancer(view)
        np.testing.assert_array_equal(result, enhancer(dark))
        result[0] = 0  # the caller's own
    assert (enhancer(locked, strength=0) == locked).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_turned_photograph_comes_out_as_viewers_show_it(enhancer, orientation, kind):
    """What is saved, in the README's way, looks upright in viewers that heed EXIF and in those that do not."""
    upright = np.zeros((48, 32, 3), np.uint8)
    upright[:16, :16], upright[:16, 16:], upright[32:, :16] = (90, 0, 0), (0, 90, 0), (0, 0, 90)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # names of Pillow's transpositions, as EXIF 2.32 has them
    stored = Image.fromarray(upright)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "a maker"
    stream = io.BytesIO()
    stored.save(stream, kind, exif=exif, quality=100, lossless=True)
    clear = enhancer(Image.open(io.BytesIO(stream.getvalue())))
    assert clear.size == (32, 48)
    saved = io.BytesIO()
    clear.save(saved, "PNG", exif=clear.info["exif"])
    seen = ImageOps.exif_transpose(Image.open(saved))
    assert seen.size == (32, 48)
    assert Image.open(saved).getexif()[0x010F] == "a maker"
    values = np.asarray(seen).astype(int)
    for row, column, channel in ((8, 8, 0), (8, 24, 1), (40, 8, 2)):
        assert values[row, column].argmax() == channel
