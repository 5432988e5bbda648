"""What one run of a network costs: as published repositories run theirs, and as Undim runs its own.

    python benchmarks/runtimes.py [--networks cidnet restormer photo lol tiny] [--sizes 600x400 4000x3000] [--rounds 2]

"eager" is PyTorch as research code runs it: float32, the whole picture in one piece, no compilation, on the CPU; on a
GPU, if there is one, "eager cuda". "torch" runs there too, and "cuda" if onnxruntime-gpu is there. The other ways are
Undim's runtimes, through `Enhancer` with its default tiles. Each cell is a process of its own: seconds and CPU seconds
of one picture from uint8 to uint8 and the largest resident size of the process. Runs are repeated for --budget seconds,
three times at least unless one takes four times as long; the first, which compiles, does not count, of the others the
fastest does. A cell that passes --limit seconds or --memory GB is ended and reported so. Ratios are of wall time, in
brackets of CPU time, which other processes on the machine disturb less. PSNR is between a way's output and that of the
same network's eager run; of the published networks the weights are random, which changes no time.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tiling import EXAMPLES, Bytes, make_picture, peak_memory, psnr

PUBLISHED = ("cidnet", "restormer")
WAYS = ("eager", "onnxruntime float32", "openvino float32", "openvino bfloat16", "torch float32", "torch bfloat16")
ON_GPU = ("eager cuda", "cuda float32")


def find_ways() -> tuple[str, list[str]]:
    """What runs here, in words, and the ways that are possible."""
    import onnxruntime
    import torch

    there = torch.cuda.is_available()
    ways = [way for way in WAYS if way != "torch float32" or there]
    if there:
        ways.append("eager cuda")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        ways.append("cuda float32")
    return f"the CPU and {torch.cuda.get_device_name()}" if there else "the CPU alone: PyTorch sees no GPU", ways


def open_eager(network: str, threads: int, device: str = "cpu") -> Callable[[Bytes], Bytes]:
    """As research code runs a network."""
    import torch

    from undim.nets import create_model
    from undim.shipped import MODELS_FOLDER
    from undim.weights.files import load_model

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = create_model(network) if network in PUBLISHED else load_model(MODELS_FOLDER / f"{network}.safetensors")
    model.eval().to(device)

    def run(picture: Bytes) -> Bytes:
        with torch.no_grad():
            image = torch.from_numpy(picture).to(device).permute(2, 0, 1).unsqueeze(0) / 255
            output = model(image.contiguous()).clamp(0, 1)[0]
            return (output * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()

    return run


def work(network: str, way: str, source: str, target: str, budget: float, memory: float, threads: int) -> None:
    """In a process of its own: print seconds, CPU seconds and peak memory in GB."""
    if way not in ON_GPU and find_ways()[1] == [one for one in WAYS if one != "torch float32"]:
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory * 1e9), int(memory * 1e9)))  # CUDA reserves far more
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    picture = np.load(source)
    if way.startswith("eager"):
        run = open_eager(network, threads, "cuda" if way == "eager cuda" else "cpu")
    else:
        from undim import Enhancer

        runtime, precision = way.split()
        run = Enhancer(network, threads=threads, runtime=runtime, precision=precision)  # type: ignore[arg-type]
    found: list[tuple[float, float]] = []
    begin = time.perf_counter()
    while len(found) < (3 if found and found[0][0] < 4 * budget else 1) or time.perf_counter() - begin < budget:
        start = time.perf_counter(), time.process_time()
        result = run(picture)
        found.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    np.save(target, result)
    wall, cpu = min(found[1:] or found)
    print(wall, cpu, peak_memory())


def measure(words: list[str], limit: float) -> tuple[float, float, float] | str:
    """What a cell printed, or in words why it did not end well."""
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=limit, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"> {limit:g} s"
    if told.returncode:
        return "> memory" if "alloc" in told.stderr or "MemoryError" in told.stderr else told.stderr.splitlines()[-1]
    wall, cpu, peak = map(float, told.stdout.split())
    return wall, cpu, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[*PUBLISHED, "photo", "lol", "tiny"])
    parser.add_argument("--sizes", nargs="+", default=["600x400", "4000x3000"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS, *ON_GPU], help="default: all that are possible here")
    parser.add_argument("--rounds", type=int, default=1, help="of all cells; the best of each counts")
    parser.add_argument("--budget", type=float, default=4.0, help="seconds of runs in one cell")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one cell")
    parser.add_argument("--memory", type=float, default=10.0, help="GB of data that a cell may have")
    parser.add_argument("--threads", type=int, default=2, help="and CPU cores; one is least disturbed by others")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work, options.budget, options.memory, options.threads)
        return
    place, possible = find_ways()
    options.ways = options.ways or possible
    print(f"On {place}.\n")
    print("| pixels | network | way | s | CPU s | peak, GB | eager / this | cidnet / this | PSNR to eager, dB |")
    print("|---|---|---|---|---|---|---|---|---|")
    eager = [way for way in options.ways if way.startswith("eager")] or ["eager"]
    cells = [(net, way) for net in options.networks for way in (eager if net in PUBLISHED else options.ways)]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in.npy")
        for size in options.sizes:
            np.save(source, make_picture(EXAMPLES / "coffee.png", *map(int, size.split("x"))))
            found: dict[tuple[str, str], tuple[float, float, float] | str] = {}
            for number in range(options.rounds):
                for net, way in cells:
                    target = str(Path(folder, f"{net} {way}.npy"))
                    words = [sys.executable, __file__, "--work", net, way, str(source), target]
                    words += ["--budget", str(options.budget), "--memory", str(options.memory)]
                    words += ["--threads", str(options.threads)]
                    before = found.get((net, way))
                    if not isinstance(before, str):
                        now = measure(words, options.limit)
                        found[net, way] = now if before is None or isinstance(now, str) else min(before, now)
                    if number == options.rounds - 1:
                        print(f"| {size} | {net} | {way} {describe(net, way, found, folder)}", flush=True)


def describe(net: str, way: str, found: dict[tuple[str, str], tuple[float, float, float] | str], folder: str) -> str:
    """The rest of a row; what it is compared with was measured before."""
    one, eager, cidnet = (found.get(key) for key in ((net, way), (net, "eager"), ("cidnet", "eager")))
    if not isinstance(one, tuple):
        return f"| {one} | | | | | |"
    ratios = [
        f"{other[0] / one[0]:.1f} ({other[1] / one[1]:.1f})" if isinstance(other, tuple) and other is not one else "-"
        for other in (eager, cidnet)
    ]
    near = "-"
    if way != "eager" and isinstance(eager, tuple):
        near = f"{psnr(*(np.load(Path(folder, f'{net} {name}.npy')) for name in (way, 'eager'))):.1f}"
    return f"| {one[0]:.3f} | {one[1]:.3f} | {one[2]:.2f} | {ratios[0]} | {ratios[1]} | {near} |"


if __name__ == "__main__":
    main()
