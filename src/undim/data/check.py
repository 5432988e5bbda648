"""What is wrong with a data set on disk: every picture is read once and known again by its pixels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from undim.data.entries import PairedSet, Part, UnpairedSet
from undim.data.sets import SETS, SPLITS, Place, find_pictures, find_place, group_by_name, match_names, refuse_folders
from undim.errors import DataError, PictureError
from undim.images import read_picture

Kind = Literal["unreadable", "unpaired", "ambiguous", "unequal", "duplicated"]
KINDS: tuple[Kind, ...] = ("unreadable", "unpaired", "ambiguous", "unequal", "duplicated")

Side = Literal["low", "high"]
SIDES: tuple[Side, ...] = ("low", "high")


@dataclass(frozen=True)
class Problem:
    """One thing that makes a data set unfit for use as it is."""

    kind: Kind
    pictures: tuple[Path, ...]
    """One, or the two that do not fit together; of a duplicate, the training picture first."""
    reason: str


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found."""

    name: str
    folders: tuple[Path, ...]
    """The data set's own folder; of `folder`, those of the dark pictures and of the references."""
    counts: dict[str, int]
    """Split -> pairs that are there; of a set without references, `pictures` -> their number."""
    published: dict[str, int]
    """`training` (with the validation splits) and `test`, or `pictures` -> published number; empty for `folder`."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    """What a user must know although the files are not at fault."""

    @property
    def usable(self) -> bool:
        """Whether there is no problem. Missing pictures are none: what is there may be all that was wanted."""
        return not self.problems

    @property
    def present(self) -> dict[str, int]:
        """The counts under the keys of `published`."""
        totals = Counter(dict.fromkeys(self.published, 0))
        for split, count in self.counts.items():
            totals[split if split in totals else "training"] += count
        return dict(totals)

    @property
    def missing(self) -> dict[str, int]:
        """How many fewer pictures there are than published, where there are fewer."""
        short = {key: count - self.present[key] for key, count in self.published.items()}
        return {key: count for key, count in short.items() if count > 0}

    def as_dict(self) -> dict[str, object]:
        """For JSON, with the problems by kind."""
        return {
            "name": self.name,
            "folders": [str(folder) for folder in self.folders],
            "usable": self.usable,
            "counts": self.counts,
            "published": self.published,
            "missing": self.missing,
            "problems": {
                kind: [
                    {"pictures": [str(path) for path in problem.pictures], "reason": problem.reason}
                    for problem in self.problems
                    if problem.kind == kind
                ]
                for kind in KINDS
            },
            "notes": list(self.notes),
        }


def check_data(name: str, root: Path | None = None, *, low: Path | None = None, high: Path | None = None) -> DataReport:
    """Read every picture of a data set, and say what is missing and what is wrong.

    Pictures are compared by a hash of their decoded pixels, so a copy in another lossless encoding is found.

    Args:
        name: a key of `SETS`.
        root: the data set's own folder; `None` looks under `$UNDIM_DATA`.
        low: folder of the dark pictures, for `folder` only.
        high: folder of the references, for `folder` only.

    Raises:
        DataError: for an unknown name, a data set that is not there at all, or arguments that do not fit it.
    """
    entry = SETS.get(name)
    if isinstance(entry, UnpairedSet):
        if low is not None or high is not None:
            raise refuse_folders(name)
        return _check_pictures(entry, root)
    place = find_place(name, root, low=low, high=high)
    given = (low, high) if low is not None and high is not None else (place.base,)
    return _check_pairs(place, root, given)


@dataclass(frozen=True)
class _Content:
    size: tuple[int, int]
    digest: bytes


class _Reader:
    """Reads each file once; the pixels are not kept."""

    def __init__(self) -> None:
        self._known: dict[Path, _Content | str] = {}

    def read(self, paths: Iterable[Path]) -> None:
        new = [path for path in dict.fromkeys(paths) if path not in self._known]
        with ThreadPoolExecutor() as pool:
            self._known.update(zip(new, pool.map(_read, new), strict=True))

    def content(self, path: Path) -> _Content | None:
        """None where the file cannot be read."""
        known = self._known[path]
        return known if isinstance(known, _Content) else None

    def failures(self) -> Iterator[Problem]:
        for path, known in self._known.items():
            if isinstance(known, str):
                yield Problem("unreadable", (path,), known)

    def shared(self, some: Iterable[Path], others: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
        """Those of `some` whose pixels are in `others`, each with the first of them."""
        known = {content.digest: path for path in reversed(list(others)) if (content := self.content(path))}
        for path in some:
            content = self.content(path)
            if content and content.digest in known:
                yield path, known[content.digest]


def _read(path: Path) -> _Content | str:
    try:
        picture = read_picture(path)
    except PictureError as error:
        return str(error)
    pixels = picture.pixels if picture.pixels.ndim == 3 else np.repeat(picture.pixels[..., None], 3, axis=2)
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return _Content(picture.size, digest.digest())


@dataclass(frozen=True)
class _Listed:
    """One name of one part with its files, before any was read."""

    split: str
    low: Path
    high: Path


def _check_pictures(entry: UnpairedSet, root: Path | None) -> DataReport:
    paths = find_pictures(entry.name, root)
    reader = _Reader()
    reader.read(paths)
    return DataReport(
        name=entry.name,
        folders=(paths[0].parent,),
        counts={"pictures": len(paths)},
        published={"pictures": entry.count},
        problems=tuple(reader.failures()),
        notes=_notes(entry.caution),
    )


def _check_pairs(place: Place, root: Path | None, folders: tuple[Path, ...]) -> DataReport:
    entry = place.entry
    listed, problems, strays = _list_pairs(place)
    reader = _Reader()
    reader.read([path for problem in problems for path in problem.pictures])
    reader.read(path for pair in listed for path in (pair.low, pair.high))
    problems += reader.failures()
    for pair in listed:
        low, high = reader.content(pair.low), reader.content(pair.high)
        if low and high and low.size != high.size:
            sizes = " and ".join(f"{width} x {height}" for width, height in (low.size, high.size))
            problems.append(Problem("unequal", (pair.low, pair.high), f"are {sizes} pixels"))
    problems += [
        Problem("duplicated", twins, "are a training and a test picture with the same pixels")
        for side in SIDES
        for twins in reader.shared(_side(listed, side, test=False), _side(listed, side, test=True))
    ]
    counts = Counter(pair.split for pair in listed)
    return DataReport(
        name=entry.name,
        folders=folders,
        counts={split: counts[split] for split in SPLITS if counts[split]},
        published=dict(zip(("training", "test"), entry.counts, strict=True)) if entry.counts else {},
        problems=tuple(sorted(problems, key=lambda problem: KINDS.index(problem.kind))),
        notes=_notes(
            place.layout.note,
            f"{strays} pictures lie among the training pictures but are test pictures by their number; no split has"
            " them."
            if strays
            else "",
            entry.caution,
            _measure_leak(place, listed, reader, root) if entry.twin else "",
        ),
    )


def _list_pairs(place: Place) -> tuple[list[_Listed], list[Problem], int]:
    """The pairs; what is wrong with their names; and how many training files belong to no split."""
    listed: list[_Listed] = []
    problems: list[Problem] = []
    strays = 0
    for part in _distinct(place):
        folders = place.folders(part)
        if folders is None:
            continue
        lows, highs = (group_by_name(folder, prefix) for folder, prefix in zip(folders, part.prefixes, strict=True))
        problems += [
            Problem("ambiguous", tuple(paths), "have the same name")
            for paths in (*lows.values(), *highs.values())
            if len(paths) > 1
        ]
        both, single = match_names(lows, highs)
        problems += [Problem("unpaired", ((lows.get(name) or highs[name])[0],), "has no partner") for name in single]
        for name in both:
            split = "test" if part.test else place.entry.assign(name)
            if split == "test" and part.test is False:
                strays += 1
            elif split is not None:
                listed.append(_Listed(split, lows[name][0], highs[name][0]))
    return listed, problems, strays


def _distinct(place: Place) -> list[Part]:
    """The parts without those whose folders came before, as in `folder`."""
    return list({(part.low, part.high): part for part in reversed(place.layout.parts)}.values())[::-1]


def _side(listed: Iterable[_Listed], side: Side, *, test: bool) -> list[Path]:
    return [pair.low if side == "low" else pair.high for pair in listed if (pair.split == "test") == test]


def _measure_leak(place: Place, listed: list[_Listed], reader: _Reader, root: Path | None) -> str:
    """How many dark pictures of one set's training splits are test pictures of its twin, if that is there."""
    entry = place.entry
    other = _find_twin(entry, root)
    if other is None:
        return ""
    theirs, _, _ = _list_pairs(other)
    reader.read(pair.low for pair in theirs)
    counted = (
        (entry.name, _side(listed, "low", test=False), entry.twin, _side(theirs, "low", test=True)),
        (entry.twin, _side(theirs, "low", test=False), entry.name, _side(listed, "low", test=True)),
    )
    return (
        "Measured: "
        + "; ".join(
            f"{sum(1 for _ in reader.shared(train, test))} training pictures of {one} are test pictures of {two}"
            for one, train, two, test in counted
        )
        + f" ({entry.twin} in {other.base})."
    )


def _find_twin(entry: PairedSet, root: Path | None) -> Place | None:
    for place in (None, root):
        try:
            return find_place(entry.twin, place)
        except DataError:  # not there: the caution says what could not be measured
            continue
    return None


def _notes(*texts: str) -> tuple[str, ...]:
    return tuple(text for text in texts if text)
