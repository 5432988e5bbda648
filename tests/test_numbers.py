"""README, models.md and the cards hold the figures of docs/numbers.json; README is short and its links lead on."""

import json
import re
from pathlib import Path

import pytest

from test_command_pages import load_script
from undim.shipped import SHIPPED

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def maker():
    return load_script("make_numbers")


def test_every_place_holds_the_figures_of_the_file(maker):
    numbers = json.loads(maker.NUMBERS.read_text())
    assert list(numbers) == list(SHIPPED)
    for path, text in maker.filled(numbers).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} has other figures: python docs/make_numbers.py"
    told = f"{numbers['photo']['lol-v1/val-scenes']['psnr']:.2f} / {numbers['photo']['sice/test']['psnr']:.2f}"
    assert told in README


def test_a_figure_that_differs_is_found_in_each_place(maker):
    numbers = json.loads(maker.NUMBERS.read_text())
    for sets in numbers.values():
        sets["lol-v1/val-scenes"]["psnr"] += 1
    for path, text in maker.filled(numbers).items():
        assert path.read_text(encoding="utf-8") != text, path.name


def test_readme_is_short_and_its_links_lead_somewhere():
    assert len(README.splitlines()) <= 110
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (PROJECT / target).is_file(), target


def test_readme_s_python_runs(tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(PROJECT / "examples")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - the page's own code
    assert (tmp_path / "clear.png").is_file()
    assert names["clear"].dtype == "uint8"
