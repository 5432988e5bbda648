"""Runtime "auto": which of the installed runtimes is fastest here, measured once and remembered.

The measurement is remembered for the machine, the model and the versions, so that the same command takes the same
runtime again; without a folder to remember it in, it is made anew each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from undim.arrays import Floats
from undim.atomic import write_text
from undim.errors import PictureError, UndimError
from undim.machine import cache_folder, count_cores
from undim.runtimes.base import Runtime
from undim.runtimes.precision import PrecisionWish
from undim.runtimes.table import DEFAULT_RUNTIME, find_runtime, is_installed, known_runtimes, open_runtime
from undim.version import __version__

SIDE = 512
"""Of the picture that is measured with, in pixels: a tile."""
RUNS = 3
"""Of which the fastest counts, after one that does not."""
CLEARLY_FASTER = 0.9
"""Share of ONNX Runtime's time below which another one is preferred to it."""
_REMEMBERED = 64
"""Measurements that the file holds; the oldest go first."""

_Known = dict[str, dict[str, object]]


@dataclass(frozen=True)
class Timing:
    """What one run on a tile took."""

    runtime: str
    seconds: float


def open_fastest(path: Path, *, threads: int | None = None, precision: PrecisionWish = "auto") -> Runtime:
    """Load a model into the runtime that is fastest here; measured if that is not known yet.

    Args:
        path: an .onnx file.
        threads: as of `open_runtime`.
        precision: likewise.

    Raises:
        UndimError: if no runtime takes the file.
    """
    names = [name for name in known_runtimes() if is_installed(name)]
    if names == [DEFAULT_RUNTIME]:
        return open_runtime(DEFAULT_RUNTIME, path, threads=threads, precision=precision)
    key = _key(path, threads, precision, names)
    known = _recall()
    name = known.get(key, {}).get("runtime")
    if isinstance(name, str) and name in names:
        with contextlib.suppress(UndimError):  # what once ran may not any more: a driver that is gone
            return open_runtime(name, path, threads=threads, precision=precision)
    measured = _measure(path, names, threads, precision)
    fastest = _fastest(measured)
    _remember(known, key, fastest, measured)
    return open_runtime(fastest, path, threads=threads, precision=precision)


def recall_fastest(path: Path, *, threads: int | None = None, precision: PrecisionWish = "auto") -> str | None:
    """The runtime that `open_fastest` takes for an .onnx file; None if it would have to measure first."""
    names = [name for name in known_runtimes() if is_installed(name)]
    if names == [DEFAULT_RUNTIME]:
        return DEFAULT_RUNTIME
    name = _recall().get(_key(path, threads, precision, names), {}).get("runtime")
    return name if isinstance(name, str) and name in names else None


def cache_file() -> Path:
    """Where measurements are remembered."""
    return cache_folder() / "runtimes.json"


def _measure(path: Path, names: list[str], threads: int | None, precision: PrecisionWish) -> list[Timing]:
    """Those that fail are left out; if all do, why the first did is raised."""
    picture = np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32) * np.float32(0.2)
    measured, failures = [], []
    for name in names:
        try:
            runtime = open_runtime(name, path, threads=threads, precision=precision)
            measured.append(Timing(name, _time(runtime, picture)))
        except UndimError as error:
            failures.append(error)
    if not measured:
        raise failures[0]
    return measured


def _fastest(measured: list[Timing]) -> str:
    """The default unless another one is clearly faster: chance does not decide between equals."""
    best = min(measured, key=lambda one: one.seconds)
    default = next((one for one in measured if one.runtime == DEFAULT_RUNTIME), best)
    return best.runtime if best.seconds < CLEARLY_FASTER * default.seconds else default.runtime


def _time(runtime: Runtime, picture: Floats) -> float:
    taken = []
    for _ in range(1 + RUNS):
        begin = time.perf_counter()
        output = runtime.run(picture, more=True)
        taken.append(time.perf_counter() - begin)
    if not np.isfinite(output).all():
        raise PictureError("could not be enhanced: the network returned values that are not finite")
    return min(taken[1:])


def _key(path: Path, threads: int | None, precision: PrecisionWish, names: list[str]) -> str:
    """Of all that the measurement depends on."""
    packages = sorted({"onnxruntime", *(package for name in names for package in find_runtime(name).packages)})
    facts = {
        "processor": _processor(),
        "cores": count_cores(),
        "threads": threads,
        "precision": precision,
        "model": hashlib.sha256(path.read_bytes()).hexdigest(),
        "runtimes": names,
        "versions": {"undim": __version__, **{package: _version(package) for package in packages}},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        wanted = [line for line in lines if line.startswith(("model name", "flags"))]
        return "\n".join([platform.machine(), *wanted[:2]])
    return f"{platform.machine()} {platform.processor()}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _recall() -> _Known:
    """What is remembered; nothing if the file is absent, damaged or not ours."""
    try:
        known = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict) or not all(isinstance(entry, dict) for entry in known.values()):
        return {}
    return known


def _remember(known: _Known, key: str, runtime: str, measured: list[Timing]) -> None:
    kept = dict([item for item in known.items() if item[0] != key][1 - _REMEMBERED :])
    kept[key] = {"runtime": runtime, "seconds": {one.runtime: round(one.seconds, 4) for one in measured}}
    file = cache_file()
    with contextlib.suppress(OSError):  # a home that cannot be written: measured anew next time
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, f"{json.dumps(kept, indent=1)}\n")
