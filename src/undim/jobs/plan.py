"""Which pictures some paths mean, and which file each becomes. Nothing is written here."""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from undim.errors import UsageError
from undim.images.formats import FORMATS, PICTURE_SUFFIXES, WRITTEN_SUFFIXES, has_picture_suffix, suffix_of
from undim.images.reading import read_format
from undim.jobs.naming import Wish, name_output, tell_apart

STREAM = "-"
"""Stands for standard input or output in place of a path."""

VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v", ".mpg", ".mpeg"),
        *(".m2v", ".vob", ".ts", ".mts", ".m2ts", ".3gp", ".3g2", ".ogv", ".mxf", ".dv", ".divx"),
    )
)
"""Suffixes, lower case with the dot, by which a video is recognised where a picture was looked for."""

_TEXT_OR_VIDEO, _PACKET = ".ts", b"G"
"""TypeScript has the suffix of a video whose every packet begins with this byte."""
_COMPANION = "._"
"""How the names of files begin in which macOS keeps, on other file systems, what belongs to a file of its own."""
_COMPANION_FOLDER = "__macosx"

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP}
"""What the system says of a name that is not a file: Windows has the last but one for names with a wildcard."""


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
    """Why it cannot be done, where that is known without opening it."""
    code: str = ""
    """What kind of refusal it is, as of `UndimError`."""


@dataclass(frozen=True)
class Found:
    """A picture, and its path relative to the argument that it was found by."""

    source: str
    relative: PurePath
    refusal: str | None = None
    """Why it cannot be done."""
    code: str = ""
    """What kind of refusal it is, as of `UndimError`."""


def plan(
    inputs: Sequence[str],
    output: str,
    form: str | None = None,
    *,
    overwrite: bool = False,
    given: Mapping[str, Path] | None = None,
    on_video: Callable[[str], None] = lambda _: None,
) -> list[Task]:
    """Tasks in the order of the inputs, folders sorted by name.

    A folder gives the pictures in it and its sub-folders, known by their suffix, under their path in it. Hidden folders
    in it, and what macOS leaves beside files on other file systems, are passed over. A file gives
    itself, whatever its suffix. A pattern (`*`, `?`, `[...]`, `**`) gives what it matches, under the path below its
    last folder without a wildcard. Links to folders are followed, each folder once. The output folder is left out
    where it lies inside an input. An input that the system does not let us look at becomes a task with a refusal.

    Where several pictures would become one file, each gets its old suffix into its name (`IMG_1.heic.png`); those that
    still would, such as pictures of one name in two folders, become tasks with a refusal.

    Args:
        inputs: paths, patterns, or `-` alone for standard input.
        output: `-`; a folder; or, for one input that is not a folder, a file with a picture's suffix.
        form: one of `FORMATS`: the format and the suffix of all outputs. Without it both stay, except that a format
            that is not written becomes PNG, and that the suffix of an output file decides.
        overwrite: allow an output that replaces its own input.
        given: outputs by source, of an earlier plan with this output: they stay, and no other picture takes them.
        on_video: called with the path of each video that is passed over in a folder.

    Raises:
        UsageError: for a path that does not exist, a pattern without a match, inputs without a picture, several for
            one picture's name, an output that would be a folder of another, an output that is its input, a pattern
            with `..` behind a wildcard, or options that contradict each other.
    """
    if not inputs:
        raise UsageError("No input. Give files, folders, patterns in quotes, or - for standard input.")
    check_named(inputs, output)
    if form is not None and form not in FORMATS:
        raise UsageError(f"There is no output format {form!r}; allowed: {', '.join(FORMATS)}.")
    if STREAM in inputs and len(inputs) > 1:
        raise UsageError("- (standard input) is one picture and cannot be combined with other inputs.")
    found = [Found(STREAM, PurePath())] if STREAM in inputs else _find(inputs, output, on_video)
    lone = len(inputs) == 1 and len(found) == 1 and not _is_folder(inputs[0])
    if output == STREAM:
        if not lone:
            raise UsageError("-o - (standard output) takes one picture; give one file, or a folder with -o.")
        return [Task(found[0].source, None, form, found[0].refusal, found[0].code)]
    if lone and suffix_of(output) in PICTURE_SUFFIXES and not Path(output).is_dir():
        named = _format_of_file(output, form)
        tasks = [Task(found[0].source, Path(output), named, found[0].refusal, found[0].code)]
    elif STREAM in inputs:
        raise UsageError(f"Standard input has no name to use in the folder {output!r}; give -o FILE.jpg or -o -.")
    elif not lone and suffix_of(output) in PICTURE_SUFFIXES and not Path(output).is_dir():
        raise UsageError(f"-o {output} is the name of one picture, which takes one file: give a folder.")
    else:
        tasks = [_task(item, Path(output), form) for item in found]
    tasks = _tell_apart(_each_once(tasks), given or {})
    _check_targets(tasks, overwrite=overwrite)
    check_output_folder(Path(output), is_file=lone and tasks[0].target == Path(output))
    return tasks


