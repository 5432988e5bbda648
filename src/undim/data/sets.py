"""Finding a data set's pictures on disk, whatever layout it has there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from undim.data.entries import SETS, SPLITS, Layout, PairedSet, Part, Split
from undim.errors import DataError, suggest
from undim.images import PICTURE_SUFFIXES

__all__ = ["SETS", "SPLITS", "Pair", "Split", "find_pairs"]


@dataclass(frozen=True)
class Pair:
    """A dark picture and its reference."""

    name: str
    """The stem that both files share, without the prefixes of its layout."""
    low: Path
    high: Path


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
    bases = _bases(entry, root)
    for base, layout in ((base, layout) for base in bases for layout in entry.layouts):
        parts = _parts(layout, split)
        folders = [_folders(base, part) for part in parts]
        if all(folders):
            found = [
                pair
                for part, sides in zip(parts, folders, strict=True)
                if sides is not None
                for pair in _pair(*sides, part.prefixes)
                if part.test or entry.assign(pair.name) == split
            ]
            if not found:
                raise DataError(f"{base} holds no picture of the split {split} of {name}.")
            return sorted(found, key=lambda pair: _numerically(pair.name))
    expected = " or ".join(
        ", ".join(f"{part.low} and {part.high}" for part in _parts(layout, split)) for layout in entry.layouts
    )
    place = " or ".join(map(str, bases))
    raise DataError(f"{place} does not hold {name}: there should be {expected}. Source: {entry.source}.")


def _bases(entry: PairedSet, root: Path | None) -> list[Path]:
    if root is not None:
        return [root]
    home = os.environ.get("UNDIM_DATA")
    if not home:
        raise DataError(
            f"Where is {entry.name}? Give --root DIR (in a recipe: data.root), or set UNDIM_DATA to the folder that"
            f" holds {entry.folders[0]}/."
        )
    return [_find_folder(Path(home), folder) or Path(home) / folder for folder in entry.folders]


def _parts(layout: Layout, split: Split) -> list[Part]:
    """Those that may hold pictures of the split."""
    return [part for part in layout.parts if part.test is None or part.test == (split == "test")]


def _folders(base: Path, part: Part) -> tuple[Path, Path] | None:
    low, high = _find_folder(base, part.low), _find_folder(base, part.high)
    return (low, high) if low and high else None


def _find_folder(base: Path, inside: str) -> Path | None:
    """The folder of that name; else one whose name differs only in letter case, `-` and `_`."""
    exact = base / inside
    if exact.is_dir():
        return exact
    found = base
    for word in inside.split("/"):
        alike = [path for path in _subfolders(found) if _plain(path.name) == _plain(word)]
        if not alike:
            return None
        if len(alike) > 1:
            raise DataError(f"{found} holds {alike[0].name} and {alike[1].name}: which one is meant?")
        found = alike[0]
    return found


def _subfolders(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_dir()) if folder.is_dir() else iter(())


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


def _pair(low: Path, high: Path, prefixes: tuple[str, str]) -> list[Pair]:
    lows, highs = _pictures(low, prefixes[0]), _pictures(high, prefixes[1])
    single = sorted(lows.keys() ^ highs.keys())
    if single:
        raise DataError(f"{len(single)} pictures of {low.parent} have no partner, the first is {single[0]}.")
    return [Pair(name, path, highs[name]) for name, path in lows.items()]


def _pictures(folder: Path, prefix: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURE_SUFFIXES:
            name = path.stem.removeprefix(prefix)
            if name in found:
                raise DataError(f"{folder} holds {found[name].name} and {path.name}: which one is meant?")
            found[name] = path
    return found


def _numerically(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
