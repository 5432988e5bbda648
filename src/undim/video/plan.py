"""Which videos the paths on the command line mean, and which file each becomes. Nothing is written here."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from undim.errors import UsageError
from undim.jobs.plan import check_named
from undim.video.containers import CONTAINERS, ELSE, find_container, has_video_suffix

_PASSED_OVER = ("__MACOSX",)
"""Folders that hold no videos of their own, beside hidden ones."""
_COMPANION = "._"
"""How the names of the files begin that macOS leaves beside others on foreign file systems."""


@dataclass(frozen=True)
class VideoTask:
    """One video to enhance."""

    source: Path
    target: Path | None
    """None where `refusal` stands."""
    refusal: str | None = None
    """Why it is not tried."""


@dataclass(frozen=True)
class VideoPlan:
    """What is to be done."""

    tasks: tuple[VideoTask, ...]
    lone: bool
    """Whether it is one video with an output of a given name."""


def plan(inputs: Sequence[str], output: str, *, overwrite: bool = False) -> VideoPlan:
    """Tasks in the order of the inputs, folders sorted by name.

    A folder gives the videos in it and its sub-folders, known by their suffix, under their path in it; hidden folders,
    and what macOS leaves beside files, are passed over. A file gives itself, whatever its suffix. A pattern in quotes
    (`*`, `?`, `[...]`, `**`) gives what it matches. The output folder is left out where it lies inside an input. An
    output keeps its input's suffix where such files are written, and is an .mkv file otherwise.

    Args:
        inputs: paths and patterns.
        output: a video's name, for one file; else a folder.
        overwrite: whether an output of a given name may replace a file.

    Raises:
        UsageError: for a path that does not exist, inputs without a video, or an output that does not fit them.
        VideoError: for the name of one output that is not a video's.
    """
    check_named(inputs, output)
    lone = len(inputs) == 1 and not Path(inputs[0]).is_dir() and _names_a_file(output)
    if lone and (Path(inputs[0]).exists() or not glob.has_magic(inputs[0])):
        return VideoPlan((_lone_task(Path(inputs[0]), Path(output), overwrite=overwrite),), lone=True)
    if _names_a_file(output) and PurePath(output).suffix[1:].lower() in CONTAINERS:
        raise UsageError(f"The output {output} is the name of one video, which takes one file: give a folder.")
    folder = Path(output)
    _check_folder(folder)
    found = list(dict.fromkeys(one for text in inputs for one in _find(text, folder)))
    if not found:
        raise UsageError(f"There is no video in {', '.join(map(repr, inputs))}.")
    return VideoPlan(tuple(_tasks(found, folder)), lone=False)


def _names_a_file(output: str) -> bool:
    return not output.endswith(("/", os.sep)) and not Path(output).is_dir() and bool(PurePath(output).suffix)


def _lone_task(source: Path, target: Path, *, overwrite: bool) -> VideoTask:
    if not source.is_file():
        raise UsageError(f"{source} is not a file.")
    find_container(target)
    if target.exists() and target.samefile(source):
        raise UsageError(f"{target} is the input itself: give another name.")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists: give another name, or allow that it is overwritten.")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target}: there is no folder {target.parent}: make it first.")
    return VideoTask(source, target)


def _check_folder(folder: Path) -> None:
    above = folder.absolute()
    while not os.path.lexists(above) and above != above.parent:
        above = above.parent
    if not above.is_dir():
        raise UsageError(f"The output folder {folder} cannot be made: {above} is not a folder.")
    if not os.access(above, os.W_OK):
        raise UsageError(f"The output folder {folder} cannot be made: the folder {above} is not writable.")


def _find(text: str, output: Path) -> Iterator[tuple[Path, PurePath]]:
    """Videos that an input means, each with its path below it."""
    path = Path(text)
    if path.is_dir():
        yield from _walk(path, PurePath(), output)
    elif os.path.lexists(path):
        yield path, PurePath(path.name)
    elif glob.has_magic(text):
        parts = path.parts
        fixed = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
        matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 - Path's takes no absolute pattern
        if not matches:
            raise UsageError(f"No file matches the pattern {text!r}.")
        for match in matches:
            relative = PurePath(os.path.relpath(match, fixed))
            if match.is_dir():
                yield from _walk(match, relative, output)
            elif has_video_suffix(match.name) and not match.name.startswith(_COMPANION):
                yield match, relative
    else:
        raise UsageError(f"There is no file or folder {text!r}.")


def _walk(folder: Path, relative: PurePath, output: Path) -> Iterator[tuple[Path, PurePath]]:
    """Videos below a folder. Each folder is walked once, also where links lead in circles."""
    seen = {_identity(output), _identity(folder)}
    for top, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _PASSED_OVER and _identity(Path(top, name)) not in seen
        )
        seen.update(_identity(Path(top, name)) for name in folders)
        below = relative / os.path.relpath(top, folder)
        for name in sorted(names):
            if has_video_suffix(name) and not name.startswith(_COMPANION):
                yield Path(top, name), below / name


def _tasks(found: Sequence[tuple[Path, PurePath]], folder: Path) -> Iterator[VideoTask]:
    """What each becomes. Two of one name, but for their suffixes, get these into their names."""
    named = [_with_suffix(relative) for _, relative in found]
    shared = Counter(map(_key, named))
    named = [
        relative.with_name(f"{relative.name}.{ELSE}") if shared[_key(name)] > 1 and name != relative else name
        for name, (_, relative) in zip(named, found, strict=True)
    ]
    taken = Counter(map(_key, named))
    sources = {_identity(source) for source, _ in found}
    for (source, _), name in zip(found, named, strict=True):
        target = folder / name
        if _identity(target) == _identity(source):
            yield VideoTask(source, None, "its output would be the file itself: give another folder")
        elif _identity(target) in sources:
            yield VideoTask(source, None, f"its output {target} would replace another input: give another folder")
        elif taken[_key(name)] > 1:
            yield VideoTask(source, None, f"another input would become {target}, too: give them folders of their own")
        elif not source.is_file():
            yield VideoTask(source, None, "is not a regular file")
        else:
            yield VideoTask(source, target)


def _with_suffix(relative: PurePath) -> PurePath:
    return relative if relative.suffix[1:].lower() in CONTAINERS else relative.with_suffix(f".{ELSE}")


def _key(path: PurePath) -> str:
    return os.path.normcase(path)


def _identity(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))
