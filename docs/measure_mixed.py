"""Measure models on what people photograph, half-lit and dark, and print docs/results/mixed.md's table.

    UNDIM_DATA=... python docs/measure_mixed.py [MODEL ...] [--split val] [--rows mixed kept ...] [-o FILE.json]
    UNDIM_DATA=... python docs/measure_mixed.py --references

MODEL is what `undim enhance --model` takes, a run's .safetensors file, `untouched`, or `gamma0.6`.
FILE keeps the figures, and what it holds is not measured again. The measures:

- Pairs: PSNR and SSIM by protocol undim-1, and the error in the darkest third: the third of a picture's pixels of the
  lowest Rec. 601 luma in the input; rms over pictures of ln((mean luma of the output in it + 1) / (of the reference
  + 1)), luma from 0 to 255.
- Well-lit pictures kept: SICE's `high` as input, output against input.
- Clipped pixels: growth of the share with a channel of 250 or more, in percent of all.
- Halo: along the strong edges of the fused reference, how much further the two sides are driven apart than there (see
  `overshoot`), in grey levels.
- JPEG: what the pairs lose, in dB, where the input was first encoded at quality 75.

`--references` compares the references themselves: the PSNR, over the scenes that both have, of the mixed sets' fused
reference against SICE's.
"""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from undim import Enhancer
from undim.arrays import Bytes, Doubles
from undim.data.reading import read_rgb
from undim.data.sets import find_pairs, find_pictures
from undim.luma import REC601
from undim.metrics.networks import network_enhancer
from undim.metrics.quality import clipped_share, psnr, psnr_gt_mean, ssim

Enhance = Callable[[Bytes], Bytes]
Figures = dict[str, float]
MIXED = ("sice-mixed-half", "sice-mixed-dark")
STRONG = 0.05
"""Share of a picture's pixels that count as lying on a strong edge."""
REACH = 8.0
"""Sigma in pixels of the surroundings that a place beside an edge is compared with."""
NEAR = 17
"""Side in pixels of the square within which a place is beside an edge."""


def luma(picture: Bytes) -> Doubles:
    """Rec. 601 luma, H x W, 0 to 255."""
    return picture @ np.array(REC601)


def dark_third_error(low: Bytes, output: Bytes, reference: Bytes) -> float:
    """ln((mean luma of the output + 1) / (of the reference + 1)) in the darkest third of the input."""
    light = luma(low)
    dark = light <= np.quantile(light, 1 / 3)
    return math.log((luma(output)[dark].mean() + 1) / (luma(reference)[dark].mean() + 1))


def overshoot(output: Bytes, reference: Bytes) -> float:
    """How much further the sides of strong edges are apart than in the reference, in grey levels.

    D is the luma minus that of the surroundings, a Gaussian of sigma `REACH`. Beside the strongest edges of the
    reference this is the mean of max(0, s (D of the output - D of the reference)), s the sign of the latter.
    """
    light = luma(reference)
    smooth = cv2.GaussianBlur(light, (0, 0), 1.5)
    steepness = np.hypot(cv2.Sobel(smooth, cv2.CV_64F, 1, 0), cv2.Sobel(smooth, cv2.CV_64F, 0, 1))
    edges = (steepness >= np.quantile(steepness, 1 - STRONG)).astype(np.uint8)
    beside = cv2.dilate(edges, np.ones((NEAR, NEAR), np.uint8)) > 0
    theirs, ours = (plane - cv2.GaussianBlur(plane, (0, 0), REACH) for plane in (light, luma(output)))
    return float(np.maximum(0, np.sign(theirs) * (ours - theirs))[beside].mean())


def encode_jpeg(picture: Bytes, quality: int = 75) -> Bytes:
    """What a JPEG file of this quality, with halved chroma, gives back."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def measure_pairs(enhance: Enhance, data: str, split: str) -> Figures:
    """PSNR, SSIM, GT-mean and the error in the darkest third; of mixed sets halo and JPEG loss too."""
    rows: list[list[float]] = []
    for pair in find_pairs(data, split):  # type: ignore[arg-type]  # argparse has checked it
        low, high = read_rgb(pair.low), read_rgb(pair.high)
        output = enhance(low)
        row = [psnr(output, high), ssim(output, high), psnr_gt_mean(output, high), dark_third_error(low, output, high)]
        if data in MIXED:
            row += [overshoot(output, high), row[0] - psnr(enhance(encode_jpeg(low)), high)]
        rows.append(row)
    columns = np.array(rows).T
    named = dict(zip(("psnr", "ssim", "gt_mean", "dark", "halo", "jpeg"), columns, strict=False))
    return {
        name: float(np.sqrt(np.square(column).mean()) if name == "dark" else column.mean())
        for name, column in named.items()
    }


def measure_kept(enhance: Enhance, split: str) -> Figures:
    """Well-lit pictures: mean PSNR of output against input, the worst, and the percentage below 24 dB."""
    kept = []
    for pair in find_pairs("sice", split):  # type: ignore[arg-type]
        lit = read_rgb(pair.high)
        kept.append(min(psnr(enhance(lit), lit), 60.0))  # an output that equals its input counts as 60 dB
    return {"mean": float(np.mean(kept)), "worst": min(kept), "below": 100 * float(np.mean(np.array(kept) < 24))}


def measure_clipped(enhance: Enhance, data: str) -> Figures:
    """Growth of clipped pixels, percent of all pixels."""
    growth = []
    for path in find_pictures(data):
        dark = read_rgb(path)
        growth.append(clipped_share(enhance(dark)) - clipped_share(dark))
    return {"mean": float(np.mean(growth)), "worst": max(growth)}


def compare_references() -> list[float]:
    """PSNR in dB of the fused reference against SICE's, of each scene of any split that both sets have."""
    splits = ("train", "val", "test")
    sice = {pair.name: pair.high for split in splits for pair in find_pairs("sice", split)}
    mixed = {pair.name: pair.high for split in splits for pair in find_pairs(MIXED[0], split)}
    root = next(iter(mixed.values())).parents[1]
    found = []
    for scene in json.loads((root / "scenes.json").read_text()):
        fused = mixed.get(str(scene["scene"]))
        named = next((sice[name] for name in map(str, scene["sice_numbers"]) if name in sice), None)
        if fused is None or named is None:
            continue
        reference = read_rgb(named)
        height, width = reference.shape[:2]
        found.append(psnr(cv2.resize(read_rgb(fused), (width, height), interpolation=cv2.INTER_AREA), reference))
    return found


