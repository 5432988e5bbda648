"""The report of a batch: a row for each picture, kept in parts while the batch runs and whole at its end."""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from undim.batch.addresses import is_remote, join, local_path, shown
from undim.batch.pieces import dump_record, load_record
from undim.batch.sources import is_shards
from undim.batch.stores import Store, drop_folders, store_of, tell
from undim.errors import UsageError
from undim.images.formats import suffix_of
from undim.installed import add_extra
from undim.jobs.work import Record

FOLDER = ".undim"
"""In the destination: what is no picture."""
FORMATS = (".jsonl", ".parquet")
PART_ROWS, PART_SECONDS = 500, 10.0
"""How many rows, or how long, may be lost when the driver is killed; their pictures are not."""
_GROUP = 10_000
"""Rows of a Parquet file that are in memory together."""
STAGES = ("read", "decode", "enhance", "encode", "write")


def home_of(destination: str) -> str:
    """The folder for what is no picture: in the destination, or beside a shard."""
    if is_shards(destination):
        return f"{destination.replace('{', '').replace('}', '')}{FOLDER}"
    return join(destination, FOLDER)


def check_report(address: str) -> None:
    """Raise UsageError unless a report can be written under this name."""
    if suffix_of(address) not in FORMATS:
        raise UsageError(f"A report is a {' or '.join(FORMATS)} file. Got {shown(address)!r}.", subject="report")
    if suffix_of(address) == ".parquet":
        _parquet()


class Parts:
    """Rows as they end, in small files of the destination until the report is whole.

    Args:
        home: address of the folder for them.
    """

    def __init__(self, home: str) -> None:
        self._store: Store = store_of(home)
        self._folder = join(home, "rows")
        self._run = f"{time.time():.0f}-{secrets.token_hex(4)}"
        self._rows: list[str] = []
        self._number = 0
        self._begun = time.monotonic()

    def add(self, record: Record) -> None:
        """Note a row; on disk in `PART_SECONDS` or after `PART_ROWS`."""
        self._rows.append(dump_record(record))
        if len(self._rows) >= PART_ROWS or time.monotonic() - self._begun > PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was noted."""
        if self._rows:
            name = f"{self._run}-{self._number:06d}.jsonl"
            self._store.write(join(self._folder, name), "".join(f"{row}\n" for row in self._rows).encode())
            self._number += 1
        self._rows, self._begun = [], time.monotonic()

    def read(self) -> Iterator[Record]:
        """The rows of runs that were ended before their report was written."""
        for address in self._list():
            for line in self._store.read(address).splitlines():
                yield load_record(line)

    def remove(self) -> None:
        """Take all parts away, once the report is written."""
        for address in self._list():
            self._store.remove(address)
        drop_folders(self._folder)

    def _list(self) -> list[str]:
        try:
            return [one.address for one in self._store.list(self._folder) if one.name.endswith(".jsonl")]
        except FileNotFoundError:
            return []


def read_report(address: str) -> Iterator[Record]:
    """The rows of a report; none if there is no such file.

    Raises:
        UsageError: if it is not a report.
    """
    store = store_of(address)
    if not store.exists(address):
        return
    try:
        if suffix_of(address) == ".parquet":
            with store.open(address) as stream:
                for batch in _parquet().ParquetFile(stream).iter_batches(_GROUP):
                    yield from (_from_columns(row) for row in batch.to_pylist())
            return
        with store.open(address) as stream:
            for line in stream:
                yield load_record(line)
    except (OSError, ValueError, TypeError) as error:
        said = tell(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"The report {shown(address)} cannot be read: {said}.", subject=shown(address)) from error


def write_report(address: str, records: Iterable[Record]) -> None:
    """Write a report, .jsonl or .parquet; it appears whole.

    Raises:
        OSError: if it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="undim-report-", dir=_beside(address)) as folder:
        draft = Path(folder) / "report"
        if suffix_of(address) == ".parquet":
            _write_parquet(draft, records)
        else:
            with draft.open("w", encoding="ascii") as stream:
                stream.writelines(f"{dump_record(record)}\n" for record in records)
        if is_remote(address):
            store_of(address).write(address, draft.read_bytes())
        else:
            draft.replace(local_path(address))


def _beside(address: str) -> Path | None:
    """A folder from which a file takes its place in one step; None for the system's own where that does not matter."""
    if is_remote(address):
        return None
    folder = local_path(address).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _parquet() -> ModuleType:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(
            f"Parquet files need pyarrow, which is not installed: {add_extra('remote')}.", code="extra"
        ) from error
    module: ModuleType = parquet
    return module


def _write_parquet(path: Path, records: Iterable[Record]) -> None:
    parquet = _parquet()
    import pyarrow as pa

    text, whole, number = pa.string(), pa.int64(), pa.float64()
    schema = pa.schema(
        [
            *((name, text) for name in ("key", "status", "reason", "code")),
            ("notes", pa.list_(text)),
            ("output", text),
            *((name, whole) for name in ("width", "height", "bytes_in", "bytes_out")),
            *((f"seconds_{stage}", number) for stage in STAGES),
            *((name, text) for name in ("sha256", "model_sha256", "version", "runtime")),
        ]
    )
    with parquet.ParquetWriter(path, schema) as writer:
        rows: list[dict[str, object]] = []
        for record in records:
            rows.append(_to_columns(record))
            if len(rows) >= _GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _to_columns(record: Record) -> dict[str, object]:
    row = json.loads(json.dumps(asdict(record)))
    seconds = row.pop("seconds")
    readable = {name: _readable(value) if isinstance(value, str) else value for name, value in row.items()}
    return {**readable, **{f"seconds_{stage}": seconds.get(stage) for stage in STAGES}}


def _readable(text: str) -> str:
    """Without what is not text in a name, which Parquet does not hold."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _from_columns(row: dict[str, object]) -> Record:
    seconds = {stage: row.pop(f"seconds_{stage}", None) for stage in STAGES}
    known = {stage: taken for stage, taken in seconds.items() if taken is not None}
    return load_record(json.dumps({**row, "seconds": known}))
