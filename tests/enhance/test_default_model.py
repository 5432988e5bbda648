from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from undim import Enhancer
from undim.errors import ModelError

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.mark.parametrize(("name", "factor"), [("rocket.jpg", 1.05), ("cat.png", 4), ("coffee.png", 3)])
def test_dark_pictures_become_brighter_at_their_size(name, factor):
    dark = Image.open(EXAMPLES / name)
    enhancer = Enhancer()
    clear = enhancer(dark)
    assert (clear.mode, clear.size) == (dark.mode, dark.size)
    assert np.asarray(clear.convert("L")).mean() > factor * np.asarray(dark.convert("L")).mean()
    np.testing.assert_array_equal(np.asarray(enhancer(dark)), np.asarray(clear))


def test_a_well_lit_picture_is_left_alone():
    with Image.open(Path(skimage.data.__file__).parent / "coffee.png") as picture:
        image = np.asarray(picture.convert("RGB"))
    assert peak_signal_noise_ratio(image, Enhancer()(image)) > 32


def test_what_was_darkened_comes_closer_to_what_it_was():
    with Image.open(Path(skimage.data.__file__).parent / "coffee.png") as picture:
        original = np.asarray(picture.convert("RGB"))
    with Image.open(EXAMPLES / "coffee.png") as picture:
        dark = np.asarray(picture)
    scores = [peak_signal_noise_ratio(original, image) for image in (dark, Enhancer()(dark))]
    assert scores[1] > scores[0] + 5


def test_small_and_odd_sizes():
    enhancer = Enhancer()
    for shape in ((1, 1, 3), (8, 8, 3), (13, 37, 3), (9, 70)):
        assert enhancer(np.full(shape, 20, np.uint8)).shape == shape


def test_weights_for_pytorch_say_how_they_become_a_model(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"weights")
    with pytest.raises(ModelError, match=r"undim export .*net.safetensors -o FILE.onnx makes what the others run"):
        Enhancer(path)
