"""A run that was stopped, killed or never got to its first checkpoint goes on to the same end as an unbroken one."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from stopped_runs import StoppedError, stop_at, timeless
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from undim.errors import CheckpointError, RecipeError
from undim.training.checkpoints import load_checkpoint
from undim.training.loop import train_network
from undim.training.recipe import load_recipe

ALIKE = ("best.safetensors", "average.safetensors", "recipe.yaml")


def assert_same_run(first, second):
    assert timeless(first) == timeless(second)
    for name in ALIKE:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    states = [load_checkpoint(run / "last") for run in (first, second)]
    assert states[0]["step"] == states[1]["step"]
    assert states[0]["best"] == states[1]["best"]
    for key in ("model", "average"):
        for name, tensor in states[0][key].items():
            assert torch.equal(tensor, states[1][key][name]), name
    assert sorted(path.name for path in (first / "sheets").iterdir()) == sorted(
        path.name for path in (second / "sheets").iterdir()
    )


def event_steps(run, tag):
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return [event.step for event in events.Scalars(tag)]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("stops", "whole"),
    [
        pytest.param((5,), 0, id="once"),
        pytest.param((3, 4, 7), 0, id="often", marks=pytest.mark.slow),
        pytest.param((4, 7), 16, id="kernels of whole pictures"),
    ],
)
def test_stopped_and_resumed_equals_unbroken(recipe, tmp_path, stops, whole):
    # Dropout, an uneven number of steps since the last row, and a validation apart from the checkpoints.
    changes = {"model.settings.dropout": "0.5", "validate_every": "2", "data.kernels_from_whole": str(whole)}
    plan = load_recipe(recipe, changes)
    train_network(plan, tmp_path / "whole")
    for index, step in enumerate(stops):
        with pytest.raises(StoppedError):
            train_network(plan, tmp_path / "broken", resume=index > 0, report=stop_at(step))
    assert load_checkpoint(tmp_path / "broken" / "last")["step"] < stops[-1]
    assert train_network(plan, tmp_path / "broken", resume=True)[1] == 8
    assert_same_run(tmp_path / "whole", tmp_path / "broken")
    for tag in ("loss", "psnr"):
        assert event_steps(tmp_path / "broken", tag) == [2, 4, 6, 8]


def test_mean_losses_reach_across_a_checkpoint(recipe, tmp_path):
    losses = []
    plan = load_recipe(recipe, {"steps": "7", "validate_every": "7"})
    train_network(plan, tmp_path / "whole", report=lambda progress: losses.append(progress.loss))
    with pytest.raises(StoppedError):
        train_network(plan, tmp_path / "broken", report=stop_at(4))
    train_network(plan, tmp_path / "broken", resume=True)
    (row,) = timeless(tmp_path / "broken")
    assert float(row["loss"]) == pytest.approx(sum(losses) / 7, rel=1e-6)


def test_a_finished_run_can_be_made_longer(recipe, tmp_path):
    train_network(load_recipe(recipe, {"steps": "4"}), tmp_path / "run")
    assert train_network(load_recipe(recipe), tmp_path / "run", resume=True)[1] == 8
    assert [row["step"] for row in timeless(tmp_path / "run")] == ["4", "8"]
    assert load_recipe(tmp_path / "run" / "recipe.yaml").steps == 8


def test_a_run_killed_before_its_first_checkpoint_begins_anew(recipe, tmp_path):
    plan = load_recipe(recipe)
    train_network(plan, tmp_path / "whole")
    with pytest.raises(StoppedError):
        train_network(plan, tmp_path / "broken", report=stop_at(2))
    assert not (tmp_path / "broken" / "last").exists()
    with pytest.raises(RecipeError, match="another recipe: seed is 1 here and 0 there"):
        train_network(load_recipe(recipe, {"seed": "1"}), tmp_path / "broken", resume=True)
    said = []
    train_network(plan, tmp_path / "broken", resume=True, notify=said.append)
    assert len(said) == 1
    assert "starts from the beginning" in said[0]
    assert_same_run(tmp_path / "whole", tmp_path / "broken")
    train_network(plan, tmp_path / "broken", resume=True, notify=said.append)
    assert len(said) == 1


def test_resuming_nothing_is_an_error(recipe, tmp_path):
    for run in (tmp_path / "absent", tmp_path):
        with pytest.raises(CheckpointError, match="nothing to resume"):
            train_network(load_recipe(recipe), run, resume=True)
    assert not (tmp_path / "absent").exists()


def test_resuming_clears_away_drafts_of_a_killed_session(recipe, tmp_path):
    train_network(load_recipe(recipe, {"steps": "1"}), tmp_path / "run")
    draft = tmp_path / "run" / "last" / ".undim-0123456789abcdef.tmp"
    draft.write_bytes(b"half")
    train_network(load_recipe(recipe), tmp_path / "run", resume=True)
    assert not draft.exists()


@pytest.mark.parametrize("line", ["garbage,1", "4,much", "4,0.1\n\x00,2", "\udcff"])
def test_a_damaged_table_is_named(recipe, tmp_path, line):
    train_network(load_recipe(recipe, {"steps": "4"}), tmp_path / "run")
    table = tmp_path / "run" / "metrics.csv"
    with table.open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"{line}\n")
    with pytest.raises(CheckpointError, match=rf"metrics\.csv is damaged in line {3 + line.count(chr(10))}: remove"):
        train_network(load_recipe(recipe), tmp_path / "run", resume=True)
    table.unlink()
    assert train_network(load_recipe(recipe), tmp_path / "run", resume=True)[1] == 8


def steps_done(run):
    try:
        return load_checkpoint(run / "last")["step"]
    except CheckpointError:
        return 0


@pytest.mark.slow
def test_killed_at_random_times_and_resumed_equals_unbroken(recipe, tmp_path):
    settings = {"steps": "240", "validate_every": "40", "checkpoint_every": "9", "model.settings.dropout": "0.2"}
    command = [sys.executable, "-m", "undim", "train", str(recipe)]
    command += [word for key, text in settings.items() for word in ("--set", f"{key}={text}")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "-o", str(tmp_path / "whole")], check=True, env=environment)
    again = [*command, "-o", str(tmp_path / "killed")]
    draw = random.Random(time.time_ns())  # noqa: S311 - any time will do
    reached = []
    for kill in range(3):
        begun = steps_done(tmp_path / "killed")
        resume = ["--resume"] if kill else []
        with subprocess.Popen([*again, *resume], env=environment) as process:
            deadline = time.monotonic() + 120
            while steps_done(tmp_path / "killed") < begun + 9 and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(draw.uniform(0, 0.8))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        reached.append(steps_done(tmp_path / "killed"))
    assert reached == sorted(set(reached))
    assert reached[0] > 0
    assert reached[-1] < 240
    subprocess.run([*again, "--resume"], check=True, env=environment)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    assert event_steps(tmp_path / "killed", "psnr") == list(range(40, 241, 40))
