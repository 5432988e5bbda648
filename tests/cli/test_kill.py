"""Killed at any moment, a folder run leaves no half-written picture, and the next run does only what is missing."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undim.images import read_picture

KILLS = 30
PICTURES = 120


@pytest.mark.slow
def test_killed_thirty_times(tmp_path, gain):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    numbers = np.random.default_rng(0)
    for index in range(PICTURES):
        pixels = numbers.integers(0, 60, (500, 700, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(source / f"{index:03}.{('png', 'jpg', 'tif')[index % 3]}")
    words = [sys.executable, "-m", "undim", "enhance", str(source), "-o", str(target), "--model", str(gain)]
    finished: dict[str, tuple[int, int]] = {}
    interrupted = 0
    for _ in range(KILLS):
        before = set(names(target))
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
            wait_for_a_new_one(target, before, process)
            time.sleep(numbers.uniform(0, 0.1))
            process.kill()
        interrupted += process.returncode == -9
        for name in names(target):
            path = target / name
            picture = read_picture(path)
            assert picture.size == (700, 500)
            facts = (path.stat().st_ino, path.stat().st_mtime_ns)
            assert finished.setdefault(name, facts) == facts  # what was done is not done again
        if len(finished) == PICTURES:  # all are done: begin anew
            for name in names(target):
                (target / name).unlink()
            finished.clear()
    assert interrupted > KILLS / 2
    done = len(names(target))
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    assert f"{PICTURES - done} done, {done} skipped" in ended.stderr
    assert len(names(target)) == PICTURES


def names(folder: Path) -> list[str]:
    """Pictures under their final names."""
    return sorted(path.name for path in folder.glob("[!.]*")) if folder.exists() else []


def wait_for_a_new_one(folder: Path, before: set[str], process: subprocess.Popen) -> None:
    while process.poll() is None and set(names(folder)) <= before:
        time.sleep(0.005)
