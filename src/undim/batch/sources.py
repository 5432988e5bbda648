"""Where pictures come from: folders, object stores, listings, manifests and shards, one after another."""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from undim.batch.addresses import expand, is_remote, join, local_path, scheme_of, shown
from undim.batch.stores import Entry, store_of, tell
from undim.errors import UsageError
from undim.images.formats import has_picture_suffix, suffix_of
from undim.installed import add_extra
from undim.jobs.plan import find_in_folder, is_video_name

MANIFESTS = (".csv", ".jsonl", ".ndjson", ".parquet")
SHARD = ".tar"
COLUMN = "path"
"""Of a manifest: what holds the pictures' paths."""
_LEFT_BY_MACOS = "._"
_ROWS = 1024


@dataclass(frozen=True)
class Found:
    """A picture that is there, or that a manifest names."""

    name: str
    """Relative, with folders."""
    address: str
    offset: int = 0
    length: int | None = None
    refusal: str | None = None
    code: str = ""
    sidecar: bool = False
    """Whether it is a file of a shard that is not a picture."""


def find_pictures(
    source: str, *, leave_out: str | None = None, column: str = COLUMN, on_video: Callable[[str], None] = lambda _: None
) -> Iterator[Found]:
    """All pictures of a source, in no certain order.

    Args:
        source: a folder, a store's address, a manifest (.csv, .jsonl, .parquet) or shards (.tar, with a range in
            braces).
        leave_out: a folder of the local source that is passed over.
        column: of a manifest.
        on_video: called with the name of each video that is passed over.

    Raises:
        UsageError: if there is no such source, or it is not of these kinds.
        OSError: if the store refuses.
    """
    suffix = suffix_of(PurePosixPath(source.partition("?")[0]).name)
    if suffix in MANIFESTS:
        return _in_manifest(source, suffix, column)
    if suffix == SHARD:
        return _in_shards(expand(source))
    if is_remote(source):
        return _in_store(source, on_video)
    path = local_path(source)
    if not path.is_dir():
        what = "is not a folder, a manifest (.csv, .jsonl, .parquet) or a shard (.tar)"
        raise UsageError(
            f"There is no folder {source!r}." if not path.exists() else f"{source!r} {what}.", subject=source
        )
    return (
        Found(one.relative.as_posix(), one.source, refusal=one.refusal, code=one.code)
        for one in find_in_folder(os.fspath(path), leave_out=leave_out, on_video=on_video)
    )


def is_shards(address: str) -> bool:
    """Whether an address means tar files."""
    return suffix_of(PurePosixPath(address).name) == SHARD


def _in_store(source: str, on_video: Callable[[str], None]) -> Iterator[Found]:
    store, on_web = store_of(source), scheme_of(source).startswith("http")
    waiting: list[tuple[str, str]] = [(source.partition("?")[0], "")]
    seen = {waiting[0][0].rstrip("/")}
    while waiting:
        address, prefix = waiting.pop()
        try:
            entries: list[Entry] = list(store.list(address))
        except OSError as error:
            if not prefix:
                raise UsageError(f"{shown(source)} cannot be listed: {tell(error)}.", subject=shown(source)) from error
            yield Found(prefix.rstrip("/"), address, refusal=f"cannot be listed: {tell(error)}", code="store")
            continue
        for entry in entries:
            plain = entry.address.partition("?")[0]
            if on_web and not plain.startswith(seen_root(source)):
                continue  # a link that leads out of the listing
            name = unquote(entry.name.partition("?")[0]) if on_web else entry.name
            if on_web and set(name) & set("/\\\0"):
                if entry.folder or has_picture_suffix(name):
                    refusal = "has a slash, a backslash or a null character in its name"
                    yield Found(prefix + _legible(entry.name), entry.address, refusal=refusal, code="store")
            elif entry.folder:
                if not name.startswith(".") and name.lower() != "__macosx" and plain.rstrip("/") not in seen:
                    seen.add(plain.rstrip("/"))
                    waiting.append((entry.address, f"{prefix}{name}/"))
            elif name.startswith(_LEFT_BY_MACOS):
                continue
            elif has_picture_suffix(name):
                yield Found(prefix + name, entry.address)
            elif is_video_name(name):
                on_video(entry.address)


def seen_root(source: str) -> str:
    """What the addresses of all files of a listing begin with."""
    return f"{source.partition('?')[0].rstrip('/')}/"


