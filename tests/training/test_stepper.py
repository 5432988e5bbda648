"""One step: micro-batches add up to the batch, clipping acts, frozen parts stay, compiling changes nothing."""

import shutil

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from undim.errors import RecipeError
from undim.training.losses import recipe_loss
from undim.training.recipe import load_recipe
from undim.training.samples import load_crops
from undim.training.stepper import Stepper


def stepped(recipe, changes, steps=1):
    """A stepper after some steps, and what each returned."""
    plan = load_recipe(recipe, changes)
    stepper, crops = Stepper(plan), load_crops(plan)
    results = [stepper.run(crops.batch(i, plan.batch, plan.data.crop), i, plan.optimiser.lr) for i in range(steps)]
    return stepper, results


@pytest.fixture
def gradients():
    """Global norm of the gradients that each optimiser step meets."""
    norms = []

    def note(optimiser, *_):
        tensors = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.stack([tensor.norm() for tensor in tensors]).norm()))

    handle = register_optimizer_step_pre_hook(note)
    yield norms
    handle.remove()


def test_kernels_come_from_the_whole_picture_if_the_recipe_says_so(recipe):
    changes = {"model.adr": "{kernel: pog, embedding: 8}", "data.identity": "0"}
    plain, whole, parts = (
        stepped(recipe, {**changes, **more}, 3)[1][2][0]  # at first, no layer shows in the output
        for more in (
            {},
            {"data.kernels_from_whole": "16"},
            {"data.kernels_from_whole": "16", "accumulate": "2"},
        )
    )
    assert abs(plain - whole) > 1e-5 * plain
    assert abs(parts - whole) < abs(plain - whole) / 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.adr": "null"}, "needs generated kernels"),
        ({"model.adr": "{kernel: static}"}, "needs generated kernels"),
        ({"data.mixup": "1.2"}, "mixup exclude each other"),
        ({"data.least_frame": "0.5"}, "least_frame exclude each other"),
        ({"compile": "true"}, "compile exclude each other"),
    ],
)
def test_kernels_of_whole_pictures_are_refused_where_they_are_of_no_use(recipe, change, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe, {"data.kernels_from_whole": "16", **change})


@pytest.mark.parametrize("loss", ["{l1: 1.0, ssim: 0.3}", "{charbonnier: 1.0, edge: 1.0, edge_squared: 5.0, hvi: 0.5}"])
def test_micro_batches_give_the_gradient_of_the_whole(recipe, loss, gradients):
    common = {"batch": "8", "loss": loss, "optimiser.clip": "null", "data.forgive_clipped": "true"}
    common |= {"optimiser.lr": "1e-4"}
    whole, first = stepped(recipe, common, 2)
    parts, second = stepped(recipe, {**common, "accumulate": "4"}, 2)
    assert [loss for loss, _ in second] == pytest.approx([loss for loss, _ in first], rel=1e-4)
    assert gradients[2:] == pytest.approx(gradients[:2], rel=1e-3)
    for name, tensor in whole.network.state_dict().items():
        assert torch.allclose(tensor, parts.network.state_dict()[name], atol=2e-5), name


def test_clipping_acts_between_backward_and_step(recipe, gradients):
    _, results = stepped(recipe, {"optimiser.clip": "0.01"}, 2)
    norms = [norm for _, norm in results]
    assert min(norms) > 0.02
    assert gradients == pytest.approx([0.01, 0.01], rel=1e-3)
    gradients.clear()
    _, results = stepped(recipe, {"optimiser.clip": "null"}, 2)
    assert gradients == pytest.approx([norm for _, norm in results], rel=1e-5)
    assert gradients[0] == pytest.approx(norms[0], rel=1e-5)


def test_adam_adds_decay_to_the_gradient_and_adamw_does_not(recipe):
    kinds = {
        name: stepped(recipe, {"optimiser.name": name, "optimiser.weight_decay": "0.1"})[0]
        for name in ("adam", "adamw")
    }
    states = [stepper.network.state_dict() for stepper in kinds.values()]
    assert any(not torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert type(kinds["adam"]._optimiser.optimizer) is torch.optim.Adam
    assert type(kinds["adamw"]._optimiser.optimizer) is torch.optim.AdamW


def test_a_step_that_is_not_finite_changes_nothing(recipe):
    plan = load_recipe(recipe)
    stepper, crops = Stepper(plan), load_crops(plan)
    before = {name: tensor.clone() for name, tensor in stepper.network.state_dict().items()}
    batch = crops.batch(0, 2, 16)
    batch.low[0, 0, 0, 0] = float("nan")
    loss, _ = stepper.run(batch, 0, 1e-3)
    assert loss != loss
    assert all(torch.equal(tensor, before[name]) for name, tensor in stepper.network.state_dict().items())


def test_a_frozen_backbone_keeps_every_bit(recipe):
    plan = {"model.freeze": "backbone", "optimiser.weight_decay": "0.1"}
    begun, _ = stepped(recipe, plan, 0)
    done, _ = stepped(recipe, plan, 3)
    for network in ("network", "average"):
        moved = set()
        for name, tensor in getattr(begun, network).state_dict().items():
            same = torch.equal(tensor, getattr(done, network).state_dict()[name])
            assert same or ".adr." in name, name
            moved |= set() if same else {name}
        assert moved


def test_the_memory_layout_is_chosen(recipe):
    for chosen in (True, False):
        stepper, _ = stepped(recipe, {"channels_last": str(chosen).lower()}, 0)
        weight = stepper.network.embed.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) is chosen


def test_hvi_terms_use_cidnets_own_density(recipe):
    plan = load_recipe(recipe, {"model": "{name: cidnet_small}", "loss": "{l1: 1.0, ssim: 0.0, hvi: 1.0}"})
    stepper, batch = Stepper(plan), load_crops(plan).batch(0, 2, 16)
    with torch.no_grad():
        stepper.network.trans.density_k.fill_(0.9)
        output = stepper.network(batch.low)
        expected, other = (
            float(recipe_loss(output, batch.high, plan.loss, density=k)) for k in (torch.tensor([0.9]), None)
        )
    loss, _ = stepper.run(batch, 0, 1e-9)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert abs(expected - other) > 0.01


def test_batches_that_do_not_split_are_refused(recipe, monkeypatch):
    with pytest.raises(RecipeError, match="a batch of 2 does not split evenly: accumulate is 4"):
        load_recipe(recipe, {"accumulate": "4"})
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(RecipeError, match=r"batch of 2 does not split evenly over 3 processes"):
        Stepper(load_recipe(recipe))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_training_agrees(recipe):
    small = {"model.settings.dims": "[4, 4, 4]", "model.settings.blocks": "[1, 1, 1]"}
    common = {"optimiser.lr": "1e-4", "model.adr": "null", **small}
    plain, first = stepped(recipe, common, 3)
    compiled, second = stepped(recipe, {**common, "compile": "true"}, 3)
    assert [loss for loss, _ in second] == pytest.approx([loss for loss, _ in first], rel=1e-3)
    assert compiled.state()["model"].keys() == plain.state()["model"].keys()