def _each_once(tasks: Sequence[Task]) -> list[Task]:
    """Without those whose source has the same target twice, the first of them left."""
    seen: dict[tuple[str, str | Path], Task] = {}
    for task in tasks:
        seen.setdefault((_identity(task.source), task.source if task.target is None else task.target), task)
    return list(seen.values())


def _tell_apart(tasks: Sequence[Task], given: Mapping[str, Path]) -> list[Task]:
    """No two tasks with one target: old suffixes in their names, or a refusal where that does not help."""
    owners = {_identity(target): source for source, target in given.items()}
    wishes = [Wish(task.source, given.get(task.source, task.target), task.source in given) for task in tasks]
    return [
        replace(task, target=None, refusal=name, code="same-output")
        if isinstance(name, str)
        else replace(task, target=name)
        for task, name in zip(tasks, tell_apart(wishes, _identity, owners), strict=True)
    ]


def _find(inputs: Sequence[str], output: str, on_video: Callable[[str], None]) -> list[Found]:
    found: list[Found] = []
    videos: list[str] = []

    def note(path: str) -> None:
        videos.append(path)
        on_video(path)

    seen = {_folder_key(output)} if Path(output).is_dir() else set()
    for text in inputs:
        refusal = _hidden(text)
        if refusal is not None:
            found.append(Found(text, PurePath(PurePath(text).name), refusal))
        elif _is_folder(text):
            found += _walk(text, PurePath(), seen - {_folder_key(text)}, note)
        elif os.path.lexists(text):
            found.append(_named(text))
        elif glob.has_magic(text):
            found += _match(text, seen, output, note)
        else:
            raise UsageError(f"There is no file or folder {text!r}.", subject=text)
    if not found:
        but = f", but {len(videos)} {'video' if len(videos) == 1 else 'videos'}" if videos else ""
        raise UsageError(
            f"There is no picture in {', '.join(map(repr, inputs))}{but}.", code="video" if videos else "no-picture"
        )
    return found


def _named(path: str) -> Found:
    """A file that was named, which is tried whatever its suffix, unless it is a video by its suffix and content."""
    relative = PurePath(PurePath(path).name)
    if is_video_name(path) and read_format(path) is None:
        return Found(path, relative, "is a video, not a picture", "video")
    return Found(path, relative)


def is_video_name(name: str | PurePath) -> bool:
    """Whether a file of this name counts as a video where pictures were looked for."""
    return suffix_of(name) in VIDEO_SUFFIXES


def _is_video(path: str) -> bool:
    if not is_video_name(path):
        return False
    if suffix_of(path) != _TEXT_OR_VIDEO:
        return True
    try:
        with Path(path).open("rb") as stream:
            return stream.read(1) == _PACKET
    except OSError:
        return False


