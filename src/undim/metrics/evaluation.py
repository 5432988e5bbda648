"""A walk over a set of pictures, one in memory at a time: read, enhance, measure, and keep the worst to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from undim.arrays import Bytes
from undim.data.entries import SETS, PairedSet, Split
from undim.data.reading import read_rgb
from undim.data.sets import (
    SPLITS,
    find_note,
    find_pairs,
    find_pictures,
    group_by_name,
    match_names,
    numerically,
    refuse_folders,
)
from undim.errors import CancelledError, DataError, ModelError, PictureError, UndimError, UsageError
from undim.images import Picture, write_picture
from undim.metrics.protocol import PictureScores, Scores, measure

FOLDER = "folder"
"""The data set that is given by its folders."""
SMALLEST = 11
"""Bytes on a side that SSIM's window needs."""
_GAP = 8
"""Grey columns between the pictures of a sheet."""


@dataclass(frozen=True)
class Case:
    """One picture to measure. There is a dark picture, an output that somebody made of it, or both."""

    name: str
    low: Path | None
    high: Path | None
    """The reference."""
    output: Path | None = None


@dataclass(frozen=True)
class Evaluation:
    """What came of one set."""

    scores: Scores
    worst: tuple[tuple[Case, Bytes], ...]
    """The pictures with the lowest PSNR, or of unpaired sets with the highest NIQE, with their outputs; worst first."""


def find_cases(
    data: str, root: Path | None, low: Path | None, high: Path | None, split: str | None
) -> tuple[list[Case], Split | None, list[str]]:
    """The pictures of a data set to measure.

    Args:
        data: name of a set; `FOLDER` is given by its folders.
        root: of a set that has a name; else it is sought where data sets lie.
        low: of `FOLDER`: the dark pictures.
        high: of `FOLDER`: their references, or None.
        split: of sets with references; None is test.

    Returns:
        The pictures, the split that they are (None without references), and notes about them.

    Raises:
        UsageError: if these do not fit together (codes "no-splits", "unknown-split", "folders").
        DataError: if something is not there.
    """
    alone = data == FOLDER and low is not None and high is None
    if alone or (data in SETS and not isinstance(SETS[data], PairedSet)):
        if split is not None:
            raise UsageError(
                f"Splits are parts of sets with references. {data} has none: choose no split.", code="no-splits"
            )
        if not alone and (low is not None or high is not None):
            raise refuse_folders(data)
        pictures = _pictures_in(low) if alone and low is not None else find_pictures(data, root)
        return cases_without_reference(pictures), None, []
    chosen = _split(split or "test")
    pairs = find_pairs(data, chosen, root, low=low, high=high)
    note = find_note(data, root, low=low, high=high)
    return [Case(pair.name, pair.low, pair.high) for pair in pairs], chosen, [note] if note else []


def _split(name: str) -> Split:
    for split in SPLITS:
        if split == name:
            return split
    raise UsageError(f"There is no split {name!r}. Known: {', '.join(SPLITS)}.", code="unknown-split", subject=name)


def _pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder.")
    groups = group_by_name(folder)
    if not groups:
        raise DataError(f"{folder} holds no pictures.")
    return [path for name in sorted(groups, key=numerically) for path in groups[name]]


def cases_without_reference(pictures: Sequence[Path]) -> list[Case]:
    """Dark pictures alone, named by their stem, or by the whole file name where a stem comes twice."""
    stems = Counter(path.stem for path in pictures)
    return [Case(path.stem if stems[path.stem] == 1 else path.name, path, None) for path in pictures]


def cases_of_outputs(outputs: Path, references: Path) -> list[Case]:
    """Two files, or the pictures of two folders paired by stem, sorted as numbers where they are.

    Raises:
        DataError: for pictures without partner or with two, and for folders without pictures.
        UsageError: if something is not there, or one is a file and the other a folder.
    """
    for path in (outputs, references):
        if not path.exists():
            raise UsageError(f"There is nothing at {path}.")
    if outputs.is_dir() != references.is_dir():
        raise UsageError(f"Give two files or two folders. Got {outputs} and {references}.")
    if not outputs.is_dir():
        return [Case(outputs.stem, None, references, outputs)]
    made, wanted = group_by_name(outputs), group_by_name(references)
    for folder, groups in ((outputs, made), (references, wanted)):
        if not groups:
            raise DataError(f"{folder} holds no pictures.")
        for paths in groups.values():
            if len(paths) > 1:
                raise DataError(f"{folder} holds {paths[0].name} and {paths[1].name}: which one is meant?")
    both, single = match_names(made, wanted)
    if single:
        lacking = references if single[0] in made else outputs
        raise DataError(f"{lacking} has no partner for {single[0]} ({len(single)} pictures have none).")
    return [Case(name, None, wanted[name][0], made[name][0]) for name in sorted(both, key=numerically)]


