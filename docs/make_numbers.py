"""Fill the models' figures into README.md, docs/models.md and the cards, from docs/numbers.json.

    python docs/make_numbers.py                     # from the file as it is
    UNDIM_DATA=... python docs/make_numbers.py --results FOLDER   # measure first, and write the file anew

FOLDER keeps what `undim evaluate` writes; what is there already is not measured again. `tests/test_numbers.py` finds
figures that differ from the file.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from undim.shipped import MODELS_FOLDER, ONNX, SHIPPED, WEIGHTS

HERE = Path(__file__).parent
PROJECT = HERE.parent
NUMBERS = HERE / "numbers.json"
FORMS = {"psnr": ".2f", "ssim": ".4f", "psnr_gt_mean": ".2f", "brightness_error": ".3f", "niqe": ".2f"}
SETS = {
    "lol-v1/test": "eval15, test (15)",
    "lol-v1/val": "val (24)",
    "lol-v1/val-scenes": "val-scenes (42)",
    "sice/test": "SICE test scenes (40)",
    "sice-mixed-half/test": "half-lit test scenes (30)",
    "sice-mixed-dark/test": "the same scenes, dark (30)",
}
"""Data set and split -> what the tables call it."""
IN_CARDS = {
    "eval15 (test, 15 pictures)": "lol-v1/test",
    "val (24)": "lol-v1/val",
    "val-scenes (42)": "lol-v1/val-scenes",
    "SICE test scenes (40)": "sice/test",
}
"""Beginning of a card's row -> data set and split."""
Numbers = dict[str, dict[str, dict[str, float]]]


def measure(folder: Path) -> Numbers:
    """Of every shipped model on every set that it is told of."""
    from make_model_table import measure as evaluate

    numbers: Numbers = {}
    for model in SHIPPED:
        numbers[model] = {}
        for place in SETS:
            if model == "lol" and "mixed" in place:  # trained on LOL-v1 alone, for comparing on it
                continue
            data, split = place.split("/")
            found = evaluate(model, data, split, folder)
            numbers[model][place] = {key: round(float(found[key] or 0), 5) for key in FORMS}
    return numbers


def cells(figures: dict[str, float], keys: tuple[str, ...]) -> str:
    """Figures as a table has them."""
    return " | ".join(format(figures[key], FORMS[key]) for key in keys)


def fill_models(text: str, numbers: Numbers) -> str:
    """The page of models: its table of figures, rows and all."""
    rows = "".join(
        f"| {model} | {SETS[place]} | {cells(figures, tuple(FORMS))} |\n"
        for model, places in numbers.items()
        for place, figures in places.items()
    )
    return re.sub(r"(\| model \| pictures \|.*\n\|[-|]+\n)(?:\|.*\n)+", lambda found: found[1] + rows, text)


def fill_readme(text: str, numbers: Numbers) -> str:
    """The table of models in four columns."""
    rows = "".join(
        f"| `{name}` | {model.purpose} | {_size(name) / 1e6:.1f} MB |"
        f" {numbers[name]['lol-v1/val-scenes']['psnr']:.2f} / {numbers[name]['sice/test']['psnr']:.2f} |\n"
        for name, model in SHIPPED.items()
    )
    return re.sub(r"(\| model \| for \|.*\n\|[-|]+\n)(?:\|.*\n)+", lambda found: found[1] + rows, text)


def fill_card(text: str, places: dict[str, dict[str, float]]) -> str:
    """A card's rows of LOL-v1 and SICE."""
    for label, place in IN_CARDS.items():
        row = f"| {label} | {cells(places[place], tuple(FORMS)[:4])} |"
        text = re.sub(rf"^\| {re.escape(label)}(?: \| [\d.]+){{4}} \|$", row, text, flags=re.MULTILINE)
    return text


def filled(numbers: Numbers) -> dict[Path, str]:
    """Each place with the figures in it."""
    places = {PROJECT / "README.md": fill_readme, HERE / "models.md": fill_models}
    texts = {path: fill(path.read_text(encoding="utf-8"), numbers) for path, fill in places.items()}
    for model, sets in numbers.items():
        card = MODELS_FOLDER / f"{model}.md"
        texts[card] = fill_card(card.read_text(encoding="utf-8"), sets)
    return texts


def _size(name: str) -> int:
    """Bytes of both files of a model."""
    return sum((MODELS_FOLDER / f"{name}{suffix}").stat().st_size for suffix in (ONNX, WEIGHTS))


def main() -> None:
    """Measure if asked to, and fill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    if options.results is not None:
        NUMBERS.write_text(json.dumps(measure(options.results), indent=1) + "\n", encoding="utf-8")
    for path, text in filled(json.loads(NUMBERS.read_text(encoding="utf-8"))).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
