"""Throughput of the two engines with as many workers, and the driver's memory as the number of pictures grows.

    python benchmarks/batch_engines.py --data DIR [--count 200]
    python benchmarks/batch_engines.py --memory local|ray

Each engine makes the same pictures of 600 x 400 twice, in turns. Starting is left out: what counts is the time from the
first tenth of the outputs to the last output, by the files' own times, since Ray hands records on in blocks. CPU time
is that of the driver and its workers, on this machine's engine. With --memory the workers are stubbed: the driver
plans, notes and reports what a manifest names as if workers had done it, and its largest resident size is taken at
2,000 and at 50,000 pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PROBE = """
import json, resource, sys
from undim.batch.drive import Batch, run_batch
from undim.jobs.options import EnhanceOptions
source, target, engine, workers, model, strength = sys.argv[1:]
options = EnhanceOptions(model=model, threads=1, strength=float(strength))
tally = run_batch(Batch(source, target, options, engine=engine, workers=int(workers)))
print(json.dumps({"count": tally.done, "failed": tally.failed,
                  "kibibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                  "cpu": sum(sum(resource.getrusage(who)[:2]) for who in (0, resource.RUSAGE_CHILDREN))}))
"""


def probe(
    source: Path, target: Path, engine: str, given: argparse.Namespace, model: str, strength: int
) -> dict[str, float]:
    words = [sys.executable, "-c", PROBE, *map(str, (source, target, engine, given.workers, model, strength))]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE)  # noqa: S603
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    written = sorted(path.stat().st_mtime for path in target.rglob("*.*") if ".undim" not in path.parts)
    start = len(written) // 10
    found["seconds"] = (written[-1] - written[start]) / (len(written) - 1 - start)
    return found


def make(folder: Path, count: int, size: tuple[int, int], data: str | None = None) -> None:
    rng = np.random.default_rng(0)
    pictures = []
    if data:
        paths = sorted(Path(data).rglob("*.png"))[:40]
        pictures = [np.asarray(Image.open(path).convert("RGB").resize(size)) // 4 for path in paths]
    pictures = pictures or [rng.integers(0, 60, (size[1], size[0], 3), dtype=np.uint8) for _ in range(8)]
    for number in range(count):
        target = folder / f"{number // 1000:03d}" / f"{number:06d}.{'jpg' if data else 'bmp'}"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[number % len(pictures)]).save(target)


def compare(given: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "in"
        make(source, given.count, (600, 400), given.data)
        cpu: list[float] = []
        seconds: dict[str, list[float]] = {"local": [], "ray": []}
        for turn in range(given.turns):
            for engine, taken in seconds.items():
                found = probe(source, Path(place) / f"{engine}{turn}", engine, given, given.model, 1)
                if engine == "local":
                    cpu.append(found["cpu"] / found["count"])
                taken.append(found["seconds"])
        local, ray = (statistics.median(seconds[engine]) for engine in ("local", "ray"))
        return {
            "pictures": given.count,
            "workers": given.workers,
            "model": given.model,
            "load": os.getloadavg()[0],
            "seconds a picture": {engine: [round(one, 4) for one in taken] for engine, taken in seconds.items()},
            "CPU seconds a picture, local": [round(one, 4) for one in cpu],
            "throughput of ray over local": round(local / ray, 3),
            "milliseconds more a picture": round(1000 * (ray - local), 1),
        }


STUB = """
import json, resource, sys, tempfile
from pathlib import Path
import undim.batch.drive as drive
from undim.batch.ledger import Ledger
count, engine = int(sys.argv[1]), sys.argv[2]
sizes = []
leave = Ledger.__exit__

def measure(ledger, *error):
    sizes.append(sum(path.stat().st_size for path in Path(ledger._folder.name).iterdir()))
    leave(ledger, *error)

Ledger.__exit__ = measure
with tempfile.TemporaryDirectory() as place:
    manifest = Path(place) / "in" / "list.jsonl"
    manifest.parent.mkdir()
    with manifest.open("w") as stream:
        for number in range(count):
            print(json.dumps({"path": f"{number // 1000:03d}/{number:09d}.jpg"}), file=stream)
    tally = drive.run_batch(drive.Batch(str(manifest), f"{place}/out", workers=2, engine=engine))
    report = (Path(place) / "out" / ".undim" / "report.jsonl").stat().st_size
print(json.dumps({"MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1), "done": tally.done,
                  "ledger bytes a picture": round(sizes[0] / count), "report bytes a picture": round(report / count)}))
"""
STUBBED = """
import time
import undim.batch.supervisor as supervisor
from undim.jobs.work import Record

class Supervisor:
    def __init__(self, *_): pass
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def close(self): pass
    def run(self, pieces, into=None):
        for piece in pieces:
            time.sleep(0.002)  # no faster than the driver
            yield piece.number, Record(piece.name, "done", output=piece.expected, width=600, height=400, bytes_in=55361,
                bytes_out=163745, seconds=dict.fromkeys(("read", "decode", "enhance", "encode", "write"), 0.1234),
                sha256=f"{piece.number:064x}", model_sha256="0" * 64, version="0.2.0", runtime="onnxruntime float32")

supervisor.Supervisor = Supervisor
"""
"""Read by the interpreter of every process when it starts: workers that have done all at once."""


def memory(engine: str) -> dict[str, object]:
    found: dict[str, object] = {"engine": engine}
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "sitecustomize.py").write_text(STUBBED)
        for count in (2000, 50_000):
            done = subprocess.run(  # noqa: S603
                [sys.executable, "-c", STUB, str(count), engine],
                check=True,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": place},
            )
            found[str(count)] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="photo")
    parser.add_argument("--data", help="a folder of pictures")
    parser.add_argument("--memory", choices=("local", "ray"), help="of the driver, with this engine")
    given = parser.parse_args()
    print(json.dumps(memory(given.memory) if given.memory else compare(given), indent=1))


if __name__ == "__main__":
    main()
