"""A rehearsal measures real steps, says when a batch does not fit, and leaves nothing behind."""

import itertools

import pytest
import torch

from undim.errors import TrainingError
from undim.nets import count_flops
from undim.training import dry_run
from undim.training.dry_run import rehearse, spell_time
from undim.training.network import build_model
from undim.training.recipe import load_recipe
from undim.training.stepper import Stepper


def test_figures_of_a_small_network(recipe, tmp_path):
    plan = load_recipe(recipe, {"batch": "4", "steps": "1000", "model.freeze": "backbone"})
    before = sorted(tmp_path.rglob("*"))
    found = rehearse(plan)
    network = build_model(plan.model)
    assert found.parameters == sum(p.numel() for p in network.parameters())
    assert found.trained == sum(p.numel() for name, p in network.named_parameters() if ".adr." in name)
    assert found.flops == count_flops(network)
    assert found.measured_steps == 10
    assert found.measured_batch == 4
    assert 0 < found.step_seconds < 1
    assert found.seconds == pytest.approx(1000 * found.step_seconds + found.validation_seconds)
    assert 5e7 < found.memory < 1e10
    assert found.accumulate == 1
    assert sorted(tmp_path.rglob("*")) == before
    text = "\n".join(found.lines())
    assert "0.08 M parameters, 0.02 M of them trained" in text
    assert "1000 of 4 crops of 16" in text
    assert "precision    32-true" in text


def test_no_time_is_counted_for_validation_where_nothing_validates(recipe):
    assert rehearse(load_recipe(recipe)).validation_seconds > 0
    assert rehearse(load_recipe(recipe, {"data.splits": "[train, val]"})).validation_seconds == 0


def test_a_batch_that_does_not_fit_is_accumulated(recipe, monkeypatch):
    peaks = itertools.count(1_000_000_000, 100_000_000)  # the first picture adds 100 MB
    monkeypatch.setattr(dry_run, "_peak", lambda _device: next(peaks))
    monkeypatch.setattr(dry_run, "_free", lambda _device: 300_000_000)  # of which 240 MB may be filled
    taken = []
    run = Stepper.run

    def noted(self, batch, *rest):
        taken.append((len(batch.low), self.accumulate))
        return run(self, batch, *rest)

    monkeypatch.setattr(Stepper, "run", noted)
    found = rehearse(load_recipe(recipe, {"batch": "8"}))
    assert found.accumulate == 4
    assert taken[0] == (1, 1)
    assert set(taken[1:]) == {(8, 4)}
    assert any("set accumulate to 4" in line for line in found.lines())


def test_no_more_than_twenty_seconds_of_steps(recipe, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(dry_run, "monotonic", lambda: now[0])
    run = Stepper.run

    def slow(self, batch, *rest):
        now[0] += 3.0 * len(batch.low)  # three seconds a picture
        return run(self, batch, *rest)

    monkeypatch.setattr(Stepper, "run", slow)
    found = rehearse(load_recipe(recipe, {"batch": "8", "steps": "100", "validate_every": "100"}))
    assert now[0] <= 20
    assert found.measured_batch == 2
    assert found.step_seconds == pytest.approx(24.0)
    now[0] = 0.0
    monkeypatch.setattr(dry_run, "SECONDS", 1.0)  # one picture takes longer
    found = rehearse(load_recipe(recipe, {"batch": "8"}))
    assert now[0] == 3.0
    assert (found.measured_steps, found.measured_batch) == (1, 1)
    assert found.step_seconds == pytest.approx(24.0)


def test_growing_crops_are_averaged(recipe, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(dry_run, "monotonic", lambda: now[0])
    run = Stepper.run

    def by_pixels(self, batch, *rest):
        now[0] += 1e-3 * batch.low.shape[0] * batch.low.shape[2] ** 2
        return run(self, batch, *rest)

    monkeypatch.setattr(Stepper, "run", by_pixels)
    stages = "[{steps: 3, crop: 16, batch: 4}, {steps: 1, crop: 24, batch: 2}]"
    found = rehearse(load_recipe(recipe, {"progressive": stages}))
    assert found.step_seconds == pytest.approx((3 * 1.024 + 1.152) / 4)


def test_a_picture_that_does_not_fit_is_an_error(recipe, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Stepper, "run", full)
    with pytest.raises(TrainingError, match="Not even one crop of 16 fits"):
        rehearse(load_recipe(recipe))


def test_times_are_spelt_for_people():
    spelt = [spell_time(seconds) for seconds in (0.4, 59, 61, 3 * 3600 + 125, 90_000)]
    assert spelt == ["0 s", "59 s", "1 min 1 s", "3 h 2 min", "1 d 1 h"]
