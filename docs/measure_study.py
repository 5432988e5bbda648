"""Measure a study's networks beyond the study, for `undim paper table1 table5 table10 figure1 figure5 harm`.

    python docs/measure_study.py STUDY_DIR -o docs/results [--variants base,pog] [--seeds 0,1,2] [--work DIR]
    python docs/measure_study.py STUDY_DIR -o docs/results --only table10 [--unpaired dicm,mef]

Runs `undim redundancy reset` on the finished cells whose weights are on this machine, and on those of seed 0 `poi`,
`diversity` and `prune` where they say something; then `undim evaluate` of the base and of POG on DICM and MEF, or other
unpaired data sets, for table 10. It leaves OUTPUT/measured/STUDY.VARIANT-sSEED/DATA/VERB.json and VERB.md. What is
there of the same weights is not measured again, what is there of others is; what was begun is gone on with, from DIR.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from undim.atomic import write_text
from undim.cli.main import main as undim
from undim.paper.measured import FILES, AnyMeasuredDocument
from undim.results.laboratory import DiversityDocument
from undim.results.scores import ScoresDocument
from undim.study.cells import WEIGHTS, read_cells, read_plan

COMPARED = ("base", "pog")
"""Variants that tables 5 and 10 are about, the former of the first seed: pruning takes long."""
DRAWN = {"dynamic", "pog"}
"""Variants that generate kernels."""
PICTURES = 8
"""Of figure 5."""


def verbs_of(variant: str, seed: int) -> dict[str, list[str]]:
    """What to measure of a cell, and the options."""
    draws = ["--split", "test", "--seeds", "3"]
    if seed:
        return {"reset": draws}
    verbs = {"reset": draws, "poi": draws}  # one measurement; poi also says which pictures gain
    if variant in COMPARED:
        verbs["prune"] = ["--split", "test", "--seeds", "1"]
    if variant in DRAWN:
        verbs["diversity"] = ["--limit", str(PICTURES)]
    return verbs


def main() -> None:
    """Measure what is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--variants", type=lambda text: text.split(","))
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")])
    parser.add_argument("--root", help="Of LOL-v1; else it is sought in $UNDIM_DATA.")
    parser.add_argument("--work", type=Path, default=Path("runs/laboratory"))
    parser.add_argument("--unpaired", type=lambda text: text.split(","), default=["dicm", "mef"])
    parser.add_argument("--only", choices=("redundancy", "table10"))
    options = parser.parse_args()
    name = read_plan(options.study).name
    for cell in read_cells(options.study):
        variant, seed = cell.variant, cell.seed
        weights = options.study / "runs" / f"{variant}-s{seed}" / WEIGHTS
        if variant not in (options.variants or [variant]) or seed not in (options.seeds or [seed]):
            continue
        if not weights.is_file():
            print(f"{weights} is not here: left out.")
            continue
        network = f"{name}.{variant}-s{seed}"
        if options.only != "table10":
            for verb, given in verbs_of(variant, seed).items():
                more = [*given, "--root", options.root] if options.root else given
                words = ["redundancy", verb, str(weights), "--data", "lol-v1", *more]
                measure(words, verb, weights, Path(network) / "lol-v1", options)
        if options.only != "redundancy" and variant in COMPARED:
            for data in options.unpaired:
                words = ["evaluate", str(weights), "--data", data, "--worst", "0"]
                measure(words, "results", weights, Path(network) / data, options)


def measure(words: list[str], verb: str, weights: Path, place: Path, options: argparse.Namespace) -> None:
    """Run a command of Undim's that writes VERB.json and VERB.md, and keep both, unless these weights' are there."""
    checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
    work, target = options.work / checksum[:16] / place, options.output / "measured" / place
    kind = FILES[f"{verb}.json"]
    if (target / f"{verb}.json").is_file() and checksum == checksum_of(kind.read(target / f"{verb}.json")):
        return
    status = undim([*words, "-o", str(work)])
    if status:
        raise SystemExit(status)
    target.mkdir(parents=True, exist_ok=True)
    write_text(target / f"{verb}.md", unplaced((work / f"{verb}.md").read_text(), options.study))
    found = shorten(kind.read(work / f"{verb}.json"))
    write_text(target / f"{verb}.json", unplaced(found.text(indent=None), options.study))


def checksum_of(document: AnyMeasuredDocument) -> str | None:
    """Of the weights that were measured."""
    return document.checkpoint_sha256 if isinstance(document, ScoresDocument) else document.sha256


def unplaced(text: str, study: Path) -> str:
    """The text with the paths of weights from the study's own folder on, also where Markdown's signs are escaped."""
    where = f"{study.parent}/"
    return text.replace(where, "").replace(where.replace("_", r"\_"), "")


def shorten(document: AnyMeasuredDocument) -> AnyMeasuredDocument:
    """What VERB.json holds, with the kernels of the most diverse generator alone: those are drawn."""
    if not isinstance(document, DiversityDocument):
        return document
    layers = document.result.layers
    drawn = max(layers, key=lambda name: layers[name].cosine_distance)
    kept = {name: one if name == drawn else one.model_copy(update={"kernels": ()}) for name, one in layers.items()}
    return document.model_copy(update={"result": document.result.model_copy(update={"layers": kept})})


if __name__ == "__main__":
    main()