def _is_passed_over(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is nobody's picture: a hidden folder, or what macOS left beside a file."""
    if _is_folder(entry):
        return entry.name.startswith(".") or entry.name.lower() == _COMPANION_FOLDER
    return entry.name.startswith(_COMPANION) and read_format(entry.path) is None


def _match(pattern: str, seen: set[tuple[int, int]], output: str, on_video: Callable[[str], None]) -> Iterator[Found]:
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
            yield replace(_named(match), relative=relative)
        elif _folder_key(match) not in walked:
            yield from _walk(match, relative, walked, on_video)


def _walk(
    folder: str, relative: PurePath, seen: set[tuple[int, int]], on_video: Callable[[str], None]
) -> Iterator[Found]:
    """Pictures below a folder. `seen` holds device and inode of folders to leave out and grows by those walked."""
    seen.add(_folder_key(folder))
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        yield Found(folder, relative, f"cannot be listed: {error.strerror or error}")
        return
    folders = []
    for entry in entries:
        if _is_passed_over(entry):
            continue
        if _is_folder(entry):
            folders.append(entry)
        elif has_picture_suffix(entry.name):
            yield Found(entry.path, relative / entry.name, _refusal(entry.path))
        elif _is_video(entry.path):
            on_video(entry.path)
    # Links come last: a folder that is both inside and linked to is found under its own name.
    for entry in sorted(folders, key=lambda entry: entry.is_symlink()):
        try:
            key = _folder_key(entry.path)
        except OSError as error:
            yield Found(entry.path, relative / entry.name, f"cannot be listed: {error.strerror or error}")
            continue
        if key not in seen:
            yield from _walk(entry.path, relative / entry.name, seen, on_video)


def find_in_folder(
    folder: str, *, leave_out: str | None = None, on_video: Callable[[str], None] = lambda _: None
) -> Iterator[Found]:
    """The pictures that `plan` finds in a folder, one after another.

    Args:
        folder: its path.
        leave_out: a folder in it that is passed over.
        on_video: called with the path of each video that is passed over.
    """
    seen = set() if leave_out is None or not Path(leave_out).is_dir() else {_folder_key(leave_out)}
    yield from _walk(folder, PurePath(), seen, on_video)


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
        raise UsageError(
            f"The format {form} contradicts the output file {output!r}; leave one of them out.", subject="form"
        )
    return named


def _task(item: Found, folder: Path, form: str | None) -> Task:
    if item.refusal is not None:
        return Task(item.source, None, form, item.refusal, item.code)
    relative, named = name_output(item.relative, form, None if form else read_format(item.source))
    return Task(item.source, folder / relative, named)


def _identity(path: str | PurePath) -> str:
    return os.path.normcase(os.path.realpath(path))


def _check_targets(tasks: Sequence[Task], *, overwrite: bool) -> None:
    taken: dict[str, Task] = {}
    for task in tasks:
        if task.target is None:
            continue
        key = _identity(task.target)
        taken[key] = task
        # That of another picture it cannot be: they would have one output.
        if key == _identity(task.source) and not overwrite:
            raise UsageError(
                f"The output {str(task.target)!r} is the input itself; give another folder.", code="output-is-input"
            )
    for key, task in taken.items():
        above = next((taken[str(folder)] for folder in PurePath(key).parents if str(folder) in taken), None)
        if above is not None:
            raise UsageError(
                f"{above.source!r} would become the file {str(above.target)!r}, "
                f"which {task.source!r} needs as a folder; rename one, or give them different output folders."
            )


def check_named(inputs: Sequence[str], output: str) -> None:
    """Raise UsageError for an empty name, as a variable of a shell gives that is not set: it means this very folder."""
    if "" in inputs:
        raise UsageError("An input is an empty name; give . for this folder.")
    if not output:
        raise UsageError("The output is an empty name; give . for this folder.")


def check_output_folder(output: Path, *, is_file: bool) -> None:
    """Raise UsageError unless a folder, or a file in one, is there or can be made."""
    folder = output.parent if is_file else output
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise UsageError(f"The output {str(output)!r} cannot be made: {str(folder)!r} is not a folder.")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"The output {str(output)!r} cannot be made: the folder {str(folder)!r} is not writable.")
