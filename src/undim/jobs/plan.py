"""Which pictures the paths on the command line mean, and which file each becomes. Nothing is written here."""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from undim.errors import UsageError
from undim.images.formats import FORMATS, PICTURE_SUFFIXES, WRITTEN_SUFFIXES, has_picture_suffix, suffix_of
from undim.images.reading import read_format
from undim.images.writing import written_format

STREAM = "-"
"""Stands for standard input or output in place of a path."""

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP}
"""What the system says of a name that is no file: Windows has the last but one for names with a wildcard."""


@dataclass(frozen=True)
class Task:
    """One picture to enhance."""

    source: str
    """A path, or `STREAM`."""
    target: Path | None
    """The output's path; None for standard output, and where `refusal` stands."""
    format: str | None = None
    """Name of the output format; None for that of the content."""
    refusal: str | None = None
    """Why it cannot be read, where that is known without opening it."""


@dataclass(frozen=True)
class _Found:
    """A picture, and its path relative to the argument that it was found by."""

    source: str
    relative: PurePath
    refusal: str | None = None


def plan(inputs: Sequence[str], output: str, form: str | None = None, *, overwrite: bool = False) -> list[Task]:
    """Tasks in the order of the inputs, folders sorted by name.

    A folder gives the pictures in it and its sub-folders, known by their suffix, under their path in it. A file gives
    itself, whatever its suffix. A pattern (`*`, `?`, `[...]`, `**`) gives what it matches, under the path below its
    last folder without a wildcard. Links to folders are followed, each folder once. The output folder is left out
    where it lies inside an input. An input that the system does not let us look at becomes a task with a refusal.

    Args:
        inputs: paths, patterns, or `-` alone for standard input.
        output: `-`, a file if it has a picture's suffix and is no folder, which takes one input that is no folder,
            else a folder.
        form: one of `FORMATS`: the format and the suffix of all outputs. Without it both stay, except that a format
            that is not written becomes PNG, and that the suffix of an output file decides.
        overwrite: allow an output that replaces its own input.

    Raises:
        UsageError: for a path that does not exist, a pattern without a match, inputs without a picture, two inputs
            with one output, several for one picture's name, an output that would be a folder of another, an output
            that would replace an input, a pattern with `..` behind a wildcard, or options that contradict each other.
    """
    if not inputs:
        raise UsageError("No input. Give files, folders, patterns in quotes, or - for standard input.")
    if form is not None and form not in FORMATS:
        raise UsageError(f"There is no output format {form!r}; allowed: {', '.join(FORMATS)}.")
    if STREAM in inputs and len(inputs) > 1:
        raise UsageError("- (standard input) is one picture and cannot be combined with other inputs.")
    found = [_Found(STREAM, PurePath())] if STREAM in inputs else _find(inputs, output)
    lone = len(inputs) == 1 and len(found) == 1 and not _is_folder(inputs[0])
    if output == STREAM:
        if not lone:
            raise UsageError("-o - (standard output) takes one picture; give one file, or a folder with -o.")
        return [Task(found[0].source, None, form, found[0].refusal)]
    if lone and suffix_of(output) in PICTURE_SUFFIXES and not Path(output).is_dir():
        tasks = [Task(found[0].source, Path(output), _format_of_file(output, form), found[0].refusal)]
    elif STREAM in inputs:
        raise UsageError(f"Standard input has no name to use in the folder {output!r}; give -o FILE.jpg or -o -.")
    elif not lone and suffix_of(output) in PICTURE_SUFFIXES and not Path(output).is_dir():
        raise UsageError(f"-o {output} is the name of one picture, which takes one file: give a folder.")
    else:
        tasks = [_task(item, Path(output), form) for item in found]
    tasks = list(
        {
            (_identity(task.source), task.source if task.target is None else task.target): task
            for task in reversed(tasks)
        }.values()
    )[::-1]
    _check_targets(tasks, overwrite=overwrite)
    _check_folder(Path(output), is_file=lone and tasks[0].target == Path(output))
    return tasks


def _find(inputs: Sequence[str], output: str) -> list[_Found]:
    found: list[_Found] = []
    seen = {_folder_key(output)} if Path(output).is_dir() else set()
    for text in inputs:
        refusal = _hidden(text)
        if refusal is not None:
            found.append(_Found(text, PurePath(PurePath(text).name), refusal))
        elif _is_folder(text):
            found += _walk(text, PurePath(), seen - {_folder_key(text)})
        elif os.path.lexists(text):
            found.append(_Found(text, PurePath(PurePath(text).name)))
        elif glob.has_magic(text):
            found += _match(text, seen, output)
        else:
            raise UsageError(f"There is no file or folder {text!r}.")
    if not found:
        raise UsageError(f"There is no picture in {', '.join(map(repr, inputs))}.")
    return found


