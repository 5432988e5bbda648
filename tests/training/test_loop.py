"""The loop: it learns, resumes to the same weights, keeps its budget and fails well."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from undim.cli.main import main
from undim.errors import CheckpointError, RecipeError
from undim.nets import create_model
from undim.training.checkpoints import load_checkpoint, save_checkpoint
from undim.training.loop import TrainingError, rate_at, train_network, update_average
from undim.training.recipe import OptimiserSection, load_recipe
from undim.weights.files import load_model


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def equal(first, second):
    return all(torch.equal(value, second[key]) for key, value in first.items())


def test_loss_falls_and_the_run_is_recorded(recipe, tmp_path):
    losses = []
    plan = load_recipe(recipe, {"steps": "60", "ema": "0.5"})
    model, steps = train_network(plan, tmp_path / "run", report=lambda p: losses.append(p.loss))
    assert steps == 60
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert not model.training
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["psnr"]] == list(range(4, 61, 4))
    assert float(rows[-1]["psnr"]) > float(rows[0]["psnr"])
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == plan


def test_stopped_and_resumed_equals_unbroken(recipe, tmp_path):
    plan = load_recipe(recipe)
    whole, _ = train_network(plan, tmp_path / "whole")

    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.step == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_network(plan, tmp_path / "broken", report=stop)
    assert load_checkpoint(tmp_path / "broken")["step"] == 3
    again, steps = train_network(plan, tmp_path / "broken", resume=True)
    assert steps == 8
    assert equal(whole.state_dict(), again.state_dict())
    rows = [(tmp_path / run / "metrics.csv").read_text().splitlines()[-1].split(",") for run in ("whole", "broken")]
    assert rows[0][4:] == rows[1][4:]


@pytest.mark.slow
def test_killed_and_resumed_equals_unbroken(recipe, tmp_path):
    command = [sys.executable, "-m", "undim", "train", str(recipe), "--set", "steps=40", "--set", "validate_every=40"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "-o", str(tmp_path / "whole")], check=True, env=environment)
    kills = 0
    resume = []
    while True:
        process = subprocess.Popen([*command, "-o", str(tmp_path / "killed"), *resume], env=environment)
        deadline = time.monotonic() + 120
        before = load_checkpoint(tmp_path / "killed")["step"] if resume else 0
        while process.poll() is None and time.monotonic() < deadline:
            path = tmp_path / "killed" / "last.ckpt"
            if kills < 3 and path.exists() and load_checkpoint(tmp_path / "killed")["step"] >= before + 6:
                process.send_signal(signal.SIGKILL)
                process.wait()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
        resume = ["--resume"]
    assert kills >= 1
    weights = [load_model(tmp_path / run / "average.safetensors").state_dict() for run in ("whole", "killed")]
    assert equal(*weights)


def test_a_run_is_not_overwritten(recipe, tmp_path):
    plan = load_recipe(recipe, {"steps": "1"})
    train_network(plan, tmp_path / "run")
    with pytest.raises(RecipeError, match="--resume"):
        train_network(plan, tmp_path / "run")
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train_network(plan, tmp_path / "elsewhere", resume=True)


def test_time_budget_stops_early_with_the_rate_near_zero(recipe, tmp_path):
    rates = []

    def slow(progress):
        rates.append(progress.rate)
        time.sleep(0.1)

    plan = load_recipe(recipe, {"steps": "100000", "validate_every": "100000", "optimiser.warmup": "0"})
    _, steps = train_network(plan, tmp_path / "run", max_minutes=2 / 60, report=slow)
    assert 2 <= steps < 100
    assert load_checkpoint(tmp_path / "run")["step"] == steps
    assert rates[-1] < 0.1 * rates[0]
    assert rates == sorted(rates, reverse=True)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(recipe, tmp_path):
    plan = load_recipe(recipe, {"optimiser.lr": "1e30", "optimiser.clip": "1e30", "optimiser.warmup": "6"})
    with pytest.raises(TrainingError, match=r"lower optimiser\.lr"):
        train_network(plan, tmp_path / "run")


def test_rate_warms_up_and_falls_to_zero():
    settings = OptimiserSection(lr=1.0, warmup=10)
    assert rate_at(0, 0.0, settings) == pytest.approx(0.1)
    assert rate_at(10, 0.0, settings) == pytest.approx(1.0)
    assert rate_at(50, 0.5, settings) == pytest.approx(0.5)
    assert rate_at(100, 1.0, settings) == pytest.approx(0.0)


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

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError, match=r"No space left on device.*intact"):
        save_checkpoint({"step": 2}, tmp_path)
    assert load_checkpoint(tmp_path)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    (tmp_path / "last.ckpt").write_bytes(b"cut short")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path)


def test_command_line(recipe, tmp_path, capsys):
    assert main(["train", str(recipe), "-o", str(tmp_path / "run"), "--set", "steps=4"]) == 0
    out = capsys.readouterr().out
    assert "step 4: loss" in out
    model = load_model(tmp_path / "run" / "average.safetensors")
    assert any("adr" in key for key in model.state_dict())
    assert main(["train", str(recipe), "-o", str(tmp_path / "run")]) == 2
    assert main(["train", str(recipe), "-o", str(tmp_path / "r"), "--set", "optimizer.lr=1"]) == 2
    assert "Did you mean 'optimiser" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
