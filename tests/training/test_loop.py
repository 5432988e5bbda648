"""The loop: it learns, resumes to the same weights, keeps its budget and fails well."""

import itertools
import math

import pytest
import torch
from stopped_runs import rows_of

from undim.errors import CheckpointError, DataError, RecipeError, TrainingError
from undim.nets import create_model
from undim.training import loop
from undim.training.checkpoints import load_checkpoint, save_checkpoint
from undim.training.loop import train_network
from undim.training.network import build_model, parameter_groups, update_average
from undim.training.recipe import OptimiserSection, load_recipe
from undim.weights.files import ModelSpec, save_model

pytestmark = pytest.mark.usefixtures("one_thread")


def equal(first, second):
    return all(torch.equal(value, second[key]) for key, value in first.items())


def test_loss_falls_and_the_run_is_recorded(recipe, tmp_path):
    losses = []
    plan = load_recipe(recipe, {"steps": "60", "ema": "0.5"})
    model, steps = train_network(plan, tmp_path / "run", report=lambda p: losses.append(p.loss))
    assert steps == 60
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert not model.training
    rows = rows_of(tmp_path / "run")
    assert [int(row["step"]) for row in rows if row["psnr"]] == list(range(4, 61, 4))
    assert float(rows[-1]["psnr"]) > float(rows[0]["psnr"])
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == plan


def test_a_branch_that_sees_nothing_is_told_once(recipe, tmp_path):
    silent = create_model("candela_tiny")
    with torch.no_grad():
        silent.whole.fc1.bias.fill_(-100)
    save_model(ModelSpec("candela_tiny"), silent, tmp_path / "silent.safetensors")
    start = {"model.start": str(tmp_path / "silent.safetensors"), "model.partial": "true"}
    said = []
    train_network(load_recipe(recipe, start), tmp_path / "silent", notify=said.append)
    assert len(said) == 1  # of two validations
    assert said[0].startswith("At step 4 all units of the branch that sees the whole picture are silent")
    train_network(load_recipe(recipe), tmp_path / "seeing", notify=said.append)
    train_network(load_recipe(recipe, {"model.name": "restormer_small"}), tmp_path / "other", notify=said.append)
    assert len(said) == 1


def test_a_run_is_not_overwritten(recipe, tmp_path):
    plan = load_recipe(recipe, {"steps": "1"})
    train_network(plan, tmp_path / "run")
    with pytest.raises(RecipeError, match="resume it"):
        train_network(plan, tmp_path / "run")
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train_network(plan, tmp_path / "elsewhere", resume=True)


def test_time_budget_stops_early_with_the_rate_near_zero(recipe, tmp_path, monkeypatch):
    clock = itertools.count(step=1.0)
    monkeypatch.setattr(loop, "monotonic", lambda: next(clock))
    rates = []
    plan = load_recipe(recipe, {"steps": "100000", "validate_every": "100000", "optimiser.warmup": "0"})
    _, steps = train_network(plan, tmp_path / "run", max_minutes=1, report=lambda p: rates.append(p.rate))
    assert 10 < steps < 60
    assert load_checkpoint(tmp_path / "run" / "last")["step"] == steps
    assert rates[0] > 0.95 * plan.optimiser.lr
    assert rates[-1] < 0.05 * rates[0]
    assert rates == sorted(rates, reverse=True)
    last = rows_of(tmp_path / "run")[-1]
    assert int(last["step"]) == steps
    assert float(last["psnr"]) > 0


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(recipe, tmp_path):
    plan = load_recipe(recipe, {"steps": "4"})
    train_network(plan, tmp_path / "run")
    state = load_checkpoint(tmp_path / "run" / "last")
    name = next(key for key in state["model"] if key.endswith("conv1.bias"))
    state["model"][name].fill_(float("nan"))
    save_checkpoint(state, tmp_path / "run" / "last")
    before = (tmp_path / "run" / "last" / "checkpoint.pt").read_bytes()
    with pytest.raises(TrainingError, match=r"loss is nan at step 4 .* lower optimiser\.lr"):
        train_network(load_recipe(recipe), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "last" / "checkpoint.pt").read_bytes() == before


def test_a_validation_that_is_not_finite_tells_of_the_rate_and_the_checkpoint(recipe, tmp_path):
    plan = load_recipe(recipe, {"steps": "2", "validate_every": "2", "checkpoint_every": "1"})

    def spoil(step, average):
        if step == 2:
            next(average.parameters()).data.fill_(math.nan)

    with pytest.raises(
        TrainingError, match=r"After step 2: .* not finite\. Lower optimiser\.lr\. The last good .*last"
    ):
        train_network(plan, tmp_path / "run", inspect=spoil)


@pytest.mark.parametrize(
    "changes",
    [
        {"data.root": "/nowhere"},
        {"data.name": "lol-v3"},
        {"data.crop": "500"},
        {"progressive": "[{steps: 7, crop: 16, batch: 2}, {steps: 1, crop: 500, batch: 2}]"},
    ],
)
def test_a_run_whose_pictures_do_not_do_leaves_no_folder(recipe, tmp_path, changes):
    with pytest.raises(DataError):
        train_network(load_recipe(recipe, changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_resuming_needs_the_same_recipe_and_an_intact_checkpoint(recipe, tmp_path):
    train_network(load_recipe(recipe, {"steps": "1"}), tmp_path / "run")
    with pytest.raises(RecipeError, match=r"optimiser\.lr is 0\.5 here and 0\.002 there"):
        train_network(load_recipe(recipe, {"optimiser.lr": "0.5"}), tmp_path / "run", resume=True)
    state = load_checkpoint(tmp_path / "run" / "last")
    save_checkpoint({**state, "model": {}}, tmp_path / "run" / "last")
    with pytest.raises(CheckpointError, match="not one of this recipe's network"):
        train_network(load_recipe(recipe), tmp_path / "run", resume=True)


def test_weight_decay_acts_on_kernels_and_matrices_only(recipe):
    network = build_model(load_recipe(recipe).model)
    decayed, others = parameter_groups(network, OptimiserSection(weight_decay=0.5))
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    kept = {names[id(parameter)].rpartition(".")[2] for parameter in others["params"]}
    assert kept == {"bias", "temperature", "embeddings"}
    assert {names[id(parameter)].rpartition(".")[2] for parameter in decayed["params"]} == {"weight"}


def test_average_follows_the_definition():
    torch.manual_seed(0)
    model, average = create_model("candela_tiny"), create_model("candela_tiny")
    before = [p.detach().clone() for p in average.parameters()]
    update_average(average, model, 10_000, 0.9)
    for old, new, target in zip(before, average.parameters(), model.parameters(), strict=True):
        assert torch.allclose(new, 0.9 * old + 0.1 * target, atol=1e-6)


def test_checkpoints_are_whole_and_hold_no_code(tmp_path, monkeypatch):
    save_checkpoint({"step": 1, "model": {"w": torch.ones(3)}}, tmp_path)
    assert load_checkpoint(tmp_path)["step"] == 1

    def fail(*_args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(OSError, match=r"No space left on device"):
            save_checkpoint({"step": 2}, tmp_path)
    assert load_checkpoint(tmp_path)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    for content in (b"cut short", b""):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_checkpoint(tmp_path)
    save_checkpoint([1, 2], tmp_path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(tmp_path)
