"""Measure the shipped models on every data set that is here and print the README's table.

    UNDIM_DATA=... python docs/make_model_table.py [--models photo lol tiny] [-o FOLDER]

FOLDER keeps what `undim evaluate` writes; what is there already is not measured again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from undim.cli.main import main as undim

SETS = (
    ("lol-v1", "test", "eval15 (LOL-v1 test, 15)"),
    ("lol-v1", "val", "val (LOL-v1, 24)"),
    ("lol-v1", "val-scenes", "val-scenes (LOL-v1, 42)"),
    ("sice", "test", "SICE test scenes (40)"),
    ("sice-mixed-half", "test", "half-lit test scenes (30)"),
    ("sice-mixed-dark", "test", "the same, dark (30)"),
    ("dicm", None, "DICM (64)"),
    ("mef", None, "MEF (17)"),
)


def measure(model: str, data: str, split: str | None, folder: Path) -> dict[str, float | None]:
    """What results.json of one evaluation holds."""
    place = folder / f"{model}-{data}-{split or 'all'}"
    if not (place / "results.json").is_file():
        chosen = [] if split is None else ["--split", split]
        if undim(["evaluate", model, "--data", data, *chosen, "-o", str(place), "--worst", "0"]):
            raise SystemExit(1)
    results: dict[str, float | None] = json.loads((place / "results.json").read_text())
    return results


def main() -> None:
    """Print one table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["photo", "lol", "tiny"])
    parser.add_argument("-o", "--output", type=Path, default=Path("results"))
    options = parser.parse_args()
    forms = {"psnr": ".2f", "ssim": ".4f", "psnr_gt_mean": ".2f", "brightness_error": ".3f", "niqe": ".2f"}
    for model in options.models:
        print(f"\n{model}\n")
        print("| pictures | PSNR, dB | SSIM | GT-mean, dB | brightness error | NIQE | clipped, % (mean / worst) |")
        print("|---|---|---|---|---|---|---|")
        for data, split, label in SETS:
            results = measure(model, data, split, options.output)
            cells = ["-" if results[key] is None else format(results[key], form) for key, form in forms.items()]
            growth = results["clipped_growth"]
            clipped = f"{growth['mean']:+.2f} / {growth['worst']:+.2f}"  # type: ignore[index]
            print(f"| {label} | {' | '.join(cells)} | {clipped} |")


if __name__ == "__main__":
    main()
