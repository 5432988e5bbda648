"""`undim study measure`: a study's networks measured beyond the study, for `undim paper`.

Runs `undim redundancy reset` on the finished cells whose weights are on this machine, and on those of seed 0 `poi`,
`diversity` and `prune` where they say something; then `undim evaluate` of the base and of POG on unpaired data sets,
for table 10. It leaves OUTPUT/measured/STUDY.VARIANT-sSEED/DATA/VERB.json and VERB.md. What is there of the same
weights is not measured again, what is there of others is; what was begun is continued.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from undim.atomic import write_text
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


@dataclass(frozen=True)
class Wish:
    """What to measure, and where to leave it."""

    study: Path
    """Folder of the study."""
    output: Path
    work: Path
    """Folder for what was begun."""
    variants: Sequence[str] = ()
    """All if empty."""
    seeds: Sequence[int] = ()
    """All if empty."""
    root: Path | None = None
    """Folder of LOL-v1; else it is sought in $UNDIM_DATA."""
    unpaired: Sequence[str] = ("dicm", "mef")
    """Data sets of table 10."""
    redundancy: bool = True
    table10: bool = True


def measure_study(wish: Wish, undim: Callable[[Sequence[str]], int], say: Callable[[str], None]) -> int:
    """Measure what is not there, and return the exit status of the first command that failed, or 0.

    Args:
        wish: what.
        undim: runs one command line of Undim's and returns its exit status.
        say: takes a line for the user.

    Raises:
        UsageError: if the folder is not that of a study.
    """
    name = read_plan(wish.study).name
    for cell in read_cells(wish.study):
        variant, seed = cell.variant, cell.seed
        weights = wish.study / "runs" / f"{variant}-s{seed}" / WEIGHTS
        if variant not in (wish.variants or [variant]) or seed not in (wish.seeds or [seed]):
            continue
        if not weights.is_file():
            say(f"{weights} is not here: left out.")
            continue
        for words, verb, place in _commands_of(wish, variant, seed, weights):
            status = _measure(words, verb, weights, Path(f"{name}.{variant}-s{seed}") / place, wish, undim)
            if status:
                return status
    return 0


def _commands_of(wish: Wish, variant: str, seed: int, weights: Path) -> list[tuple[list[str], str, str]]:
    """Command lines, the names of the documents that they write, and the data sets."""
    commands = []
    if wish.redundancy:
        root = [] if wish.root is None else ["--root", str(wish.root)]
        for verb, given in verbs_of(variant, seed).items():
            commands.append((["redundancy", verb, str(weights), "--data", "lol-v1", *given, *root], verb, "lol-v1"))
    if wish.table10 and variant in COMPARED:
        evaluate = ["evaluate", str(weights), "--worst", "0", "--data"]
        commands += [([*evaluate, data], "results", data) for data in wish.unpaired]
    return commands


def _measure(
    words: list[str], verb: str, weights: Path, place: Path, wish: Wish, undim: Callable[[Sequence[str]], int]
) -> int:
    """Run a command that writes VERB.json and VERB.md, and keep both, unless these weights' are there."""
    checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
    work, target = wish.work / checksum[:16] / place, wish.output / "measured" / place
    kind = FILES[f"{verb}.json"]
    if (target / f"{verb}.json").is_file() and checksum == checksum_of(kind.read(target / f"{verb}.json")):
        return 0
    status = undim([*words, "-o", str(work)])
    if status:
        return status
    target.mkdir(parents=True, exist_ok=True)
    write_text(target / f"{verb}.md", unplaced((work / f"{verb}.md").read_text(encoding="utf-8"), wish.study))
    found = shorten(kind.read(work / f"{verb}.json"))
    write_text(target / f"{verb}.json", unplaced(found.text(indent=None), wish.study))
    return 0


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
