"""The entries: what each data set is, how its folders may be laid out, and its fixed splits."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from undim.errors import DataError, suggest
from undim.images import PICTURE_SUFFIXES

Split = Literal["train", "val", "val-scenes", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "val-scenes", "test")


@dataclass(frozen=True)
class Pair:
    """A dark picture and its reference."""

    name: str
    """The stem that both files share."""
    low: Path
    high: Path


@dataclass(frozen=True)
class Layout:
    """Folders, relative to the root, that hold the training and the test pairs."""

    train: tuple[str, str]
    """Low, high."""
    test: tuple[str, str]
    """Low, high."""


@dataclass(frozen=True)
class PairedSet:
    """One data set of dark pictures with references."""

    name: str
    folder: str
    """Where it is looked for under `$UNDIM_DATA`."""
    layouts: tuple[Layout, ...]
    counts: tuple[int, int]
    """Published numbers of training and test pairs."""
    licence: str
    source: str
    assign: Callable[[str], Split]
    """Name of a picture of the training folder -> its split, whatever other pictures are there."""


VAL_SCENES = ((35, 46), (137, 145), (248, 253), (558, 567), (698, 704))
"""Blocks of LOL-v1 numbers that begin and end between scenes: 42 pictures of scenes that training never sees."""
VAL = frozenset(
    {
        *(16, 57, 80, 100, 120, 151, 185, 207, 232, 260, 472, 490),
        *(512, 537, 556, 588, 610, 630, 653, 677, 695, 723, 741, 766),
    }
)
"""LOL-v1 numbers of `val`: of our485's other pictures each 18th, from the tenth on."""


def assign_lol_v1(name: str) -> Split:
    """The split of one picture of our485.

    `val` is scattered as eval15 is (its scenes' neighbours stay in training), `val-scenes` lies in blocks.
    """
    number = int(name) if name.isdecimal() else -1
    if any(low <= number <= high for low, high in VAL_SCENES):
        return "val-scenes"
    return "val" if number in VAL else "train"


LOL_V1 = PairedSet(
    name="lol-v1",
    folder="lol_v1",
    layouts=(Layout(("our485/low", "our485/high"), ("eval15/low", "eval15/high")),),
    counts=(485, 15),
    licence="research use only",
    source="Wei et al., Deep Retinex Decomposition for Low-Light Enhancement, BMVC 2018",
    assign=assign_lol_v1,
)

SETS: dict[str, PairedSet] = {entry.name: entry for entry in (LOL_V1,)}


def find_pairs(name: str, split: Split, root: Path | None = None) -> list[Pair]:
    """List the pairs of one split, sorted by name (numerically where names are numbers).

    Args:
        name: a key of `SETS`.
        split: which pictures.
        root: the data set's own folder; `None` looks under `$UNDIM_DATA`.

    Raises:
        DataError: for an unknown name, a missing folder, a picture without partner, or a split without pictures.
    """
    if name not in SETS:
        raise DataError(f"There is no data set {name!r}.{suggest(name, SETS)} Known: {', '.join(sorted(SETS))}.")
    if split not in SPLITS:
        raise DataError(f"There is no split {split!r}. Known: {', '.join(SPLITS)}.")
    entry = SETS[name]
    base = _root(entry, root)
    for layout in entry.layouts:
        low, high = layout.test if split == "test" else layout.train
        if (base / low).is_dir() and (base / high).is_dir():
            pairs = _pair(base / low, base / high)
            chosen = pairs if split == "test" else [pair for pair in pairs if entry.assign(pair.name) == split]
            if not chosen:
                raise DataError(f"{base / low} holds no picture of the split {split} of {name}.")
            return chosen
    folders = [layout.test if split == "test" else layout.train for layout in entry.layouts]
    expected = " or ".join(f"{low} and {high}" for low, high in folders)
    raise DataError(f"{base} does not hold {name}: there should be {expected}. Source: {entry.source}.")


def _root(entry: PairedSet, root: Path | None) -> Path:
    if root is not None:
        return root
    home = os.environ.get("UNDIM_DATA")
    if not home:
        raise DataError(
            f"Where is {entry.name}? Give --root DIR (in a recipe: data.root), or set UNDIM_DATA to the folder that"
            f" holds {entry.folder}/."
        )
    return Path(home) / entry.folder


def _pair(low: Path, high: Path) -> list[Pair]:
    lows, highs = _pictures(low), _pictures(high)
    single = sorted(lows.keys() ^ highs.keys())
    if single:
        raise DataError(f"{len(single)} pictures of {low.parent} have no partner, the first is {single[0]}.")
    return [Pair(name, lows[name], highs[name]) for name in sorted(lows, key=_numerically)]


def _pictures(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURE_SUFFIXES:
            if path.stem in found:
                raise DataError(f"{folder} holds {found[path.stem].name} and {path.name}: which one is meant?")
            found[path.stem] = path
    return found


def _numerically(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdigit() else (1, 0, name)
