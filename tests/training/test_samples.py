"""Splits of a recipe's first data set where it is two folders of one's own."""

import numpy as np
import pytest
from PIL import Image

from undim.errors import DataError
from undim.training.recipe import DataSection, ModelSection, Recipe
from undim.training.samples import find_held_out, find_split


def make_pairs(folder, count):
    for side in ("low", "high"):
        (folder / side).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / side / f"{number}.png")
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
