"""Steps of training a second, by network and path, in turns on one machine.

    python benchmarks/step_rate.py [--networks candela cidnet] [--steps 30] [--rounds 3]
    python benchmarks/step_rate.py --against ~/undim-before/src    # and the host's path of another version

host: crops made on the CPU, each step's loss waited for. device: crops drawn on the device, nothing waited for, and on
CUDA the whole step captured. Each round times each way in a process of its own, all after one another; the fastest
round counts. The first figure of a way is how long its first step took. CPU seconds are of all threads, and less
disturbed by others on the machine than the clock is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

NETWORKS = ("candela", "retinexformer", "cidnet", "restormer")
HERE = Path(__file__).parents[1] / "src"


def work(network: str, way: str, adr: bool, options: argparse.Namespace) -> dict[str, float]:
    """Of one way, in a process of its own: seconds of the first step, and steps a second."""
    import torch

    from undim.training.recipe import Recipe
    from undim.training.samples import load_crops
    from undim.training.stepper import Stepper

    tree = {
        "model": {"name": network} | ({"adr": {"kernel": "pog", "bottleneck": 8, "embedding": 32}} if adr else {}),
        "data": {"name": options.data, "crop": options.crop},
        "steps": 1000,
        "batch": options.batch,
        "precision": options.precision,
    }
    recipe = Recipe.model_validate(tree)
    crops = load_crops(recipe)
    if way == "device":
        from undim.training.device_crops import DeviceCrops
        from undim.training.device_stepper import DeviceStepper, device_stream
        from undim.training.loop import default_device

        device = default_device()
        with device_stream(device):
            stepper = DeviceStepper(recipe)
            there = DeviceCrops(crops, device, thumbnails=stepper.network.sees_whole)

            def run(first: int, count: int) -> None:
                for step in range(first, first + count):
                    told = stepper.launch(there, step, 1e-4, recipe.batch, options.crop)
                told.tolist()

            return timed(run, options.steps, 5 if device.type == "cuda" else 1)
    stepper = Stepper(recipe)
    batches = crops.ahead((step, recipe.batch, options.crop) for step in range(10**6))

    def run(first: int, count: int) -> None:
        for step in range(first, first + count):
            stepper.run(next(batches), step, 1e-4)

    found = timed(run, options.steps, 5 if torch.cuda.is_available() else 1)
    batches.close()
    return found


def timed(run, steps: int, warm: int) -> dict[str, float]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Seconds of the first step, and steps a second once warm."""
    began = time.perf_counter()
    run(0, 1)
    first = time.perf_counter() - began
    run(1, warm)
    began, busy = time.perf_counter(), time.process_time()
    run(1 + warm, steps)
    cpu = (time.process_time() - busy) / steps
    return {"first": first, "rate": steps / (time.perf_counter() - began), "cpu": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--data", default="lol-v1")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--adr", action="store_true", help="with ADR and POG")
    parser.add_argument("--ways", nargs="+", default=["host", "device"], choices=["host", "device"])
    parser.add_argument("--against", type=Path, help="src/ of another version, for its host's path")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(*options.work, options.adr, options)))
        return
    ways = [(way, HERE) for way in options.ways]
    if options.against is not None:
        ways.insert(0, ("host", options.against))
    import torch

    place = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    added = ", ADR with POG" if options.adr else ""
    print(f"{place}; {options.batch} crops of {options.crop}, {options.precision}{added}")
    print("| network | path | first step, s | steps/s | of the first row | CPU s a step | of the first row |")
    print("|---|---|---|---|---|---|---|")
    for network in options.networks:
        best: dict[int, dict[str, float]] = {}
        for _ in range(options.rounds):
            for number, (way, source) in enumerate(ways):
                words = [sys.executable, __file__, "--work", network, way, *sys.argv[1:]]
                environment = {**os.environ, "PYTHONPATH": str(source)}
                environment["PYTHONPATH"] += os.pathsep + os.environ.get("PYTHONPATH", "")
                told = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
                if told.returncode:
                    print(f"| {network} | {way} | {told.stderr.strip().splitlines()[-1][:100]} | | | | |", flush=True)
                    continue
                now = json.loads(told.stdout.strip().splitlines()[-1])
                if number not in best or now["rate"] > best[number]["rate"]:
                    best[number] = now
        for number, one in sorted(best.items()):
            name = ways[number][0] if ways[number][1] == HERE else f"{ways[number][0]}, before"
            first = best[min(best)]
            figures = [f"{one['first']:.1f}", f"{one['rate']:.2f}", f"{one['rate'] / first['rate']:.2f}"]
            figures += [f"{one['cpu']:.3f}", f"{one['cpu'] / first['cpu']:.2f}"]
            print(f"| {network} | {name} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