Measure = Callable[[Enhance, str], Figures]


def list_rows(split: str) -> Iterator[tuple[str, str, Measure]]:
    """Group, title and measure of each row."""
    for data in MIXED:
        yield "mixed", data, lambda enhance, s, data=data: measure_pairs(enhance, data, s)  # type: ignore[misc]
    yield "sice", "sice", lambda enhance, s: measure_pairs(enhance, "sice", s)
    yield "kept", "kept", measure_kept
    if split == "test":
        yield "lol", "eval15", lambda enhance, _: measure_pairs(enhance, "lol-v1", "test")
        yield "clipped", "dicm", lambda enhance, _: measure_clipped(enhance, "dicm")
        yield "clipped", "mef", lambda enhance, _: measure_clipped(enhance, "mef")
    else:
        yield "lol", "val", lambda enhance, _: measure_pairs(enhance, "lol-v1", "val")
    yield "lol", "val-scenes", lambda enhance, _: measure_pairs(enhance, "lol-v1", "val-scenes")


def open_enhancer(name: str) -> Enhance:
    """What makes an 8-bit picture of an 8-bit picture, by the name on the command line."""
    if name == "untouched":
        return lambda picture: picture
    if name.startswith("gamma"):
        table = np.rint(255 * (np.arange(256) / 255) ** float(name.removeprefix("gamma"))).astype(np.uint8)
        return lambda picture: table[picture]
    if name.endswith(".safetensors"):
        from undim.weights.files import load_model

        return network_enhancer(load_model(Path(name)))
    enhancer = Enhancer(name)
    return lambda picture: enhancer(picture)


CELLS: dict[str, Callable[[Figures], str]] = {
    "pairs": lambda f: f"{f['psnr']:.2f} / {f['ssim']:.3f} / {f['dark']:.2f}",
    "lol": lambda f: f"{f['psnr']:.2f} / {f['ssim']:.3f} ({f['gt_mean']:.2f})",
    "kept": lambda f: f"{f['mean']:.1f} / {f['worst']:.1f} / {f['below']:.1f} %",
    "clipped": lambda f: f"{f['mean']:+.2f} / {f['worst']:+.2f} %",
    "halo": lambda f: f"{f['halo']:.2f}",
    "jpeg": lambda f: f"{f['jpeg']:.2f}",
}
COLUMNS = (
    ("half: PSNR / SSIM / darkest third", MIXED[0], "pairs"),
    ("dark: likewise", MIXED[1], "pairs"),
    ("sice: likewise", "sice", "pairs"),
    ("well-lit kept: mean / worst / below 24 dB", "kept", "kept"),
    ("eval15: PSNR / SSIM (GT-mean)", "eval15", "lol"),
    ("val: likewise", "val", "lol"),
    ("val-scenes: likewise", "val-scenes", "lol"),
    ("clipped, DICM: mean / worst", "dicm", "clipped"),
    ("clipped, MEF", "mef", "clipped"),
    ("halo, half", MIXED[0], "halo"),
    ("halo, dark", MIXED[1], "halo"),
    ("JPEG loss, half", MIXED[0], "jpeg"),
    ("JPEG loss, dark", MIXED[1], "jpeg"),
)


def print_table(figures: dict[str, dict[str, Figures]]) -> None:
    """Markdown: a row a measure, a column a model."""
    print(f"| | {' | '.join(figures)} |")
    print(f"|---|{'---|' * len(figures)}")
    for title, row, form in COLUMNS:
        cells = [CELLS[form](rows[row]) if row in rows else "" for rows in figures.values()]
        if any(cells):
            print(f"| {title} | {' | '.join(cells)} |")


def main() -> None:
    """Measure what is not known yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["untouched", "gamma0.6", "gamma0.4", "photo", "tiny", "lol"])
    parser.add_argument("--split", default="test", choices=["test", "val"])
    parser.add_argument("--rows", nargs="+", choices=["mixed", "sice", "kept", "lol", "clipped"])
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--references", action="store_true")
    options = parser.parse_args()
    if options.references:
        found = compare_references()
        print(f"{len(found)} scenes: {np.mean(found):.2f} dB on average, {np.median(found):.2f} in the middle")
        return
    known = json.loads(options.output.read_text()) if options.output and options.output.is_file() else {}
    for name in options.models:
        figures = known.setdefault(name, {})
        enhance = open_enhancer(name)
        for group, title, measure in list_rows(options.split):
            if title not in figures and (options.rows is None or group in options.rows):
                figures[title] = measure(enhance, options.split)
                if options.output:
                    options.output.write_text(json.dumps(known, indent=1) + "\n")
    print_table({name: known[name] for name in options.models})


if __name__ == "__main__":
    main()
