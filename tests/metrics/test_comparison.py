import numpy as np
import pytest

from undim.errors import DataError, UsageError
from undim.metrics.comparison import find_references, name_models, name_pictures
from undim.metrics.comparison_page import BUDGET, SHEET_SIDE, Gallery, make_gallery, make_sheet


def test_models_are_called_by_what_tells_them_apart():
    assert list(name_models(["photo", "runs/a/", "b/a.onnx", "A.safetensors", "mine.nets:small"])) == [
        "photo",
        "a",
        "a-2",
        "A-3",
        "mine.nets_small",
    ]
    assert list(name_models(["input.onnx"])) == ["input-2"]
    with pytest.raises(UsageError, match="twice"):
        name_models(["photo", "tiny", "photo"])


def test_pictures_are_called_by_what_tells_them_apart():
    assert name_pictures(["x/1.png", "x/2.png", "y/2.jpg", "z/2.jpg"]) == ["1", "2.png", "2.jpg", "2.jpg-2"]


def test_references_are_found_by_name(tmp_path):
    for name in ("1.png", "2.bmp", "2.png"):
        (tmp_path / name).write_bytes(b"")
    assert find_references(["in/1.jpg", "in/3.jpg"], tmp_path) == [tmp_path / "1.png", None]
    assert find_references(["in/9.jpg"], tmp_path / "1.png") == [tmp_path / "1.png"]
    with pytest.raises(DataError, match="which one"):
        find_references(["in/2.jpg"], tmp_path)


@pytest.mark.parametrize(("pictures", "columns"), [(1, 2), (200, 2), (2, 60)])
def test_sheets_and_pages_stay_small_enough_to_open(pictures, columns):
    gallery = make_gallery(pictures, columns)
    assert gallery.side <= 1600
    assert gallery.side == 320 or pictures * columns * gallery.side**2 <= BUDGET
    names = [f"column {place}" for place in range(columns)]
    tall = np.zeros((30, 10, 3), np.uint8)
    for place in range(pictures):
        gallery.show(str(place), names[place % columns], tall)
    sheet, count = make_sheet(gallery, names)
    assert max(sheet.shape[:2]) <= SHEET_SIDE
    assert count == pictures or gallery.cell == 48


def test_a_picture_of_any_shape_keeps_its_place():
    gallery = Gallery(64, 50)
    wide = np.full((1, 4000, 3), 200, np.uint8)
    gallery.show("wide", "input", wide)
    gallery.show("tall", "input", np.full((4000, 1, 3), 60, np.uint8))
    sheet, count = make_sheet(gallery, ["input", "model"])
    assert count == 2
    assert sheet[22, :50].min() == 200
    assert sheet[-10, :50].max() == 60
    assert (sheet[-10, 54:] == 128).all()
