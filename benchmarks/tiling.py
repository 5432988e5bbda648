"""How much tiles show, and --fast: against untiled output, beside tiles that know nothing of each other.

    python benchmarks/tiling.py [--model photo ...] [--picture PATH ...] [--ways untiled tiled fast naive] [--tile 512]

Without --picture, 12-megapixel pictures are made from examples/: an enlarged copy mixed with repeated full-size ones,
sensor noise, and the right half in shadow. Each way runs in a process of its own. On a smooth gradient, the largest
step between neighbouring pixels is measured where tiles meet, and untiled at the same places.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from undim.enhance.enhancer import Enhancer
from undim.enhance.tiling import spread_tiles
from undim.runtimes.by_onnxruntime import OnnxRuntime
from undim.shipped import find_model, list_shipped_models

Bytes = npt.NDArray[np.uint8]
EXAMPLES = Path(__file__).parent.parent / "examples"
WAYS = ("untiled", "tiled", "fast", "naive")


def make_picture(path: Path, width: int, height: int) -> Bytes:
    with Image.open(path) as file:
        image = file.convert("RGB")
    large = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    tile = np.asarray(image, np.float32) / 255
    tile = np.concatenate((tile, tile[:, ::-1]), 1)
    tile = np.concatenate((tile, tile[::-1]), 0)
    times = (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1)
    mixed = (large + np.tile(tile, times)[:height, :width]) / 2
    mixed[:, width // 2 :] *= 0.2
    mixed += np.random.default_rng(0).standard_normal(mixed.shape, np.float32) * np.sqrt(mixed * 0.002 + 0.004**2)
    return np.clip(np.rint(mixed * 255), 0, 255).astype(np.uint8)


def make_gradient(width: int, height: int) -> Bytes:
    ramp = np.linspace(5, 60, width)[None] * np.linspace(0.6, 1, height)[:, None]
    return np.repeat(np.rint(ramp).astype(np.uint8)[..., None], 3, 2)


def run_naive(model: str, picture: Bytes, tile: int, threads: int) -> Bytes:
    """Tiles that know nothing of each other, side by side."""
    enhancer = Enhancer(model, threads=threads, tile=0)
    result = np.empty_like(picture)
    for top in range(0, picture.shape[0], tile):
        for left in range(0, picture.shape[1], tile):
            place = (slice(top, top + tile), slice(left, left + tile))
            result[place] = enhancer(np.ascontiguousarray(picture[place]))
    return result


def work(way: str, model: str, source: str, target: str, tile: str, threads: int) -> None:
    """In a process of its own: print seconds and peak memory in GB."""
    picture = np.load(source)
    side = tile if tile == "auto" else int(tile)
    begin = time.perf_counter()
    if way == "naive":
        result = run_naive(model, picture, 512 if side == "auto" else int(side), threads)
    else:
        tile = 0 if way == "untiled" else side  # type: ignore[assignment]
        result = Enhancer(model, threads=threads, tile=tile, fast=way == "fast")(picture)  # type: ignore[arg-type]
    seconds = time.perf_counter() - begin
    np.save(target, result)
    print(seconds, peak_memory())


def peak_memory() -> float:
    """Largest resident size of this process so far, in GB. Not `ru_maxrss`, which counts the parent's on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM:"))


def psnr(image: Bytes, reference: Bytes) -> float:
    squares = [np.mean((a.astype(np.float32) - b) ** 2) for a, b in zip(image, reference, strict=True)]
    return float(-10 * np.log10(max(float(np.mean(squares)), 1e-9) / 255**2))


def largest_step(image: Bytes, rows: list[int], columns: list[int]) -> int:
    """Between neighbouring pixels of two of these rows, or two of these columns, and the ones before them."""
    values = image.astype(np.int16)
    down = np.abs(values[rows] - values[[row - 1 for row in rows]])
    across = np.abs(values[:, columns] - values[:, [column - 1 for column in columns]])
    return int(max(down.max(initial=0), across.max(initial=0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=list_shipped_models())
    parser.add_argument("--picture", nargs="+", type=Path, default=[])
    parser.add_argument("--size", nargs=2, type=int, default=[4000, 3000], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--tile", default="512", help="auto, or a side in pixels")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS, help="the first is the reference")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work, options.tile, options.threads)
        return
    width, height = options.size
    pictures = {path.name: np.asarray(Image.open(path).convert("RGB")) for path in options.picture}
    if not pictures:
        names = ("coffee.png", "cat.png", "rocket.jpg")
        pictures = {f"{name}, half in shadow": make_picture(EXAMPLES / name, width, height) for name in names}
    pictures["smooth gradient"] = make_gradient(width, height)
    print(
        "| model | picture | way | tiles | PSNR to the first, dB | largest step | seconds | of the first's | peak, GB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npy"), Path(folder, "out.npy")
        for model in options.model:
            tiling = OnnxRuntime(find_model(model), threads=1).tiling
            if tiling is None:
                print(f"| {model} | its file does not tell what tiles need | | | | | | | |")
                continue
            side = 1024 if options.tile == "auto" else int(options.tile)
            for name, picture in pictures.items():
                np.save(source, picture)
                reference, slowest = picture, 0.0
                for way in options.ways:
                    words = [sys.executable, __file__, "--work", way, model, str(source), str(target)]
                    words += ["--tile", options.tile, "--threads", str(options.threads)]
                    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout  # noqa: S603
                    seconds, peak = map(float, told.split())
                    result = np.load(target)
                    spans = [spread_tiles(length, side, tiling.overlap) for length in picture.shape[:2]]
                    rows, columns = ([start for start, _ in axis[1:]] for axis in spans)
                    if way == "naive":
                        rows, columns = (list(range(side, length, side)) for length in picture.shape[:2])
                    count = (len(rows) + 1) * (len(columns) + 1) if way in ("tiled", "naive") else 1
                    if way != "naive":  # wherever one tile fades into the next
                        rows, columns = (
                            [start + n for start in axis for n in range(tiling.overlap)] for axis in (rows, columns)
                        )
                    step = str(largest_step(result, rows, columns)) if name == "smooth gradient" else "-"
                    if way == options.ways[0]:
                        reference, slowest = result, seconds
                    quality = "-" if way == options.ways[0] else f"{psnr(result, reference):.1f}"
                    print(
                        f"| {model} | {name} | {way} | {count} | {quality} | {step} | {seconds:.1f} |"
                        f" {seconds / slowest:.2f} | {peak:.2f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
