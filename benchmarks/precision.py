"""What each runtime and precision costs in quality: PSNR on LOL-v1, and to ONNX Runtime in float32.

    UNDIM_DATA=DIR python benchmarks/precision.py [--models photo lol tiny] [--splits val test]

`val` is there to choose by, eval15 (`test`) to report. Runtimes that are not installed are left out.
"""

from __future__ import annotations

import argparse

import numpy as np

from undim import Enhancer
from undim.data.sets import find_pairs
from undim.images import read_picture
from undim.metrics.quality import psnr
from undim.runtimes.table import is_installed
from undim.shipped import list_shipped_models

WAYS = (
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("torch", "float32"),
    ("torch", "bfloat16"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list_shipped_models())
    parser.add_argument("--splits", nargs="+", default=["val", "test"], choices=["val", "val-scenes", "test"])
    options = parser.parse_args()
    print("| model | pictures | runtime | PSNR, dB | lost, dB | most lost in one picture, dB | to ONNX Runtime, dB |")
    print("|---|---|---|---|---|---|---|")
    for model in options.models:
        for split in options.splits:
            pairs = [
                (read_picture(pair.low).pixels, read_picture(pair.high).pixels) for pair in find_pairs("lol-v1", split)
            ]
            scores: list[float] = []
            outputs = []
            for runtime, precision in WAYS:
                if not is_installed(runtime):
                    continue
                enhance = Enhancer(model, runtime=runtime, precision=precision)  # type: ignore[arg-type]
                results = [enhance(low) for low, _ in pairs]
                found = [psnr(result, high) for result, (_, high) in zip(results, pairs, strict=True)]
                scores, outputs = scores or found, outputs or results
                error = np.mean(
                    [np.square(np.subtract(a, b, dtype=float)) for a, b in zip(results, outputs, strict=True)]
                )
                near = "-" if error == 0 else f"{10 * np.log10(255**2 / error):.1f}"
                worst = max(a - b for a, b in zip(scores, found, strict=True))
                lost = np.mean(scores) - np.mean(found)
                print(
                    f"| {model} | {split} ({len(pairs)}) | {runtime} {precision} | {np.mean(found):.3f} | {lost:+.4f} |"
                    f" {worst:+.4f} | {near} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
