"""Kill a batch on a Ray cluster again and again, and compare what comes of it with an undisturbed one on this machine.

    python benchmarks/batch_kill.py --count 2000 --data DIR

DIR holds pictures, in sub-folders too; crops of them are the dark ones. Three of the processes that work on pictures
(Ray's actors and their workers in turn) are killed with SIGKILL, and the driver once, which is then started again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from undim.jobs.work import hash_of

VICTIMS = ("ray::MapWorker", "undim.batch.worker", "ray::MapWorker")


def make_crops(data: str, folder: Path, count: int, side: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    sources = sorted(path for path in Path(data).rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not sources:
        sys.exit(f"There is no picture in {data}.")
    opened = {}
    for number in range(count):
        path = sources[int(rng.integers(len(sources)))]
        if path not in opened:
            if len(opened) > 40:
                opened.clear()
            opened[path] = np.asarray(Image.open(path).convert("RGB"))
        whole = opened[path]
        high, wide = (max(1, length - side) for length in whole.shape[:2])
        top, left = int(rng.integers(high)), int(rng.integers(wide))
        target = folder / f"{number // 500:02d}" / f"{number:06d}.{'png' if number % 2 else 'jpg'}"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(whole[top : top + side, left : left + side] // 4).save(target)


def batch(source: Path, target: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "undim", "batch", str(source), str(target), "--workers", "2", *words]


def made(folder: Path) -> int:
    return sum(path.suffix in (".png", ".jpg") for path in folder.rglob("*.*")) if folder.exists() else 0


def processes(word: str, root: int) -> list[int]:
    """Those below a process whose command line has the word."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True)  # noqa: S607
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    below, grown = {root}, True
    while grown:
        more = {int(pid) for pid, parent, _ in rows if int(parent) in below} - below
        below |= more
        grown = bool(more)
    return [int(pid) for pid, _, words in rows if int(pid) in below and word in words]


def wait_for(driver: subprocess.Popen[bytes], target: Path, number: int) -> bool:
    while driver.poll() is None and made(target) < number:
        time.sleep(0.2)
    return driver.poll() is None


def disturb(source: Path, target: Path, count: int, words: tuple[str, ...]) -> tuple[list[str], int, int, float]:
    """Run with everything killed; returns what was killed and the seconds."""
    begin, killed = time.monotonic(), []
    command = batch(source, target, "--engine", "ray", *words)
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603
    for place, word in enumerate(VICTIMS[:2]):
        if wait_for(driver, target, (place + 1) * count // 6):
            for victim in processes(word, driver.pid)[:1]:
                os.kill(victim, signal.SIGKILL)
                killed.append(word)
    if wait_for(driver, target, count // 2):
        driver.kill()
        killed.append("driver")
    driver.wait()
    resumed_at = made(target)
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603
    if wait_for(driver, target, resumed_at + (count - resumed_at) // 3):
        for victim in processes(VICTIMS[2], driver.pid)[:1]:
            os.kill(victim, signal.SIGKILL)
            killed.append(VICTIMS[2])
    status = driver.wait()
    return killed, resumed_at, status, time.monotonic() - begin


def read_rows(target: Path) -> tuple[dict[str, dict[str, object]], int]:
    lines = (target / ".undim" / "report.jsonl").read_text().splitlines()
    return {row["key"]: row for row in map(json.loads, lines)}, len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--side", type=int, default=128, help="of a crop, in pixels")
    parser.add_argument("--data", default=os.environ.get("UNDIM_DATA"), help="a folder of pictures")
    parser.add_argument("--model", default="tiny")
    given = parser.parse_args()
    if not given.data:
        sys.exit("Give --data DIR.")
    with tempfile.TemporaryDirectory() as place:
        source, whole, broken = (Path(place) / name for name in ("in", "whole", "broken"))
        make_crops(given.data, source, given.count, given.side)
        words = ("--model", given.model)
        subprocess.run(batch(source, whole, *words), check=True, stderr=subprocess.DEVNULL)  # noqa: S603
        killed, resumed_at, status, seconds = disturb(source, broken, given.count, words)
        plain, _ = read_rows(whole)
        rows, lines = read_rows(broken)
        outputs = {path.relative_to(broken).as_posix(): hash_of(path.read_bytes()) for path in broken.rglob("*.*g")}
        report = {
            "pictures": given.count,
            "killed": killed,
            "outputs when the driver was killed": resumed_at,
            "exit status of the resumed driver": status,
            "rows": lines,
            "statuses": dict(Counter(row["status"] for row in rows.values())),
            "lost": len(plain.keys() - rows.keys()),
            "twice": lines - len(rows),
            "outputs that differ from the local engine's": sum(
                outputs.get(row["output"]) != row["sha256"] for row in plain.values()
            ),
            "rows whose hash is not their output's": sum(
                outputs.get(row["output"]) != row["sha256"] for row in rows.values()
            ),
            "outputs that no row names": len(outputs.keys() - {row["output"] for row in rows.values()}),
            "half-written files": len(list(broken.rglob("*.tmp"))),
            "seconds": round(seconds, 1),
        }
        print(json.dumps(report, indent=1))
        bad = ("lost", "twice", "outputs that differ from the local engine's", "rows whose hash is not their output's")
        sys.exit(any(report[name] for name in bad) or status != 0 or len(killed) < 4 or lines != given.count)


if __name__ == "__main__":
    main()
