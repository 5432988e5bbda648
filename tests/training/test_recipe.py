"""Recipes refuse what they do not know, and those in the repository are valid."""

import math
from pathlib import Path

import pytest
import torch

from undim.errors import RecipeError
from undim.strict_yaml import load_yaml
from undim.training.network import build_model, spec_of
from undim.training.recipe import dump_recipe, load_recipe
from undim.training.samples import load_crops
from undim.training.schedule import rate_at, sizes_at
from undim.training.stepper import Stepper

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))


FAMILIES = {  # Dm and De: the paper's for the published sizes, less of both for the small ones
    "restormer": (4, 64),
    "retinexformer": (16, 64),
    "cidnet": (32, 64),
    "candela": (8, 32),
    "restormer_small": (2, 32),
    "retinexformer_small": (6, 32),
    "cidnet_small": (10, 32),
}
KERNELS = ("base", "static", "dynamic", "pog")
CPU_SIZED = [family for family in FAMILIES if family == "candela" or family.endswith("_small")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_recipe_builds_its_network(path):
    recipe = load_recipe(path)
    with torch.device("meta"):
        model = build_model(recipe.model)
        assert spec_of(recipe, 1).build().state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_four_of_a_family_differ_in_adr_alone(family):
    recipes = {kernel: load_recipe(FOLDER / f"{family}_{kernel}.yaml") for kernel in KERNELS}
    base = recipes.pop("base")
    assert base.model.name == family
    assert base.model.adr is None
    for kernel, recipe in recipes.items():
        adr = recipe.model.adr
        assert (adr.kernel, adr.where, adr.bottleneck, adr.embedding) == (kernel, "decoder", *FAMILIES[family])
        assert recipe.model_copy(update={"model": base.model}) == base


def test_restormer_with_pog_has_the_size_in_the_paper():
    with torch.device("meta"):
        model = build_model(load_recipe(FOLDER / "restormer_pog.yaml").model)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(30.70e6, rel=1e-3)


def test_published_recipes_say_what_was_published():
    restormer, retinexformer, cidnet = (
        load_recipe(FOLDER / f"{family}_base.yaml") for family in ("restormer", "retinexformer", "cidnet")
    )
    assert [(r.steps, r.optimiser.name, r.optimiser.lr) for r in (restormer, retinexformer, cidnet)] == [
        (300_000, "adamw", 3e-4),
        (150_000, "adam", 2e-4),
        (60_625, "adam", 1e-4),
    ]
    crops = {step: sizes_at(step / 300_000, restormer) for step in (0, 91_999, 92_000, 299_999)}
    assert crops == {0: (128, 64), 91_999: (128, 64), 92_000: (160, 40), 299_999: (384, 8)}
    ends = [rate_at(r.steps, 1.0, r.optimiser) for r in (restormer, retinexformer, cidnet)]
    assert ends == pytest.approx([1e-6, 1e-6, 1e-7])
    assert rate_at(46_000, 46 / 150, retinexformer.optimiser) == pytest.approx(3e-4)
    assert cidnet.optimiser.clip is None


@pytest.mark.parametrize("name", [f"{family}_{kernel}" for family in CPU_SIZED for kernel in KERNELS])
def test_one_step_of_each_cpu_sized_recipe(recipe, name):
    root = load_recipe(recipe).data.root
    changes = {"data.root": str(root), "data.crop": "16", "batch": "2", "optimiser.warmup": "0"}
    plan = load_recipe(FOLDER / f"{name}.yaml", changes)
    stepper = Stepper(plan)
    before = {key: tensor.clone() for key, tensor in stepper.network.state_dict().items()}
    loss, norm = stepper.run(load_crops(plan).batch(0, 2, 16), 0, 1e-3)
    assert 0 < loss < 2
    assert 0 < norm < math.inf
    after = stepper.network.state_dict()
    moved = {key for key, tensor in before.items() if not torch.equal(tensor, after[key])}
    assert len(moved) > len(before) / 3
    assert any(".adr." in key for key in moved) is not name.endswith("base")


def test_extending_states_only_the_difference(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "base.yaml").write_text(
        "model: {name: candela, adr: {kernel: static, bottleneck: 4}}\nsteps: 5\noptimiser: {lr: 0.1, clip: 2.0}\n"
    )
    (tmp_path / "sub" / "middle.yaml").write_text("extends: ../base.yaml\noptimiser: {clip: null}\nsteps: 6\n")
    (tmp_path / "sub" / "last.yaml").write_text("extends: middle.yaml\nmodel: {adr: {kernel: pog}}\n")
    (tmp_path / "sub" / "without.yaml").write_text("extends: middle.yaml\nmodel: {adr: null}\n")
    last = load_recipe(tmp_path / "sub" / "last.yaml", {"optimiser.lr": "0.2"})
    assert (last.steps, last.optimiser.lr, last.optimiser.clip) == (6, 0.2, None)
    assert (last.model.name, last.model.adr.kernel, last.model.adr.bottleneck) == ("candela", "pog", 4)
    assert load_recipe(tmp_path / "sub" / "without.yaml").model.adr is None


def test_extending_in_a_circle_or_nothing_is_refused(tmp_path):
    for name, parent in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "d"), ("e", "absent")):
        (tmp_path / f"{name}.yaml").write_text(f"extends: {parent}.yaml\nsteps: 1\n")
    (tmp_path / "f.yaml").write_text("extends: [a.yaml]\n")
    for name, message in (
        ("a", "extends itself, by way of c.yaml"),
        ("d", "extends itself"),
        ("e", "absent.yaml cannot be read"),
        ("f", "extends names one other recipe"),
    ):
        with pytest.raises(RecipeError, match=message):
            load_recipe(tmp_path / f"{name}.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.splits": "[test]"}, "data.splits.0: Input should be 'train', 'val' or 'val-scenes'"),
        ({"data.splits": "[train, train]"}, "name each split once"),
        ({"data.splits": "[]"}, "data.splits: Tuple should have at least 1 item"),
        ({"optimiser.lrr": "1"}, "no key 'optimiser.lrr'. Did you mean 'optimiser.lr'"),
        ({"step": "5"}, "Did you mean 'steps'"),
        ({"model.adr.kernal": "pog"}, "Did you mean 'model.adr.kernel'"),
        ({"batch": "0"}, "batch: Input should be greater than or equal to 1"),
        ({"batch": "two"}, "batch"),
        ({"steps.a": "1"}, "steps is a value"),
        ({"steps": "["}, "not a YAML value"),
        ({"seed": "-1"}, "seed"),
        ({"seed": "99999999999999999999999"}, "seed: Input should be less than 4294967296"),
        ({"steps": "1" + 400 * "0"}, "steps: Input should be less than or equal to 1000000000"),
        ({"batch": "9223372036854775807"}, "batch: Input should be less than or equal to 100000"),
        (
            {"progressive": f"[{{steps: 1{400 * '0'}, crop: 16, batch: 2}}]"},
            "progressive.0.steps: Input should be less",
        ),
        ({"optimiser.phases": f"[{{steps: 1{400 * '0'}}}]"}, "optimiser.phases.0.steps: Input should be less"),
        ({"optimiser.betas": "[1.5, 0.9]"}, "optimiser.betas.0: Input should be less than 1"),
        ({"optimiser.betas": "[0.9, -0.1]"}, "optimiser.betas.1: Input should be greater than or equal to 0"),
        ({"data.jitter": "1e9"}, "data.jitter: Input should be less than or equal to 10"),
        ({"data.mixup": "1e300"}, "data.mixup: Input should be less than or equal to 100"),
        ({"optimiser.lr": ".inf"}, "optimiser.lr"),
        ({"optimiser.name": "sgd"}, "optimiser.name: Input should be 'adamw' or 'adam'"),
        ({"loss.l2": "1"}, "Did you mean 'loss.l1'"),
        ({"loss": "{l1: 0, ssim: 0, hvi: 1}"}, "loss: at least one of"),
        ({"progressive": "[{steps: 1, crops: 16, batch: 2}]"}, "Did you mean 'progressive.crop'"),
        ({"model.adr": "null", "model.freeze": "backbone"}, "leaves nothing to train"),
        ({"model.fresh": "'['"}, "is not a regular expression"),
        ({"precision": "16-mixed"}, "precision"),
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
    phases = "[{steps: 2, shape: constant}, {steps: 3, from: 0.1, to: 1.0e-6}]"
    plan = load_recipe(recipe, {"optimiser.phases": phases, "progressive": "[{steps: 1, crop: 16, batch: 4}]"})
    assert plan.optimiser.phases[1].start == 0.1
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


