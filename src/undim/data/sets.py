"""Finding a data set's pictures on disk, whatever layout it has there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from undim.data.entries import FOLDER, SETS, SPLITS, Layout, PairedSet, Part, Split, UnpairedSet
from undim.errors import DataError, suggest
from undim.images import PICTURE_SUFFIXES

__all__ = [
    "SETS",
    "SPLITS",
    "Pair",
    "Place",
    "Split",
    "find_note",
    "find_pairs",
    "find_pictures",
    "find_place",
    "group_by_name",
    "list_sets",
    "match_names",
    "numerically",
]


@dataclass(frozen=True)
class Pair:
    """A dark picture and its reference."""

    name: str
    """The stem that both files share, without the prefixes of its layout."""
    low: Path
    high: Path


@dataclass(frozen=True)
class Place:
    """Where a set of pairs was found, and in which of its layouts."""

    entry: PairedSet
    base: Path
    layout: Layout

    def folders(self, part: Part) -> tuple[Path, Path] | None:
        """The low and the high folder of a part; None if one of them is not there."""
        low, high = _find_folder(self.base, part.low), _find_folder(self.base, part.high)
        return (low, high) if low and high else None


def list_sets(*, paired: bool | None = None) -> list[str]:
    """Names of the data sets, for help texts; with `paired`, only those with or only those without references."""
    return [name for name, entry in SETS.items() if paired is None or isinstance(entry, PairedSet) == paired]


def find_pairs(
    name: str, split: Split, root: Path | None = None, *, low: Path | None = None, high: Path | None = None
) -> list[Pair]:
    """List the pairs of one split, sorted by name (numerically where names are numbers).

    Args:
        name: of a set of pairs, see `list_sets`.
        split: which pictures; of `folder`, `train` and `test` are all pairs.
        root: the data set's own folder; `None` looks under `$UNDIM_DATA`.
        low: folder of the dark pictures, for `folder` only.
        high: folder of the references, for `folder` only.

    Raises:
        DataError: for an unknown name, a set without references, a missing folder, a picture without partner, or a
            split without pictures.
    """
    if split not in SPLITS:
        raise DataError(f"There is no split {split!r}. Known: {', '.join(SPLITS)}.")
    place = find_place(name, root, low=low, high=high, split=split)
    found = [
        pair
        for part in _parts(place.layout, split)
        for pair in _pair(place.folders(part), part.prefixes)
        if part.test or place.entry.assign(pair.name) == split
    ]
    if not found:
        if name == FOLDER.name and split in ("train", "test"):
            raise DataError(f"{low} and {high} hold no pairs.")
        if name == FOLDER.name:
            raise DataError(f"The data set folder has no split {split}: all its pairs are train and test.")
        raise DataError(f"{place.base} holds no picture of the split {split} of {name}.")
    return sorted(found, key=lambda pair: numerically(pair.name))


def find_pictures(name: str, root: Path | None = None) -> list[Path]:
    """List the pictures of a set without references, sorted by name.

    Args:
        name: of a set without references, see `list_sets`.
        root: the data set's own folder; `None` looks under `$UNDIM_DATA`.

    Raises:
        DataError: for an unknown name, a set of pairs, or a missing folder or one without pictures.
    """
    entry = _look_up(name)
    if isinstance(entry, PairedSet):
        raise DataError(f"{name} is a set of pairs, which has splits. Sets without references: {_names(paired=False)}.")
    bases = _bases(entry, root)
    for base in bases:
        for inside in entry.layouts:
            folder = _find_folder(base, inside)
            pictures = sorted(_pictures(folder), key=lambda path: numerically(path.stem)) if folder else []
            if pictures:
                return pictures
    raise DataError(f"{_either(bases)} does not hold {name}: there should be pictures in it. Source: {entry.source}.")


def find_note(name: str, root: Path | None = None, *, low: Path | None = None, high: Path | None = None) -> str:
    """What a reader of results must know about the pictures as they were found, to be printed with them; may be "".

    Raises:
        DataError: as `find_pairs` and `find_pictures` do.
    """
    if isinstance(_look_up(name), UnpairedSet):
        return ""
    return find_place(name, root, low=low, high=high).layout.note


def find_place(
    name: str,
    root: Path | None = None,
    *,
    low: Path | None = None,
    high: Path | None = None,
    split: Split | None = None,
) -> Place:
    """Where a set of pairs is, in the first of its layouts that is there.

    Args:
        name: of a set of pairs.
        root: the data set's own folder; `None` looks under `$UNDIM_DATA`.
        low: folder of the dark pictures, for `folder` only.
        high: folder of the references, for `folder` only.
        split: whose folders must all be there; of `None`, two folders of any part suffice.

    Raises:
        DataError: for an unknown name, a set without references, missing folders, or `low` and `high` with another
            set than `folder`, or `folder` without them or with a root.
    """
    entry = _look_up(name)
    if isinstance(entry, UnpairedSet):
        raise DataError(f"{name} has no references. Sets of pairs: {_names(paired=True)}.")
    if entry is FOLDER:
        if root is not None:
            raise DataError(
                "The data set folder takes two folders, low and high, instead of a root.", code="two-folders"
            )
        entry, bases = _two_given_folders(low, high), [Path()]
    elif low is not None or high is not None:
        raise refuse_folders(name)
    else:
        bases = _bases(entry, root)
    for base in bases:
        for layout in entry.layouts:
            place = Place(entry, base, layout)
            there = [place.folders(part) is not None for part in _parts(layout, split)]
            if all(there) if split else any(there):
                return place
    expected = " or ".join(
        " and ".join(_braces(part) for part in _parts(layout, split or "test")) for layout in entry.layouts
    )
    raise DataError(f"{_either(bases)} does not hold {name}: there should be {expected}. Source: {entry.source}.")


def match_names(low: Mapping[str, object], high: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """The names that are on both sides, and those that are on one only."""
    return sorted(low.keys() & high.keys(), key=numerically), sorted(low.keys() ^ high.keys(), key=numerically)


def group_by_name(folder: Path, prefix: str = "") -> dict[str, list[Path]]:
    """The folder's pictures by their stem without the prefix; more than one where suffixes or prefixes differ."""
    found: dict[str, list[Path]] = {}
    for path in _pictures(folder):
        found.setdefault(path.stem.removeprefix(prefix), []).append(path)
    return found


