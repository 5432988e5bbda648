"""What the wheel holds, and what works from it without a clone."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
LIMIT = 25_000_000
"""Bytes of the wheel: who wants to enhance a picture waits for them."""


def run(*words, cwd, path):
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    done = run("-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=PROJECT, path="")
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.slow
def test_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wheel.stat().st_size < LIMIT
    tops = {name.split("/")[0] for name in names}
    assert {top.rpartition(".")[2] for top in tops} == {"undim", "dist-info", "data"}
    assert not [name for name in names if "test" in name.lower() or "__pycache__" in name or "shared/" in name]
    inside = PROJECT / "src" / "undim"
    source = {path.relative_to(inside.parent).as_posix() for path in inside.rglob("*") if path.is_file()}
    plans = {
        f"undim/{folder}/{path.name}" for folder in ("recipes", "studies") for path in (PROJECT / folder).iterdir()
    }
    package = {name for name in names if name.startswith("undim/")}
    assert package == {name for name in source | plans if "__pycache__" not in name}
    assert any(name.endswith("share/man/man1/undim.1") for name in names)
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in names if "licenses/" in name}


@pytest.mark.slow
def test_the_wheel_is_built_from_what_the_container_gets(wheel, tmp_path):
    """Without Docker: the paths that .dockerignore lets through and the first stage of the Dockerfile copies."""
    let_through = {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    stage = (PROJECT / "Dockerfile").read_text().split("\nFROM ")[1]
    copied = [word for line in stage.splitlines() if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert set(copied) == let_through
    for name in copied:
        target = tmp_path / "context" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / name, target)
    done = run("-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "d", cwd=tmp_path / "context", path="")
    assert done.returncode == 0, done.stderr
    (built,) = (tmp_path / "d").glob("*.whl")
    with zipfile.ZipFile(built) as ours, zipfile.ZipFile(wheel) as whole:
        assert set(ours.namelist()) == set(whole.namelist())


@pytest.mark.slow
def test_recipes_studies_and_commands_of_pages_work_without_a_clone(unpacked, tmp_path):
    origin = run("-c", "import undim; print(undim.__file__)", cwd=tmp_path, path=unpacked)
    assert origin.stdout.startswith(str(unpacked))
    trained = run("-m", "undim", "train", "recipes/candela_tiny_base.yaml", "-o", "run", "--set", "stepz=1",
                  cwd=tmp_path, path=unpacked)  # fmt: skip
    assert (trained.returncode, "stepz" in trained.stderr) == (2, True), "the recipe was found, and its key refused"
    study = run(
        "-m", "undim", "study", "studies/a_candela_tiny.yaml", "-o", "s", "--dry-run", cwd=tmp_path, path=unpacked
    )
    assert study.stdout.splitlines()[0].startswith("base-s0: to do"), study.stderr
    assert run("-m", "undim", "study", "measure", "--help", cwd=tmp_path, path=unpacked).returncode == 0
    absent = run("-m", "undim", "study", "studies/none.yaml", "-o", "s", cwd=tmp_path, path=unpacked)
    assert (absent.returncode, "studies/none.yaml" in absent.stderr) == (2, True)
    assert run("-m", "undim", "paper", "table7", "-o", "pages", cwd=tmp_path, path=unpacked).returncode == 0
    named = {
        word
        for row in json.loads((tmp_path / "pages" / "table7.json").read_text())["rows"]
        for word in (row["command"] or "").split()
        if word.startswith(("recipes/", "studies/", "docs/", "benchmarks/"))
    }
    assert named
    assert [word for word in named if not (unpacked / "undim" / word).is_file()] == []


@pytest.mark.slow
def test_models_are_whole_in_the_wheel(unpacked, tmp_path):
    done = run("-m", "undim", "doctor", "--json", cwd=tmp_path, path=unpacked)
    assert done.returncode == 0
    assert {file["state"] for file in json.loads(done.stdout)["models"].values()} == {"whole"}
