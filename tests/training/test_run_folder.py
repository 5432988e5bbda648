"""What a run's folder holds, and what is left of it when the disk is full."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stopped_runs import rows_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from undim import atomic
from undim.data.crops import read_rgb
from undim.errors import TrainingError
from undim.metrics.networks import network_enhancer
from undim.metrics.protocol import score
from undim.training import validation
from undim.training.checkpoints import load_checkpoint
from undim.training.loop import train_network
from undim.training.recipe import load_recipe
from undim.training.samples import find_split
from undim.training.validation import make_sheet
from undim.weights.files import load_model, read_spec


def held_out(plan):
    return [(pair.name, read_rgb(pair.low), read_rgb(pair.high)) for pair in find_split(plan.data, "val")]


def test_the_folder_is_complete(recipe, tmp_path):
    run = tmp_path / "run"
    model, _ = train_network(load_recipe(recipe), run)
    assert sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if "tfevents" not in path.name) == [
        *("average.safetensors", "best.safetensors", "last", "last/checkpoint.pt", "metrics.csv", "recipe.yaml"),
        *("sheets", "sheets/000004.png", "sheets/000008.png", "tensorboard"),
    ]
    average = load_model(run / "average.safetensors").state_dict()
    assert all(torch.equal(tensor, average[name]) for name, tensor in model.state_dict().items())


def test_notes_say_what_the_weights_were_trained_on(recipe, tmp_path):
    stages = "[{steps: 1, crop: 16, batch: 4}, {steps: 1, crop: 24, batch: 2}]"
    train_network(load_recipe(recipe, {"seed": "7", "progressive": stages}), tmp_path / "run")
    notes = read_spec(tmp_path / "run" / "average.safetensors").notes
    assert notes["data"] == "lol-v1, split train"
    assert notes["iterations"] == "8"
    assert notes["seed"] == "7"
    assert notes["batch"] == "4 then 2"
    assert notes["crops"] == "16 then 24"
    assert notes["steps"] == "8 of batch 4 then 2, crops of 16 then 24"


def test_the_best_weights_are_those_of_the_best_row(recipe, tmp_path):
    plan = load_recipe(recipe, {"steps": "12", "validate_every": "2", "ema": "0.2", "optimiser.lr": "2e-2"})
    train_network(plan, tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    best = max(rows, key=lambda row: float(row["psnr"]))
    assert rows[-1]["best_step"] == best["step"] != rows[-1]["step"]
    path = tmp_path / "run" / "best.safetensors"
    assert read_spec(path).notes["iterations"] == best["step"]
    scores = score(network_enhancer(load_model(path)), held_out(plan))
    for name in ("psnr", "ssim", "psnr_gt_mean", "brightness_error"):
        assert getattr(scores, name) == pytest.approx(float(best[name]), abs=6e-5), name


def test_the_test_set_is_never_opened(recipe, tmp_path):
    for path in (tmp_path / "lol" / "eval15").rglob("*.png"):
        path.write_bytes(b"not a picture")
    assert train_network(load_recipe(recipe, {"steps": "4"}), tmp_path / "run")[1] == 4


@pytest.mark.slow
def test_rows_and_events_agree(recipe, tmp_path):
    reported = []
    plan = load_recipe(recipe, {"steps": "52", "validate_every": "51"})
    train_network(plan, tmp_path / "run", report=reported.append)
    rows = rows_of(tmp_path / "run")
    assert [row["step"] for row in rows] == ["50", "51", "52"]
    assert float(rows[0]["loss"]) == pytest.approx(np.mean([step.loss for step in reported[:50]]), rel=1e-6)
    speed = sum(step.pictures for step in reported[:50]) / sum(step.step_seconds for step in reported[:50])
    assert float(rows[0]["images_per_second"]) == pytest.approx(speed, rel=1e-3)
    assert [bool(row["psnr"]) for row in rows] == [False, True, True]
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    for name in ("loss", "rate", "images_per_second", "psnr", "ssim", "psnr_gt_mean", "brightness_error"):
        noted = {int(row["step"]): float(row[name]) for row in rows if row[name]}
        assert {event.step: event.value for event in events.Scalars(name)} == pytest.approx(noted, rel=1e-6), name


def test_a_sheet_shows_input_output_and_reference(recipe, tmp_path):
    plan = load_recipe(recipe, {"steps": "4"})
    model, _ = train_network(plan, tmp_path / "run")
    sheet = np.asarray(Image.open(tmp_path / "run" / "sheets" / "000004.png"))
    _, low, high = held_out(plan)[0]
    height, width = low.shape[:2]
    assert sheet.shape[1] == 3 * (width + 4)
    for column, picture in enumerate((low, network_enhancer(model)(low), high)):
        left = column * (width + 4) + 2
        np.testing.assert_array_equal(sheet[2 : 2 + height, left : left + width], picture)


def test_sheets_shrink_large_pictures_and_hold_rows_of_any_size():
    ramp = np.tile(np.arange(480, dtype=np.uint8)[None, :, None] // 2, (320, 1, 3))
    sheet = make_sheet([[ramp, ramp], [ramp[:40, :60]]])
    assert sheet.shape == (164 + 44, 2 * 244, 3)
    np.testing.assert_allclose(sheet[2:162, 2:242, 0], ramp[::2, ::2, 0], atol=1)
    assert (sheet[164:, 64:] == 255).all()


def test_about_six_pictures_are_shown(monkeypatch):
    picture = np.zeros((16, 16, 3), np.uint8)
    shown = []
    monkeypatch.setattr(validation, "make_sheet", lambda rows: shown.append(len(rows)) or picture)
    for count in (1, 5, 24):
        validation.validate(torch.nn.Conv2d(3, 3, 1), [(picture, picture)] * count)
    assert shown == [1, 5, 6]


@pytest.mark.parametrize("name", ["checkpoint.pt", "metrics.csv", "best.safetensors", "000008.png"])
def test_a_full_disk_stops_with_the_last_good_checkpoint(recipe, tmp_path, monkeypatch, name):
    changes = {"ema": "0.0", "checkpoint_every": "100"}  # so that the second validation is better
    train_network(load_recipe(recipe, {**changes, "steps": "4"}), tmp_path / "run")
    kept = (tmp_path / "run" / "last" / "checkpoint.pt").read_bytes()
    replace = Path.replace

    def fail(self, target):
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return replace(self, target)

    monkeypatch.setattr(atomic.Path, "replace", fail)
    with pytest.raises(TrainingError, match=r"No space left on device.*last good checkpoint is .*checkpoint\.pt"):
        train_network(load_recipe(recipe, changes), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "last" / "checkpoint.pt").read_bytes() == kept
    assert not list((tmp_path / "run").rglob(".undim-*.tmp"))


FULL_DISK = """
mount -t tmpfs -o size={size} none {run} || exit 77
{python} -m undim train {recipe} -o {run} --set steps=60 --set checkpoint_every=5 --set validate_every=10
status=$?
{python} - <<'END'
from pathlib import Path
from undim.training.checkpoints import load_checkpoint
run = Path("{run}")
assert not list(run.rglob(".undim-*.tmp"))
print("kept", load_checkpoint(run / "last")["step"])
END
exit $status
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full(recipe, tmp_path):
    """On a memory disk that holds one checkpoint and a half."""
    train_network(load_recipe(recipe, {"steps": "10"}), tmp_path / "trial")
    trial = sum(path.stat().st_size for path in (tmp_path / "trial").rglob("*") if path.is_file())
    checkpoint = (tmp_path / "trial" / "last" / "checkpoint.pt").stat().st_size
    (tmp_path / "run").mkdir()
    script = FULL_DISK.format(size=trial + checkpoint // 2, run=tmp_path / "run", recipe=recipe, python=sys.executable)
    result = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    if result.returncode in (1, 77) and "kept" not in result.stdout:
        pytest.skip("user namespaces are not allowed here")
    assert result.returncode == 2, result.stderr
    (message,) = [line for line in result.stderr.splitlines() if line.startswith("undim: error")]
    assert "No space left on device" in message
    assert "last good checkpoint" in message
    assert "Traceback" not in result.stderr
    assert int(result.stdout.split("kept ")[1]) >= 5
    assert load_checkpoint(tmp_path / "trial" / "last")["step"] == 10


def test_a_run_that_learns_the_validation_split_validates_nothing(recipe, tmp_path):
    run = tmp_path / "run"
    whole = load_recipe(recipe, {"data.splits": "[train, val]", "model.settings": "{memory: 30}"})
    network, _ = train_network(whole, run)
    assert sorted(path.name for path in run.iterdir()) == [
        *("average.safetensors", "last", "metrics.csv", "recipe.yaml", "tensorboard")
    ]
    assert all(row["psnr"] == "" for row in rows_of(run))
    assert read_spec(run / "average.safetensors").notes["data"] == "lol-v1, split train + val"
    learnt = len(find_split(whole.data, "train")) + len(find_split(whole.data, "val"))
    keys = network.whole.memory.keys
    assert keys.flatten(1).any(1).sum() == learnt == 30
