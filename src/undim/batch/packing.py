"""A unit's work: pictures into files of their own, or all together into a shard."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from undim.batch.pieces import Unit, below_top
from undim.batch.stores import read_whole, store_of, tell
from undim.batch.supervisor import Supervisor
from undim.errors import PictureError
from undim.jobs.work import Record


def run_unit(supervisor: Supervisor, unit: Unit) -> Iterator[tuple[int, Record]]:
    """Yield (number, record) of each picture; of a shard's pictures when the shard is written."""
    if unit.shard is None:
        yield from supervisor.run(unit.pieces)
        return
    with tempfile.TemporaryDirectory(prefix="undim-shard-") as folder:
        records = dict(supervisor.run(unit.pieces, folder))
        try:
            store_of(unit.shard).write(unit.shard, _pack(unit, records, Path(folder)))
        except (OSError, PictureError) as error:
            said = tell(error) if isinstance(error, OSError) else str(error)
            reason = f"the shard cannot be written: {said}"
            records = {
                number: replace(record, status="failed", reason=reason, code="store", sha256=None)
                if record.status == "done"
                else record
                for number, record in records.items()
            }
    yield from records.items()


def _pack(unit: Unit, records: dict[int, Record], folder: Path) -> bytes:
    """The tar file of what was made, in the order of the plan; equal contents give equal bytes."""
    shorten: Callable[[str], str] = below_top if unit.below else str
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for piece in sorted((*unit.pieces, *unit.sidecars), key=lambda piece: piece.number):
            record = records.get(piece.number)
            if record is None:
                _add(archive, shorten(piece.name), read_whole(piece.address, piece.offset, piece.length))
            elif record.status == "done" and record.output is not None:
                _add(archive, shorten(record.output), (folder / record.output).read_bytes())
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
