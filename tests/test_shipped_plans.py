"""Recipes and studies by the names that pages give them, in a clone and in a package without one."""

from pathlib import Path

import pytest

from undim import shipped
from undim.shipped import find_plan


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with one recipe."""
    recipe = tmp_path / "site" / "undim" / "recipes" / "r.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text("steps: 1\n")
    monkeypatch.setattr(shipped, "MODELS_FOLDER", tmp_path / "site" / "undim" / "models")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return recipe


def test_one_of_the_package(package):
    assert find_plan(Path("recipes/r.yaml")) == package


def test_the_user_s_own_comes_first(package):
    own = Path("recipes/r.yaml")
    own.parent.mkdir()
    own.write_text("steps: 2\n")
    assert find_plan(own) == own


@pytest.mark.parametrize(
    "name", ["r.yaml", "a/recipes/r.yaml", "recipes/none.yaml", "models/r.yaml", "/recipes/r.yaml"]
)
def test_other_paths_stay_as_they_are(package, name):
    assert find_plan(Path(name)) == Path(name)


def test_a_clone_has_them_beside_the_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("recipes", "studies"):
        for path in (Path(__file__).parents[1] / folder).glob("*.yaml"):
            assert find_plan(Path(folder, path.name)) == path
