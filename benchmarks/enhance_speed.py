"""What `undim enhance` costs as a user runs it: start, reading, network and writing of one file, in a process each.

    python benchmarks/enhance_speed.py [--model photo] [--tiles auto 0 512 fast] [--megapixels 0.24 12] [--threads 2]
        [--runtimes onnxruntime openvino]

"fast" among the tiles stands for --fast.

Wall time, CPU time and peak memory of the whole process, the best of --rounds runs. Pictures are those of
benchmarks/tiling.py as JPEG. Threads are limited by the process's CPU affinity (Linux).
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

from PIL import Image
from tiling import EXAMPLES, make_picture

from undim.shipped import DEFAULT_MODEL


def measure(words: list[str], threads: int) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak memory in GB of a command, which must succeed."""
    begin = time.perf_counter()
    process = subprocess.Popen(words, stderr=subprocess.PIPE)  # noqa: S603
    os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[:threads])
    told = b"" if process.stderr is None else process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(told.decode())
    return time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def save_picture(path: Path, width: int, height: int) -> None:
    Image.fromarray(make_picture(EXAMPLES / "coffee.png", width, height)).save(path, quality=95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--tiles", nargs="+", default=["auto", "0", "512", "1024"])
    parser.add_argument("--megapixels", nargs="+", type=float, default=[0.24, 12.0])
    parser.add_argument("--runtimes", nargs="+", default=["onnxruntime"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--more", default="", help="further options of undim enhance, in quotes")
    options = parser.parse_args()
    print("| megapixels | --runtime | --tile | wall, s | CPU, s | peak, GB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.jpg"), Path(folder, "out.jpg")
        for megapixels in options.megapixels:
            height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
            # In a process that ends: the system counts this one's memory as that of the commands it starts.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                pool.submit(save_picture, source, round(height * 4 / 3), height).result()
            for runtime, tile in product(options.runtimes, options.tiles):
                words = [sys.executable, "-m", "undim", "enhance", str(source), "-o", str(target), "--overwrite"]
                words += ["--model", options.model, *(["--fast"] if tile == "fast" else ["--tile", tile])]
                words += ["--runtime", runtime, *options.more.split()]
                wall, cpu, peak = min(measure(words, options.threads) for _ in range(options.rounds))
                print(f"| {megapixels:g} | {runtime} | {tile} | {wall:.2f} | {cpu:.2f} | {peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
