"""The queue: a study that was killed at any moment goes on to the same cells as an unbroken one."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

from undim.errors import UsageError
from undim.results.study import CellDocument
from undim.study.plan import load_study
from undim.study.runner import TOGETHER, Slot, find_places, run_study
from undim.training.recipe import load_recipe
from undim.weights.files import load_model

PLACES = [Slot(0, 1, None)]


def timeless(folder):
    """All cells without what the clock says."""
    return {
        path.name: {key: value for key, value in CellDocument.read(path).as_json().items() if key != "time"}
        for path in (folder / "cells").glob("*.json")
    }


def progress_of(folder):
    """Finished cells and checkpoints, with their times."""
    files = [*folder.glob("cells/*.json"), *folder.glob("runs/*/last/checkpoint.pt")]
    found = set()
    for path in files:
        with suppress(FileNotFoundError):
            found.add((path, path.stat().st_mtime_ns))
    return found


@pytest.mark.slow
def test_a_study_killed_at_random_moments_ends_as_an_unbroken_one(study_file, tmp_path):
    study_file.write_text(study_file.read_text().replace("seeds: [0, 1]", "seeds: [3]"))
    # Apart from each other: equal cells of studies beside each other are adopted.
    whole, broken = tmp_path / "first" / "whole", tmp_path / "second" / "broken"
    assert run_study(load_study(study_file), whole, PLACES) == []
    assert len(timeless(whole)) == 3
    command = [sys.executable, "-m", "undim", "study", str(study_file), "-o", str(broken), "--jobs", "2"]
    moments = np.random.default_rng(0)
    killed = 0
    for round_ in range(6):
        before = progress_of(broken)
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while round_ % 2 and process.poll() is None and progress_of(broken) == before:
            time.sleep(0.01)  # every second time not before it has got further
        time.sleep(moments.uniform(0, 3))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        for path in (broken / "cells").glob("*"):
            CellDocument.read(path)  # nothing half-written, no drafts
    assert killed >= 3  # on a fast machine it may end before the last
    subprocess.run(command, check=True, capture_output=True)
    assert timeless(broken) == timeless(whole)
    for run in (whole / "runs").iterdir():
        twin = broken / "runs" / run.name / "average.safetensors"
        assert (run / "average.safetensors").read_bytes() == twin.read_bytes()


@pytest.mark.slow
def test_cells_hold_what_the_run_says_and_are_done_once(study_file, tmp_path):
    folder = tmp_path / "study"
    told = []
    assert run_study(load_study(study_file), folder, PLACES, told.append) == []
    base, further, pog = (
        CellDocument.read(folder / "cells" / f"{name}-s0.json").as_json() for name in ("base", "further", "pog")
    )
    model = load_model(folder / "runs" / "pog-s0" / "average.safetensors")
    assert pog["cost"]["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert pog["cost"]["adr_parameters"] == pog["cost"]["parameters"] - base["cost"]["parameters"]
    assert pog["curve"]["step"] == [3, 6]
    assert [one["step"] for one in pog["diversity_over_training"]] == [0, 3, 6]
    # What is scored is what the last validation saw.
    for name in ("psnr", "ssim", "psnr_gt_mean", "brightness_error"):
        assert pog["scores"]["val"][name] == pytest.approx(pog["curve"][name][-1], abs=1e-4)
    assert pog["diversity"] == pog["diversity_over_training"][-1]["layers"]
    assert base["diversity"] is None
    # The one that comes after another starts from its end.
    start = load_recipe(folder / "runs" / "further-s0" / "recipe.yaml").model.start
    assert start == (folder / "runs" / "base-s0" / "average.safetensors").resolve()
    assert further["content"]["recipe"]["model"]["start"] == f"the end of base-s0, {base['fingerprint']}"
    assert not (folder / "runs" / "pog-s0" / "last").exists()
    assert json.loads((folder / "plan.json").read_text())["base"] == "base"
    assert told[-1] == "further-s1: finished, 6 of 6"
    # A second time, nothing is left to do.
    told.clear()
    assert run_study(load_study(study_file), folder, PLACES, told.append) == []
    assert told == []
    # Another recipe under the same names is refused before anything starts.
    study_file.write_text(study_file.read_text().replace("embedding: 4", "embedding: 8"))
    with pytest.raises(UsageError, match=r"pog-s0.json was made by .*: model.adr.embedding is 8 here and 4"):
        run_study(load_study(study_file), folder, PLACES, told.append)


@pytest.mark.slow
def test_a_cell_that_cannot_be_run_fails_alone_and_a_killed_worker_goes_on(study_file, tmp_path):
    text = study_file.read_text().replace("seeds: [0, 1]", "seeds: [0]")
    study_file.write_text(text.replace("change: {steps: 2}", "change: {model: {settings: {dims: [4, 4, 8]}}}"))
    folder = tmp_path / "study"
    told = []

    def notify(line):
        told.append(line)
        if told.count("base-s0: started") == 1 and line == "base-s0: started":
            kill_worker(folder / "runs" / "base-s0")

    failures = run_study(load_study(study_file), folder, PLACES, notify)
    assert [failure.cell.name for failure in failures] == ["further-s0"]
    assert "does not fit its network" in failures[0].reason
    assert sorted(path.name for path in (folder / "cells").iterdir()) == ["base-s0.json", "pog-s0.json"]
    assert told.count("base-s0: started") == 2


def kill_worker(run):
    """Kill the process that this one started last, with a thread, as soon as it works in the folder."""
    import threading

    def wait():
        while not (run / "lock").exists():
            time.sleep(0.05)
        children = subprocess.run(
            ["ps", "--ppid", str(os.getpid()), "-o", "pid=,args="], capture_output=True, text=True, check=True
        ).stdout
        (line,) = [line for line in children.splitlines() if "undim.study.worker" in line]
        os.kill(int(line.split()[0]), signal.SIGKILL)

    threading.Thread(target=wait).start()


def test_places_are_cores_or_shares_of_the_gpus(monkeypatch):
    monkeypatch.setattr("undim.study.runner._visible_gpus", list)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert find_places() == [Slot(number, 1, None) for number in range(6)]
    assert find_places(threads=2) == [Slot(number, 2, None) for number in range(3)]
    assert find_places(2) == [Slot(0, 1, None), Slot(1, 1, None)]
    with pytest.raises(UsageError, match="no CUDA device"):
        find_places(device="cuda")
    monkeypatch.setattr("undim.study.runner._visible_gpus", lambda: ["0", "1"])
    assert find_places(2) == [Slot(0, 3, "0"), Slot(1, 3, "1")]
    assert find_places() == [Slot(number, 1, str(number % 2)) for number in range(2 * TOGETHER)]
    assert [place.gpu for place in find_places(3)] == ["0", "1", "0"]
    assert find_places(1, device="cpu") == [Slot(0, 1, None)]
    assert Slot(0, 3, "GPU-7").environment()["CUDA_VISIBLE_DEVICES"] == "GPU-7"
    assert Slot(0, 3, None).environment()["OMP_NUM_THREADS"] == "3"
