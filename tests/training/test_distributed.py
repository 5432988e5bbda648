"""Two processes share a batch and follow the same curve as one."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from stopped_runs import rows_of

from undim.training.recipe import load_recipe
from undim.training.samples import load_crops
from undim.weights.files import load_model


def train(recipe, run, settings, processes, *options):
    words = [word for key, text in settings.items() for word in ("--set", f"{key}={text}")]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher = torchrun if processes > 1 else []
    return subprocess.run(
        [sys.executable, *launcher, "-m", "undim", "train", str(recipe), "-o", str(run), *words, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("network", "steps"), [("candela_tiny", 40), ("cidnet_small", 12)])
def test_two_processes_follow_the_curve_of_one(recipe, tmp_path, network, steps):
    settings = {
        "model.name": network,  # nothing reads a part of CIDNet, which DDP has to be told
        "batch": "8",
        "accumulate": "2",
        "data.mixup": "1.0",
        "optimiser.lr": "3e-4",
        "steps": str(steps),
        "validate_every": "1",
        "checkpoint_every": str(steps // 2),
        "progressive": f"[{{steps: {steps // 2}, crop: 16, batch: 8}}, {{steps: {steps // 2}, crop: 24, batch: 4}}]",
    }
    for processes in (1, 2):
        result = train(recipe, tmp_path / str(processes), settings, processes)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count(f"step {steps}:") == 1
    one, two = rows_of(tmp_path / "1"), rows_of(tmp_path / "2")
    assert [row["step"] for row in one] == [row["step"] for row in two] == [str(step) for step in range(1, steps + 1)]
    for first, second in zip(one, two, strict=True):
        assert float(second["loss"]) == pytest.approx(float(first["loss"]), rel=1e-4), first["step"]
    weights = [load_model(tmp_path / str(n) / "average.safetensors").state_dict() for n in (1, 2)]
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], atol=1e-3), name


@pytest.mark.slow
def test_two_processes_resume_and_keep_a_time_budget(recipe, tmp_path):
    settings = {"batch": "4", "checkpoint_every": "4"}
    assert train(recipe, tmp_path / "run", {**settings, "steps": "5"}, 2).returncode == 0
    again = train(recipe, tmp_path / "run", {**settings, "steps": "1000000"}, 2, "--resume", "--max-minutes", "0.1")
    assert again.returncode == 0, again.stderr
    rows = rows_of(tmp_path / "run")
    assert 5 < int(rows[-1]["step"]) < 1_000_000
    assert 5 < float(rows[-1]["seconds"]) < 30


def find_process(folder, rank):
    """The number of the process with this rank that trains in a folder; None if there is none."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (place / "cmdline").read_bytes().split(b"\0")
            if str(folder).encode() in words and f"RANK={rank}".encode() in (place / "environ").read_bytes().split(
                b"\0"
            ):
                return int(place.name)
    return None


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
def test_a_killed_process_costs_no_more_than_the_steps_since_the_checkpoint(recipe, tmp_path):
    settings = {"batch": "4", "steps": "20", "checkpoint_every": "5", "validate_every": "20"}  # an epoch: 7 steps
    assert train(recipe, tmp_path / "whole", settings, 2).returncode == 0
    words = [word for key, text in settings.items() for word in ("--set", f"{key}={text}")]
    run = tmp_path / "broken"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "2"]
    with (tmp_path / "log.txt").open("w") as log:
        started = subprocess.Popen(
            [sys.executable, *launcher, "-m", "undim", "train", str(recipe), "-o", str(run), *words],
            env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
            stdout=log,
            stderr=log,
        )
    checkpoint = run / "last" / "checkpoint.pt"
    while not checkpoint.exists():
        assert started.poll() is None
        time.sleep(0.01)
    os.kill(find_process(run, 1), signal.SIGKILL)
    assert started.wait(400) == 0, (tmp_path / "log.txt").read_text()
    assert "exitcode: -9" in (tmp_path / "log.txt").read_text() or "Signal 9" in (tmp_path / "log.txt").read_text()
    whole, broken = (load_model(tmp_path / name / "average.safetensors").state_dict() for name in ("whole", "broken"))
    for name, tensor in whole.items():
        assert torch.allclose(tensor, broken[name], rtol=0, atol=1e-5), name
    assert [row["step"] for row in rows_of(run)] == [row["step"] for row in rows_of(tmp_path / "whole")]


@pytest.mark.parametrize("world", [2, 3])
def test_over_epochs_shares_neither_overlap_nor_lose_a_picture(recipe, world, monkeypatch):
    crops = load_crops(load_recipe(recipe))
    drawn = []
    plain = crops._index
    monkeypatch.setattr(crops, "_index", lambda place, rng: drawn.append(plain(place, rng)) or drawn[-1])
    size, shares = 6, []
    for rank in range(world):
        drawn.clear()
        for step in range(len(crops)):  # as many steps as pictures are as many epochs as the batch has pictures
            crops.batch(step, size, 16, rank=rank, world=world)
        shares.append(list(drawn))
    assert Counter(index for share in shares for index in share) == dict.fromkeys(range(len(crops)), size)
    assert {len(share) for share in shares} == {len(crops) * size // world}


@pytest.mark.parametrize("mixup", ["0.0", "1.0"])
def test_shares_make_up_the_batch(recipe, mixup):
    crops = load_crops(load_recipe(recipe, {"data.mixup": mixup}))
    for step in range(4):
        whole = crops.batch(step, 4, 16)
        shares = [crops.batch(step, 4, 16, rank=rank, world=2) for rank in range(2)]
        for rank, share in enumerate(shares):
            assert torch.equal(share.low, whole.low[rank::2])
            assert torch.equal(share.high, whole.high[rank::2])
            assert torch.equal(share.context, whole.context[rank::2])