def numerically(name: str) -> tuple[int, int, str]:
    """A key that sorts names that are numbers by value, before all others."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def refuse_folders(name: str) -> DataError:
    """The error about folders of dark pictures and references that are given for a set with a name, to be raised."""
    return DataError(
        f"Folders low and high belong to the data set folder; {name} takes one root folder.",
        code="folders",
        subject=name,
    )


def _look_up(name: str) -> PairedSet | UnpairedSet:
    if name not in SETS:
        raise DataError(f"There is no data set {name!r}.{suggest(name, SETS)} Known: {', '.join(list_sets())}.")
    return SETS[name]


def _names(*, paired: bool) -> str:
    return ", ".join(list_sets(paired=paired))


def _two_given_folders(low: Path | None, high: Path | None) -> PairedSet:
    if low is None or high is None:
        raise DataError(
            "The data set folder needs two folders: low with the dark pictures, high with their references.",
            code="two-folders",
        )
    for folder in (low, high):
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder.")
    parts = tuple(Part(str(low), str(high), test=test) for test in (False, True))
    return replace(FOLDER, layouts=(Layout(parts),))


def _bases(entry: PairedSet | UnpairedSet, root: Path | None) -> list[Path]:
    if root is not None:
        return [root]
    home = os.environ.get("UNDIM_DATA")
    if not home:
        raise DataError(
            f"Where is {entry.name}? Give its root folder (in a recipe: data.root), or set UNDIM_DATA to the folder"
            f" that holds {entry.folders[0]}/.",
            code="no-root",
            subject=entry.name,
        )
    return [_find_folder(Path(home), folder) or Path(home) / folder for folder in entry.folders]


def _parts(layout: Layout, split: Split | None) -> list[Part]:
    """Those that may hold pictures of the split."""
    return [part for part in layout.parts if split is None or part.test is None or part.test == (split == "test")]


def _braces(part: Part) -> str:
    (above, _, low), (_, _, high) = part.low.rpartition("/"), part.high.rpartition("/")
    return f"{above}/{{{low},{high}}}" if above else f"{{{low},{high}}}"


def _either(bases: list[Path]) -> str:
    return " or ".join(map(str, bases))


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


def _pair(folders: tuple[Path, Path] | None, prefixes: tuple[str, str]) -> list[Pair]:
    if folders is None:
        return []
    lows, highs = (_only(folder, prefix) for folder, prefix in zip(folders, prefixes, strict=True))
    both, single = match_names(lows, highs)
    if single:
        low, high = folders
        lacking = high if single[0] in lows else low
        raise DataError(
            f"{len(single)} pictures of {low} and {high} have no partner, the first is {single[0]}, which {lacking}"
            " lacks."
        )
    return [Pair(name, lows[name], highs[name]) for name in both]


def _only(folder: Path, prefix: str) -> dict[str, Path]:
    groups = group_by_name(folder, prefix)
    for paths in groups.values():
        if len(paths) > 1:
            raise DataError(f"{folder} holds {paths[0].name} and {paths[1].name}: which one is meant?")
    return {name: paths[0] for name, paths in groups.items()}


def _pictures(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()]
