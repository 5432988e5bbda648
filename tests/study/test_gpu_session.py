"""A session on a borrowed GPU, rehearsed: packs of pictures byte for byte, tiny cells, results that merge."""

import importlib.util
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from undim.study.plan import load_study

PROJECT = Path(__file__).parents[2]
STUDIES = ("gpu_retinexformer", "gpu_cidnet", "gpu_restormer")
REHEARSED = STUDIES[:2]


def script(name):
    """One of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, PROJECT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    """Files of odd sizes, one larger than a pack, one empty, in folders."""
    rng = np.random.default_rng(0)
    for name, size in (("a.png", 10), ("low/1.png", 70_000), ("low/2.png", 0), ("high/ä b.png", 250_001)):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.bytes(size))
    return tmp_path / "data"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_packs_hold_every_byte_and_no_pack_is_larger(folder, tmp_path):
    packs = script("data_packs")
    count = packs.make(folder, tmp_path / "packs", 100_000)
    sizes = [path.stat().st_size for path in sorted((tmp_path / "packs").glob("pack-*"))]
    assert len(sizes) == count == 4
    assert max(sizes) == 100_000
    assert packs.join(tmp_path / "packs", tmp_path / "there" / "data") == 4
    assert contents(tmp_path / "there" / "data") == contents(folder)
    packs.make(tmp_path / "there" / "data", tmp_path / "again", 100_000)
    assert contents(tmp_path / "again") == contents(tmp_path / "packs")


@pytest.mark.parametrize("fault", ["a bit", "a pack", "an end", "the target"])
def test_damaged_packs_leave_nothing(folder, tmp_path, fault, capsys, monkeypatch):
    packs = script("data_packs")
    packs.make(folder, tmp_path / "packs", 100_000)
    broken, target = tmp_path / "packs" / "pack-002", tmp_path / "there"
    data = bytearray(broken.read_bytes())
    if fault == "a bit":
        data[5000] ^= 1
        broken.write_bytes(data)
    elif fault == "a pack":
        broken.unlink()
    elif fault == "an end":
        broken.write_bytes(data[:-1])
    else:
        target.mkdir()
    monkeypatch.setattr(sys, "argv", ["data_packs.py", "join", str(tmp_path / "packs"), "-o", str(target)])
    assert packs.main() == 1
    assert capsys.readouterr().err.count("\n") == 1
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == (["data", "packs", "there"] if fault == "the target" else ["data", "packs"])


@pytest.mark.parametrize("name", STUDIES)
def test_studies_of_published_sizes_take_equal_steps(name):
    plan = load_study(PROJECT / "studies" / f"{name}.yaml")
    assert len(plan.cells) == 12
    assert set(plan.variants) == {"base", "static", "dynamic", "pog"}
    (steps,) = {cell.recipe.steps for cell in plan.cells}
    assert steps >= (5000 if name != "gpu_restormer" else 1)
    assert {cell.minutes for cell in plan.cells} == {None}
    assert {cell.recipe.model.name for cell in plan.cells} == {name.removeprefix("gpu_")}
    assert {(cell.recipe.data.crop, cell.recipe.batch, cell.recipe.progressive) for cell in plan.cells} == {
        (128, 8, ())
    }


def test_wheels_are_those_of_the_development_environment_without_pytorch():
    told = subprocess.run(
        [sys.executable, str(PROJECT / "benchmarks" / "gpu_wheels.py"), "-o", "none", "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.partition("==")[0] for line in told.stdout.split()}
    assert {"lightning-fabric", "pydantic", "pytest", "numpy", "safetensors", "filelock"} <= names
    assert not {name for name in names if name == "torch" or name.startswith(("nvidia-", "triton", "undim"))}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the script is one of bash")
def test_a_session_is_rehearsed_on_the_cpu(pictures, tmp_path):
    """From packs to cells that are merged into the tables."""
    script("data_packs").make(pictures, tmp_path / "packs", 50_000)
    environment = {
        **os.environ,
        "REHEARSE": "1",
        "OUT": str(tmp_path / "out"),
        "PYTHON": sys.executable,
        "STUDIES": " ".join(REHEARSED),
        "OMP_NUM_THREADS": "1",
        "CHECKS": "tests/training/test_no_host.py -k constants",
    }
    command = ["bash", str(PROJECT / "benchmarks" / "gpu_session.sh"), "10", str(tmp_path / "packs")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "checks.txt").read_text().splitlines()[-1] == "checks: passed"
    assert "| candela_tiny | device |" in (tmp_path / "out" / "steps.md").read_text()
    results = tmp_path / "results" / "studies"
    results.mkdir(parents=True)
    with tarfile.open(tmp_path / "out" / "cells.tar.gz") as tar:
        tar.extractall(results, filter="data")
    cells = sorted(path.relative_to(results).as_posix() for path in results.rglob("cells/*.json"))
    assert cells == sorted(
        f"{name}/cells/{variant}-s0.json" for name in REHEARSED for variant in ("base", "static", "dynamic", "pog")
    )
    folders = [str(results / name) for name in REHEARSED]
    undim = [sys.executable, "-m", "undim"]
    subprocess.run(
        [*undim, "study", "report", *folders, "-o", str(tmp_path / "results")],
        check=True,
        env=environment,
        capture_output=True,
    )
    merged = json.loads((tmp_path / "results" / "study.json").read_text())
    assert [study["name"] for study in merged["studies"]] == list(REHEARSED)
    assert {row["variant"] for row in merged["studies"][0]["rows"]} == {"base", "static", "dynamic", "pog"}
