"""What is sent to workers: one picture's errand, and several together."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from undim.jobs.options import EnhanceOptions
from undim.jobs.work import Record


@dataclass(frozen=True)
class Piece:
    """One picture, or in a shard also a file that goes along with one."""

    number: int
    """Its place in the plan."""
    name: str
    """Relative, with folders: its key in the report, and what its output is named after."""
    address: str
    """Of its file, or of the shard that holds it."""
    offset: int = 0
    length: int | None = None
    """Where in that file it stands; all of it if None."""
    target: str | None = None
    """The output's name; None where its content decides."""
    format: str | None = None
    """The output's, where the name is settled."""
    expected: str | None = None
    """The output's name as far as its own name tells it."""


@dataclass(frozen=True)
class Unit:
    """What one worker does before it gets more."""

    pieces: tuple[Piece, ...]
    shard: str | None = None
    """The address of the tar file that all results go into together; None where each gets its own file."""
    sidecars: tuple[Piece, ...] = ()
    """Files that go into that shard as they are."""
    below: bool = False
    """Whether names in the shard lack their first folder, which is the source shard's name."""

    def dump(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, line: str) -> Unit:
        """What `dump` wrote."""
        found = json.loads(line)
        return cls(_pieces(found["pieces"]), found["shard"], _pieces(found["sidecars"]), found["below"])


def below_top(name: str) -> str:
    """A name without its first folder."""
    return name.partition("/")[2] or name


def _pieces(found: Iterable[dict[str, object]]) -> tuple[Piece, ...]:
    return tuple(Piece(**one) for one in found)  # type: ignore[arg-type]  # as they were dumped


@dataclass(frozen=True)
class Settings:
    """What all workers of a run are told first."""

    options: EnhanceOptions
    destination: str
    """Address of the folder or store."""
    memory: int | None = None
    """Bytes that the pictures in work of one worker may take; None for a share of what is free."""
    tries: int = 3
    """How often a picture is tried alone that ends its worker."""

    def dump(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, line: str) -> Settings:
        """What `dump` wrote."""
        found = json.loads(line)
        return cls(**{**found, "options": EnhanceOptions(**found["options"])})


def dump_record(record: Record) -> str:
    """As one line of JSON."""
    return json.dumps(asdict(record))


def load_record(line: str | bytes) -> Record:
    """What `dump_record` wrote; keys of later versions are passed over.

    Raises:
        ValueError: if it is not a record.
    """
    found = json.loads(line)
    if not isinstance(found, dict) or not isinstance(found.get("key"), str) or "status" not in found:
        raise ValueError("not a record")
    known = {name: value for name, value in found.items() if name in Record.__dataclass_fields__}
    return Record(**{**known, "notes": tuple(known.get("notes") or ())})
