"""The driver's notes, in a file and not in memory: what was found, what is there, what became of it."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Self

from undim.batch.addresses import is_remote, local_path, place_of, shown
from undim.batch.pieces import dump_record, load_record
from undim.batch.sources import Found
from undim.jobs.work import Record

_TABLES = """
CREATE TABLE found (stem BLOB, name BLOB, address BLOB, offset INTEGER, length INTEGER, refusal TEXT, code TEXT,
                    sidecar INTEGER, PRIMARY KEY (stem, name, address, offset)) WITHOUT ROWID;
CREATE TABLE source (place BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE there (name BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE earlier (key BLOB PRIMARY KEY, row TEXT) WITHOUT ROWID;
CREATE TABLE ended (number INTEGER PRIMARY KEY, status TEXT, row TEXT);
"""
_CACHE = 8192
"""Kibibytes of each connection's pages that stay in memory."""


class Ledger:
    """A data base in a temporary folder, gone at the end; what has to last is in the report."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="undim-")
        # No other process reads it, and it is of no use after a crash: nothing has to reach the disk in order.
        self._base = sqlite3.connect(Path(self._folder.name) / "ledger.sqlite", isolation_level=None)
        self._base.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{_CACHE};")
        self._base.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()
        with suppress(OSError):
            self._folder.cleanup()

    def add_found(self, found: Iterable[Found]) -> None:
        """Note pictures, each once."""
        self._base.execute("BEGIN")
        try:
            last = ""
            for one in found:
                self._base.execute(
                    "INSERT OR IGNORE INTO found VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        _packed(stem_of(one.name)),
                        _packed(one.name),
                        _packed(one.address),
                        one.offset,
                        one.length,
                        one.refusal,
                        one.code,
                        one.sidecar,
                    ),
                )
                if one.address not in ("", last):  # a shard has many pictures
                    self._base.execute("INSERT OR IGNORE INTO source VALUES (?)", (_digest(one.address),))
                    last = one.address
        finally:
            self._base.execute("COMMIT")

    def is_source(self, address: str) -> bool:
        """Whether a picture was found there, however the address is written."""
        return self._base.execute("SELECT 1 FROM source WHERE place = ?", (_digest(address),)).fetchone() is not None

    def count_found(self) -> int:
        """How many pictures there are, sidecars left out."""
        return int(self._base.execute("SELECT COUNT(*) FROM found WHERE NOT sidecar").fetchone()[0])

    def groups(self) -> Iterator[list[Found]]:
        """All that was found, by name; what could get one output stands together.

        Of pictures of one name only the first by address keeps it.
        """
        rows = self._base.execute("SELECT * FROM found ORDER BY stem, name, address, offset")
        for _, group in groupby(rows, key=lambda row: row[0]):
            yield _refuse_namesakes(
                Found(_text(name), _text(address), offset, length, refusal, code, bool(sidecar))
                for _, name, address, offset, length, refusal, code, sidecar in group
            )

    def add_there(self, names: Iterable[str]) -> None:
        """Note names of outputs that exist."""
        self._base.executemany("INSERT OR IGNORE INTO there VALUES (?)", ((_packed(name),) for name in names))

    def is_there(self, name: str) -> bool:
        """Whether such an output was noted."""
        return self._base.execute("SELECT 1 FROM there WHERE name = ?", (_packed(name),)).fetchone() is not None

    def add_earlier(self, records: Iterable[Record]) -> None:
        """Note what an earlier run said; the last one of a key counts."""
        self._base.execute("BEGIN")
        try:
            self._base.executemany(
                "INSERT OR REPLACE INTO earlier VALUES (?, ?)",
                ((_packed(one.key), dump_record(one)) for one in records),
            )
        finally:
            self._base.execute("COMMIT")

    def earlier(self, key: str) -> Record | None:
        """What an earlier run said of a picture."""
        row = self._base.execute("SELECT row FROM earlier WHERE key = ?", (_packed(key),)).fetchone()
        return None if row is None else load_record(row[0])

    def end(self, number: int, record: Record) -> bool:
        """Note what became of a picture, once; whether it was not known yet."""
        cursor = self._base.execute(
            "INSERT OR IGNORE INTO ended VALUES (?, ?, ?)", (number, record.status, dump_record(record))
        )
        return cursor.rowcount > 0

    def counts(self) -> dict[str, int]:
        """How many ended how."""
        found = dict(self._base.execute("SELECT status, COUNT(*) FROM ended GROUP BY status"))
        return {status: int(found.get(status, 0)) for status in ("done", "skipped", "failed")}

    def records(self) -> Iterator[Record]:
        """What became of all pictures, in the order of the plan."""
        for (row,) in self._base.execute("SELECT row FROM ended ORDER BY number"):
            yield load_record(row)


def stem_of(name: str) -> str:
    """Folder and name up to the first dot: pictures that differ in it cannot get one output."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _refuse_namesakes(found: Iterable[Found]) -> list[Found]:
    first: dict[str, Found] = {}
    return [
        one
        if one.sidecar or (other := first.setdefault(one.name, one)) is one
        else _refuse_namesake(one, other.address)
        for one in found
    ]


def _refuse_namesake(found: Found, other: str) -> Found:
    refusal = f"has the name {found.name!r}, as {shown(other)} has; rename one"
    # Its key must not be that of the other.
    return replace(found, name=shown(found.address), refusal=refusal, code="same-output")


def _digest(address: str) -> bytes:
    """What is the same for all names of one file, however letters or mounts make several, and short."""
    place = place_of(address) if is_remote(address) else _file_number(address) or place_of(address)
    return hashlib.blake2b(_packed(place), digest_size=16).digest()


def _file_number(address: str) -> str | None:
    try:
        found = local_path(address).stat()
    except (OSError, ValueError):
        return None
    return f"{found.st_dev} {found.st_ino}" if found.st_ino else None


def _packed(text: str) -> bytes:
    """A name with what file systems allow that is not text."""
    return text.encode("utf-8", "surrogateescape")


def _text(packed: bytes) -> str:
    return packed.decode("utf-8", "surrogateescape")