def _in_manifest(source: str, suffix: str, column: str) -> Iterator[Found]:
    base = source.partition("?")[0].rpartition("/")[0] if is_remote(source) else os.fspath(local_path(source).parent)
    rows = _parquet_rows if suffix == ".parquet" else _csv_rows if suffix == ".csv" else _json_rows
    try:
        for number, text in enumerate(rows(source, column), 1):
            if not isinstance(text, str) or not text:
                yield Found(f"row {number}", "", refusal=f"row {number} of the manifest has no path", code="manifest")
                continue
            yield _named(base, text)
    except OSError as error:
        raise UsageError(f"The manifest {shown(source)} cannot be read: {tell(error)}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"The manifest {shown(source)} cannot be read: {error}.") from error


def _named(base: str, text: str) -> Found:
    """A picture that a manifest names: a path relative to the manifest, or a whole one."""
    plain = text.partition("?")[0] if is_remote(text) else text
    whole = is_remote(text) or Path(text).is_absolute() or scheme_of(text) == "file"
    name = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]+://([^/@]*@)?", "", plain) if whole else plain
    drive, rest = os.path.splitdrive(name)  # of Windows: a folder like others
    parts = _parts(f"{drive.replace(':', '')}/{rest}".replace(os.sep, "/"))
    if not _can_be_a_name(text):
        return Found(_legible(text), "", refusal="has a character that no file's name has", code="manifest")
    if whole:
        address = text if is_remote(text) else os.fspath(local_path(text))
    else:
        address = join(base or ".", text) if not is_remote(base) else f"{base}/{'/'.join(parts)}"
    if ".." in parts or not parts:
        refusal = "has .. in its path: give paths from the manifest's folder down, or whole ones"
        return Found(shown(text), address, refusal=refusal, code="manifest")
    return Found("/".join(parts), address)


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _can_be_a_name(text: str) -> bool:
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def _legible(text: str) -> str:
    """A name that no file has, for a report."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _csv_rows(source: str, column: str) -> Iterator[object]:
    with store_of(source).open(source) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        reader = csv.DictReader(text)
        _check_column(column, reader.fieldnames or (), source)
        for row in reader:
            yield row[column]


def _json_rows(source: str, column: str) -> Iterator[object]:
    with store_of(source).open(source) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                if not isinstance(row, dict):
                    raise UsageError(f"Line {number} of the manifest {shown(source)} is not an object of JSON.")
                _check_column(column, row, f"{source}, line {number},")
                yield row[column]


def _parquet_rows(source: str, column: str) -> Iterator[object]:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UsageError(
            f"Parquet files need pyarrow, which is not installed: {add_extra('remote')}.", code="extra"
        ) from error
    with store_of(source).open(source) as stream:
        try:
            file = ParquetFile(stream)
            _check_column(column, file.schema_arrow.names, source)
            for batch in file.iter_batches(_ROWS, columns=[column]):
                yield from batch.column(0).to_pylist()
        except ArrowInvalid as error:
            raise UsageError(f"The manifest {shown(source)} cannot be read: {error}.") from error


def _check_column(column: str, names: object, source: str) -> None:
    known = [str(name) for name in names] if isinstance(names, list | tuple | dict) else []
    if column not in known:
        raise UsageError(
            f"The manifest {shown(source)} has no column {column!r}; it has {', '.join(known) or 'none'}.",
            code="column",
        )


def _in_shards(shards: list[str]) -> Iterator[Found]:
    for shard in shards:
        prefix = f"{PurePosixPath(shard).stem}/" if len(shards) > 1 else ""
        try:
            with store_of(shard).open(shard) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
                members = _unpacked(archive)
        except OSError as error:
            raise UsageError(f"The shard {shown(shard)} cannot be read: {tell(error)}.") from error
        except tarfile.TarError as error:
            raise UsageError(f"The shard {shown(shard)} cannot be read: {error}.") from error
        for name in members:
            yield from _member(shard, prefix, name, _behind_links(name, members))


def _unpacked(archive: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """By name, what unpacking would leave: the last member of each name, and for hard links the file that they are."""
    members: dict[str, tarfile.TarInfo] = {}
    for member in archive:
        linked = members.get("/".join(_parts(member.linkname))) if member.islnk() else None
        members["/".join(_parts(member.name))] = linked or member
    return members


def _behind_links(name: str, members: dict[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """The member that symbolic links lead to; None if they lead out of the shard, to nothing or in a circle."""
    seen: set[str] = set()
    while name not in seen and (member := members.get(name)) is not None:
        if not member.issym():
            return member
        seen.add(name)
        name = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
    return None


def _member(shard: str, prefix: str, name: str, member: tarfile.TarInfo | None) -> Iterator[Found]:
    picture = has_picture_suffix(name) and not posixpath.basename(name).startswith(_LEFT_BY_MACOS)
    if member is None or not member.isfile() or member.issparse():
        if picture and (member is None or not member.isdir()):
            refusal = "is neither a file in the shard nor a link to one"
            yield Found(prefix + _legible(name), shard, refusal=refusal, code="shard")
    elif ".." in name.split("/"):
        yield Found(prefix + name, shard, refusal="has .. in its name in the shard", code="shard")
    elif not _can_be_a_name(name):
        refusal = "has a character in its name that no file's name has"
        yield Found(prefix + _legible(name), shard, refusal=refusal, code="shard")
    else:
        yield Found(prefix + name, shard, member.offset_data, member.size, sidecar=not picture)