def _match(pattern: str, seen: set[tuple[int, int]], output: str) -> Iterator[_Found]:
    parts = PurePath(pattern).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    if ".." in parts[first:]:
        raise UsageError(f"The pattern {pattern!r} has .. behind a wildcard; write the folders that it means.")
    fixed = PurePath(*parts[:first])
    own = PurePath(_identity(output))
    # Otherwise the outputs are meant to lie among the inputs.
    inside = Path(output).is_dir() and PurePath(_identity(fixed)) in own.parents
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matches:
        raise UsageError(f"No file matches the pattern {pattern!r}.")
    walked = set(seen)
    for match in matches:
        if inside and PurePath(_identity(match)).is_relative_to(own):
            continue
        relative = PurePath(os.path.relpath(match, fixed))
        if not _is_folder(match):
            yield _Found(match, relative)
        elif _folder_key(match) not in walked:
            yield from _walk(match, relative, walked)


def _walk(folder: str, relative: PurePath, seen: set[tuple[int, int]]) -> Iterator[_Found]:
    """Pictures below a folder. `seen` holds device and inode of folders to leave out and grows by those walked."""
    seen.add(_folder_key(folder))
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        yield _Found(folder, relative, f"cannot be listed: {error.strerror or error}")
        return
    folders = []
    for entry in entries:
        if _is_folder(entry):
            folders.append(entry)
        elif has_picture_suffix(entry.name):
            yield _Found(entry.path, relative / entry.name, _refusal(entry.path))
    # Links come last: a folder that is both inside and linked to is found under its own name.
    for entry in sorted(folders, key=lambda entry: entry.is_symlink()):
        try:
            key = _folder_key(entry.path)
        except OSError as error:
            yield _Found(entry.path, relative / entry.name, f"cannot be listed: {error.strerror or error}")
            continue
        if key not in seen:
            yield from _walk(entry.path, relative / entry.name, seen)


def _is_folder(path: str | os.DirEntry[str]) -> bool:
    try:
        return path.is_dir() if isinstance(path, os.DirEntry) else Path(path).is_dir()
    except OSError:  # a link that leads to itself, or into a folder that may not be searched
        return False


def _hidden(path: str) -> str | None:
    """Why the system does not tell whether there is such a file; None where it does."""
    try:
        Path(path).stat()
    except OSError as error:
        return None if error.errno in _ABSENT else f"cannot be opened: {error.strerror or error}"
    return None


def _refusal(path: str) -> str | None:
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        return f"cannot be opened: {error.strerror or error}"
    return None if stat.S_ISREG(mode) else "is not a regular file"


def _folder_key(folder: str) -> tuple[int, int]:
    status = Path(folder).stat()
    return status.st_dev, status.st_ino


def _format_of_file(output: str, form: str | None) -> str:
    named = WRITTEN_SUFFIXES.get(suffix_of(output))
    if named is None:
        raise UsageError(f"Undim does not write {suffix_of(output)} files; choose one of: {', '.join(FORMATS)}.")
    if form is not None and form != named:
        raise UsageError(f"--format {form} contradicts the output file {output!r}; leave one of them out.")
    return named


def _task(item: _Found, folder: Path, form: str | None) -> Task:
    if item.refusal is not None:
        return Task(item.source, None, form, item.refusal)
    relative = item.relative
    if form is not None:
        return Task(item.source, folder / _with_suffix(relative, form), form)
    read = read_format(item.source)
    if read is not None and written_format(read) != read:
        return Task(item.source, folder / _with_suffix(relative, "png"), "png")
    return Task(item.source, folder / relative, read)


def _with_suffix(relative: PurePath, name: str) -> PurePath:
    """The picture's suffix replaced; after another suffix, as in `scan.2024`, it is added."""
    stem = relative.stem if has_picture_suffix(relative.name) else relative.name
    return relative.with_name(f"{stem}.{name}")


def _identity(path: str | PurePath) -> str:
    return os.path.normcase(os.path.realpath(path))


def _check_targets(tasks: Sequence[Task], *, overwrite: bool) -> None:
    sources = {_identity(task.source): task.source for task in tasks if task.source != STREAM}
    taken: dict[str, Task] = {}
    for task in tasks:
        if task.target is None:
            continue
        key = _identity(task.target)
        if key in taken:
            raise UsageError(
                f"{taken[key].source!r} and {task.source!r} would both become {str(task.target)!r}; "
                "rename one, or give them different output folders."
            )
        taken[key] = task
        if key not in sources:
            continue
        if key != _identity(task.source):
            raise UsageError(
                f"{task.source!r} would replace the input {sources[key]!r}; give an output folder of its own."
            )
        if not overwrite:
            raise UsageError(
                f"The output {str(task.target)!r} is the input itself; give another folder, "
                "or --overwrite to replace it."
            )
    for key, task in taken.items():
        above = next((taken[str(folder)] for folder in PurePath(key).parents if str(folder) in taken), None)
        if above is not None:
            raise UsageError(
                f"{above.source!r} would become the file {str(above.target)!r}, "
                f"which {task.source!r} needs as a folder; rename one, or give them different output folders."
            )


def _check_folder(output: Path, *, is_file: bool) -> None:
    folder = output.parent if is_file else output
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise UsageError(f"The output {str(output)!r} cannot be made: {str(folder)!r} is not a folder.")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"The output {str(output)!r} cannot be made: the folder {str(folder)!r} is not writable.")
