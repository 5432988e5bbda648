"""docs/add-a-data-set.md, followed to the letter: the entries on the page, and nothing else, make data sets."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undim.cli.main import main
from undim.data import entries, sets
from undim.data.sets import find_pairs, find_pictures, list_sets

RNG = np.random.default_rng(0)
PAGE = Path(__file__).parents[2] / "docs" / "add-a-data-set.md"


@pytest.fixture
def added(monkeypatch):
    """The entries of the page, put where it says."""
    names = dict(vars(entries))
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)  # noqa: S102 - the page's own code
    for entry in (names["NIGHTFALL"], names["DUSK"]):
        monkeypatch.setitem(entries.SETS, entry.name, entry)
    assert sets.SETS is entries.SETS


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)


def test_the_page_is_all_that_it_takes(added, tmp_path, monkeypatch, capsys):
    for split, numbers in (("train", range(1, 5)), ("test", range(5, 7))):
        for number in numbers:
            draw(tmp_path / "Nightfall-v2" / split / "dark" / f"{number}.png")
            draw(tmp_path / "Nightfall-v2" / split / "bright" / f"{number}.jpg")
    for name in "abc":
        draw(tmp_path / "dusk" / "images" / f"{name}.png")
    monkeypatch.setenv("UNDIM_DATA", str(tmp_path))
    assert {"nightfall", "dusk"} <= set(list_sets())
    assert [pair.name for pair in find_pairs("nightfall", "train")] == ["1", "2"]
    assert [pair.name for pair in find_pairs("nightfall", "val")] == ["3", "4"]
    assert [pair.name for pair in find_pairs("nightfall", "test")] == ["5", "6"]
    assert len(find_pictures("dusk")) == 3
    assert main(["data", "check", "nightfall"]) == 0
    assert main(["data", "check", "dusk"]) == 0
    capsys.readouterr()
    assert main(["data", "list"]) == 0
    listed = capsys.readouterr().out
    assert "nightfall" in listed
    assert "dusk" in listed
