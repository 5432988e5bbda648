"""The entries: what each data set is, how its folders may be laid out, and its fixed splits."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from undim.errors import DataError

Split = Literal["train", "val", "val-scenes", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "val-scenes", "test")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})


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
    assign: Callable[[list[str]], dict[str, Split]]
    """Sorted names of the training folder -> the split of each."""


VAL_SCENES = ((35, 46), (137, 145), (248, 253), (558, 567), (698, 704))
"""Blocks of LOL-v1 numbers that begin and end between scenes: 42 pictures of scenes that training never sees."""
VAL_EVERY = 18
"""Of our485's other pictures, each 18th (from the tenth on) is in `val`: 24 scattered pictures."""


def assign_lol_v1(names: list[str]) -> dict[str, Split]:
    """Split our485: `val` scattered as eval15 is (its scenes' neighbours stay in training), `val-scenes` in blocks."""
    in_blocks = {name for name in names if any(low <= int(name) <= high for low, high in VAL_SCENES)}
    others = sorted((name for name in names if name not in in_blocks), key=int)
    scattered = set(others[VAL_EVERY // 2 :: VAL_EVERY][:24])
    return {name: "val-scenes" if name in in_blocks else "val" if name in scattered else "train" for name in names}


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
        DataError: for an unknown name, a missing folder, or a picture without partner.
    """
    if name not in SETS:
        near = difflib.get_close_matches(name, SETS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(f"There is no data set {name!r}.{hint} Known: {', '.join(sorted(SETS))}.")
    if split not in SPLITS:
        raise DataError(f"There is no split {split!r}. Known: {', '.join(SPLITS)}.")
    entry = SETS[name]
    base = _root(entry, root)
    for layout in entry.layouts:
        low, high = layout.test if split == "test" else layout.train
        if (base / low).is_dir() and (base / high).is_dir():
            pairs = _pair(base / low, base / high)
            if split == "test":
                return pairs
            wanted = entry.assign([pair.name for pair in pairs])
            return [pair for pair in pairs if wanted[pair.name] == split]
    expected = " or ".join(f"{low} and {high}" for low, high in (layout.train for layout in entry.layouts))
    raise DataError(f"{base} does not hold {name}: there should be {expected}. Source: {entry.source}.")


def _root(entry: PairedSet, root: Path | None) -> Path:
    if root is not None:
        return root
    home = os.environ.get("UNDIM_DATA")
    if not home:
        raise DataError(
            f"Where is {entry.name}? Give --root DIR, or set UNDIM_DATA to the folder with {entry.folder}/."
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
        if path.suffix.lower() in SUFFIXES:
            if path.stem in found:
                raise DataError(f"{folder} holds {found[path.stem].name} and {path.name}: which one is meant?")
            found[path.stem] = path
    return found


def _numerically(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdigit() else (1, 0, name)