def test_the_start_is_sought_beside_the_recipe_that_names_it(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "first.yaml").write_text("model: {name: candela_tiny, start: w.safetensors}\nsteps: 5\n")
    (tmp_path / "second.yaml").write_text("extends: deep/first.yaml\nsteps: 6\n")
    expected = (tmp_path / "deep" / "w.safetensors").resolve()
    assert load_recipe(tmp_path / "second.yaml").model.start == expected
    (tmp_path / "third.yaml").write_text(f"model: {{name: candela_tiny, start: {expected}}}\nsteps: 5\n")
    assert load_recipe(tmp_path / "third.yaml").model.start == expected
    changed = load_recipe(tmp_path / "third.yaml", {"model.start": "other.safetensors"})
    assert changed.model.start == Path("other.safetensors")


def test_a_key_that_stands_twice_is_named(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("steps: 3\nmodel: {name: candela_tiny}\nsteps: 4\n")
    with pytest.raises(RecipeError, match=r"twice.yaml cannot be read: the key 'steps' stands twice in one mapping"):
        load_recipe(path)
    path.write_text("steps: 3\nmodel: {name: candela, name: candela_tiny}\n")
    with pytest.raises(RecipeError, match="the key 'name' stands twice"):
        load_recipe(path)


def test_merged_mappings_may_replace_keys():
    """YAML's merge keys, also of mappings that merge others."""
    text = "o: {a: &a {x: 1}, b: &b {<<: *a, x: 2}}\nc: {<<: *b, y: 3}\n1: one\n'1': text\n"
    assert load_yaml(text) == {"o": {"a": {"x": 1}, "b": {"x": 2}}, "c": {"x": 2, "y": 3}, 1: "one", "1": "text"}