def check_cases(cases: Sequence[Case], done: Callable[[], None] = lambda: None) -> None:
    """Decode every picture once, so that nothing fails after work that would be lost.

    Args:
        cases: at least one.
        done: called after each.

    Raises:
        DataError: naming the file that cannot be read, has another size than its reference, or is too small for SSIM.
    """
    for case in cases:
        sizes = {path: read_rgb(path).shape[:2] for path in (case.low, case.output, case.high) if path is not None}
        check_sizes(sizes, referenced=case.high is not None)
        done()


def check_sizes(sizes: Mapping[Path, tuple[int, ...]], *, referenced: bool) -> None:
    """Whether the pictures of one case can be measured.

    Args:
        sizes: of each file, (H, W).
        referenced: whether a reference is among them, so that there will be SSIM.

    Raises:
        DataError: naming the file that has another size than the first, or is too small for SSIM.
    """
    first, *others = sizes
    for path in others:
        if sizes[path] != sizes[first]:
            one, other = (f"{width} x {height}" for height, width in (sizes[first], sizes[path]))
            raise DataError(f"{first} is {one} and {path} is {other}; they must be of one size.")
    if referenced and min(sizes[first]) < SMALLEST:
        raise DataError(f"{first} has a side of {min(sizes[first])}; SSIM needs {SMALLEST} pixels.")


def evaluate_cases(
    cases: Sequence[Case],
    enhance: Callable[[Bytes], Bytes] | None = None,
    *,
    worst: int = 0,
    images: Path | None = None,
    done: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Enhance the dark pictures (outputs that are there are taken as they are) and measure what comes out.

    Args:
        cases: checked, see `check_cases`.
        enhance: H x W x 3 8-bit RGB to the same; not needed where all outputs are there.
        worst: how many outputs to keep; they stay in memory.
        images: a folder for the enhanced pictures, as NAME.png.
        done: called after each.

    Raises:
        ModelError: naming the picture, if the network fails on it or its output is of another size.
        PictureError: if a picture cannot be enhanced, naming it, or written.
    """
    scores: list[PictureScores] = []
    kept: list[tuple[float, Case, Bytes]] = []
    for case in cases:
        low = None if case.low is None else read_rgb(case.low)
        output = _output_of(case, low, enhance)
        if low is not None and output.shape != low.shape:
            raise ModelError(f"The model made {output.shape} of {case.low}, which is {low.shape}.")
        result = measure(case.name, output, None if case.high is None else read_rgb(case.high), low)
        scores.append(result)
        badness = _badness(result)
        if badness is not None:
            kept = sorted([*kept, (badness, case, output)], key=lambda entry: -entry[0])[:worst]
        if images is not None:
            write_picture(Picture(output), images / f"{case.name}.png", "png")
        done()
    return Evaluation(Scores(tuple(scores)), tuple((case, output) for _, case, output in kept))


def make_sheet(case: Case, output: Bytes) -> Bytes:
    """Input, output and reference side by side at full size, those that there are."""
    parts = [
        *([] if case.low is None else [read_rgb(case.low)]),
        output,
        *([] if case.high is None else [read_rgb(case.high)]),
    ]
    gap = np.full((output.shape[0], _GAP, 3), 128, np.uint8)
    row = [parts[0]]
    for part in parts[1:]:
        row += [gap, part]
    return np.concatenate(row, axis=1)


def sheet_order(case: Case) -> str:
    """What `make_sheet` shows, from left to right."""
    return " | ".join(
        [*([] if case.low is None else ["input"]), "output", *([] if case.high is None else ["reference"])]
    )


def _badness(scores: PictureScores) -> float | None:
    return scores.niqe if scores.psnr is None else -scores.psnr


def _output_of(case: Case, low: Bytes | None, enhance: Callable[[Bytes], Bytes] | None) -> Bytes:
    if case.output is not None:
        return read_rgb(case.output)
    if low is None or enhance is None:
        raise UsageError(f"{case.name} has no output, and there is nothing to make one of.")
    try:
        return enhance(low)
    except CancelledError:
        raise
    except PictureError as error:
        raise PictureError(f"{case.low} {error}.", code=error.code, subject=error.subject) from error
    except UndimError as error:
        raise ModelError(f"{case.low}: {error}", code=error.code, subject=error.subject) from error
