"""Recipes refuse what they do not know, and those in the repository are valid."""

from pathlib import Path

import pytest

from undim.errors import RecipeError
from undim.training.network import build_model, spec_of
from undim.training.recipe import dump_recipe, load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_recipe_builds_its_network(path):
    recipe = load_recipe(path)
    model = build_model(recipe.model)
    assert spec_of(recipe, 1).build().state_dict().keys() == model.state_dict().keys()


def test_there_is_a_recipe_for_the_default_model():
    assert any(path.stem == "candela_pog" for path in RECIPES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimiser.lrr": "1"}, "no key 'optimiser.lrr'. Did you mean 'optimiser.lr'"),
        ({"step": "5"}, "Did you mean 'steps'"),
        ({"model.adr.kernal": "pog"}, "Did you mean 'model.adr.kernel'"),
        ({"batch": "0"}, "batch: Input should be greater than or equal to 1"),
        ({"batch": "two"}, "batch"),
        ({"steps.a": "1"}, "steps is a value"),
        ({"steps": "["}, "no YAML value"),
        ({"seed": "-1"}, "seed"),
        ({"optimiser.lr": ".inf"}, "optimiser.lr"),
    ],
)
def test_wrong_keys_and_values_are_named(recipe, changes, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_changes_are_typed(recipe):
    changed = load_recipe(recipe, {"optimiser.lr": "1e-4", "steps": "7", "model.adr": "null"})
    assert changed.optimiser.lr == 1e-4
    assert changed.steps == 7
    assert changed.model.adr is None


def test_dump_is_read_back(recipe, tmp_path):
    plan = load_recipe(recipe)
    (tmp_path / "again.yaml").write_text(dump_recipe(plan))
    assert load_recipe(tmp_path / "again.yaml") == plan


def test_files_that_are_no_recipe(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    (tmp_path / "broken.yaml").write_text("a: [1,\nb")
    (tmp_path / "latin.yaml").write_bytes("# für\nsteps: 1\n".encode("latin-1"))
    for name in ("list.yaml", "broken.yaml", "latin.yaml", "absent.yaml"):
        with pytest.raises(RecipeError, match=name) as caught:
            load_recipe(tmp_path / name)
        assert "\n" not in str(caught.value)
