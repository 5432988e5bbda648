"""Splits of a recipe's first data set where it is two folders of one's own."""

import numpy as np
import pytest
from PIL import Image

from undim.errors import DataError
from undim.training.recipe import CropStage, DataSection, ModelSection, Recipe
from undim.training.samples import find_held_out, find_split, load_crops, read_held_out


def make_pairs(folder, count, size=(4, 4)):
    for side in ("low", "high"):
        (folder / side).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.zeros((*size, 3), np.uint8)).save(folder / side / f"{number}.png")
    return DataSection(name="folder", low=folder / "low", high=folder / "high")


def test_every_tenth_pair_of_two_folders_validates(tmp_path):
    data = make_pairs(tmp_path, 21)
    val, train = ([pair.name for pair in find_split(data, split)] for split in ("val", "train"))
    assert val == ["0", "10", "20"]
    assert sorted(map(int, train)) == [number for number in range(21) if number % 10]
    recipe = Recipe(model=ModelSection(name="candela_tiny"), data=data, steps=1)
    assert find_held_out(recipe) == find_split(data, "val")
    assert [pair.name for pair in find_held_out(recipe.model_copy(update={"validate_pictures": 2}))] == ["0", "20"]
    with pytest.raises(DataError, match="has no split test beside"):
        find_split(data, "test")


def test_one_pair_is_too_few(tmp_path):
    data = make_pairs(tmp_path, 1)
    with pytest.raises(DataError, match="hold one pair: give two"):
        find_split(data, "train")


def test_the_largest_crop_of_all_stages_is_looked_at_while_pictures_are_read(tmp_path):
    data = make_pairs(tmp_path, 3, size=(20, 30))
    stages = (CropStage(steps=5, crop=16, batch=1), CropStage(steps=1, crop=24, batch=1))
    recipe = Recipe(model=ModelSection(name="candela_tiny"), data=data, steps=6, progressive=stages)
    with pytest.raises(DataError, match=r"Crops of 24 do not fit into .*[12]\.png, which is 30 x 20"):
        load_crops(recipe)
    fitting = (stages[0], stages[1].model_copy(update={"crop": 20}))
    assert len(load_crops(recipe.model_copy(update={"progressive": fitting}))) == 2


def test_pictures_that_cannot_validate_are_named(tmp_path):
    small, unequal = (
        make_pairs(tmp_path / "small", 2, size=(10, 30)),
        make_pairs(tmp_path / "unequal", 2, size=(20, 30)),
    )
    Image.fromarray(np.zeros((21, 30, 3), np.uint8)).save(unequal.high / "0.png")
    for data, message in (
        (small, r"low.0\.png has a side of 10; SSIM needs 11"),
        (unequal, r"low.0\.png is 30 x 20 and .*high.0\.png is 30 x 21"),
    ):
        with pytest.raises(DataError, match=message):
            read_held_out(Recipe(model=ModelSection(name="candela_tiny"), data=data, steps=1))
