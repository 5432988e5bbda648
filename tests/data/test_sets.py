"""The LOL-v1 entry: its splits are fixed, disjoint and of the promised kind."""

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undim.data.entries import LOL_V1, VAL_SCENES, assign_lol_v1
from undim.data.sets import find_pairs
from undim.errors import DataError

ROOT = Path(os.environ.get("UNDIM_DATA", "")) / "lol_v1"
needs_lol = pytest.mark.skipif(
    not os.environ.get("UNDIM_DATA") or not ROOT.is_dir(),
    reason="needs LOL-v1: set UNDIM_DATA to the folder with lol_v1/",
)
needs_sice = pytest.mark.skipif(
    not os.environ.get("UNDIM_DATA") or not ROOT.with_name("sice512").is_dir(),
    reason="needs the SICE pairs: set UNDIM_DATA to the folder with sice512/",
)


def make(root, train=("1", "2", "10"), test=("5",)):
    for folder, names in (("our485", train), ("eval15", test)):
        for side in ("low", "high"):
            (root / folder / side).mkdir(parents=True, exist_ok=True)
            for name in names:
                Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(root / folder / side / f"{name}.png")
    return root


@needs_lol
def test_splits_of_lol_v1():
    splits = {
        split: [int(p.name) for p in find_pairs("lol-v1", split, ROOT)] for split in ("train", "val", "val-scenes")
    }
    assert {split: len(numbers) for split, numbers in splits.items()} == {"train": 419, "val": 24, "val-scenes": 42}
    numbers = [number for split in splits.values() for number in split]
    assert len(set(numbers)) == sum(LOL_V1.counts[:1])
    assert all(any(low <= n <= high for low, high in VAL_SCENES) for n in splits["val-scenes"])
    assert not any(low <= n <= high for low, high in VAL_SCENES for n in splits["train"] + splits["val"])
    test = {int(p.name) for p in find_pairs("lol-v1", "test", ROOT)}
    assert len(test) == 15
    assert not test & set(numbers)


@needs_lol
def test_scattered_pictures_have_neighbours_in_training():
    train = {int(p.name) for p in find_pairs("lol-v1", "train", ROOT)}
    val = [int(p.name) for p in find_pairs("lol-v1", "val", ROOT)]
    assert sum(n - 1 in train or n + 1 in train for n in val) > 0.7 * len(val)


def test_a_name_decides_its_split_whatever_else_is_there(tmp_path):
    assert [assign_lol_v1(name) for name in ("16", "140", "2", "scene")] == ["val", "val-scenes", "train", "train"]
    root = make(tmp_path, train=("57", "80", "140"))
    assert [p.name for p in find_pairs("lol-v1", "val", root)] == ["57", "80"]
    with pytest.raises(DataError, match="no picture of the split train"):
        find_pairs("lol-v1", "train", root)


@needs_lol
def test_scattered_pictures_are_each_18th_of_those_outside_the_blocks():
    names = [p.name for split in ("train", "val") for p in find_pairs("lol-v1", split, ROOT)]
    numbers = sorted(int(name) for name in names)
    assert numbers[9::18][:24] == [n for n in numbers if assign_lol_v1(str(n)) == "val"]


@needs_sice
def test_no_scene_of_sice_is_in_two_splits():
    splits = {split: find_pairs("sice", split) for split in ("train", "val", "test")}
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 98, "val": 12, "test": 40}
    thumbnails = {
        side: {split: np.stack([ranks(getattr(p, side)) for p in pairs]) for split, pairs in splits.items()}
        for side in ("low", "high")
    }
    for found in thumbnails.values():
        for one, other in combinations(found.values(), 2):
            mirrored = other.reshape(-1, 16, 16)[:, :, ::-1].reshape(-1, 256)
            assert max((one @ other.T).max(), (one @ mirrored.T).max()) < 0.85
        # The same scene twice is found: 705 and 710, 844 and 849, 1307 and 1321, 1622 and 1638.
        alike = np.argwhere(np.triu(found["train"] @ found["train"].T, 1) > 0.93)
        names = [tuple(splits["train"][i].name for i in pair) for pair in alike]
        assert names == [("705", "710"), ("844", "849"), ("1307", "1321"), ("1622", "1638")]


def ranks(path):
    """Grey levels of a 16 x 16 thumbnail as ranks, of mean 0 and length 1: their product is the correlation."""
    with Image.open(path) as image:
        small = np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BOX))
    values = small.ravel().argsort(kind="stable").argsort().astype(float)
    values -= values.mean()
    return values / np.linalg.norm(values)


def test_pairs_are_sorted_as_numbers(tmp_path):
    root = make(tmp_path)
    found = find_pairs("lol-v1", "train", root)
    assert [p.name for p in found] == ["1", "2", "10"]
    assert found[0].low.parent.name == "low"
    assert found[0].high.parent.name == "high"


def test_data_are_found_under_the_environment_variable(tmp_path, monkeypatch):
    make(tmp_path / "lol_v1")
    monkeypatch.setenv("UNDIM_DATA", str(tmp_path))
    assert [p.name for p in find_pairs("lol-v1", "test")] == ["5"]
    monkeypatch.delenv("UNDIM_DATA")
    with pytest.raises(DataError, match="UNDIM_DATA"):
        find_pairs("lol-v1", "test")


def test_what_is_wrong_is_named(tmp_path):
    root = make(tmp_path)
    with pytest.raises(DataError, match="Did you mean 'lol-v1'"):
        find_pairs("lol_v1", "test", root)
    with pytest.raises(DataError, match="no split 'dev'"):
        find_pairs("lol-v1", "dev", root)
    with pytest.raises(DataError, match="there should be eval15/{low,high} or Test"):
        find_pairs("lol-v1", "test", tmp_path / "elsewhere")
    (root / "our485" / "high" / "2.png").unlink()
    with pytest.raises(DataError, match="no partner, the first is 2"):
        find_pairs("lol-v1", "train", root)
    (root / "our485" / "high" / "2.png").touch()
    (root / "our485" / "high" / "2.jpg").touch()
    with pytest.raises(DataError, match="which one is meant"):
        find_pairs("lol-v1", "train", root)
