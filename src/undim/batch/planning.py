"""Which pictures a batch does, which output each becomes, and which are there already."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, groupby
from pathlib import PurePath, PurePosixPath

from undim.batch.addresses import absolute, expand, is_remote, join, shown
from undim.batch.ledger import Ledger
from undim.batch.pieces import Piece, Unit, below_top
from undim.batch.report import FOLDER
from undim.batch.sources import Found, is_shards
from undim.batch.stores import read_whole, store_of
from undim.errors import PictureError, UsageError
from undim.images.formats import CODECS, HEADER_BYTES, suffix_of
from undim.images.reading import format_of
from undim.jobs.naming import Wish, name_output, tell_apart, with_suffix
from undim.jobs.work import Record, hash_of

UNIT_PIECES = 16
"""Pictures that a worker takes together: few enough that the last worker does not keep the others waiting."""
_BY_SUFFIX = {suffix: codec.name for codec in CODECS if codec.readable for suffix in codec.suffixes}


@dataclass(frozen=True)
class Wanted:
    """What decides about what is there already."""

    destination: str
    form: str | None
    overwrite: bool
    verify: bool
    tops: tuple[str, ...] = ()
    """What the names of each source shard's pictures begin with; empty where the source is not several shards."""


@dataclass(frozen=True)
class _Named:
    """A picture with the name of its output."""

    found: Found
    expected: str
    target: str | None
    format: str | None
    refusal: str | None
    code: str


def plan_units(ledger: Ledger, wanted: Wanted, total: int) -> Iterator[Unit | tuple[int, Record]]:
    """Yield units to do, and (number, record) of pictures about which nothing is to be done.

    Args:
        ledger: what was found, what is there and what earlier runs said.
        wanted: see there.
        total: how many pictures were found.

    Raises:
        UsageError: if the shards of the destination do not suit.
    """
    if is_shards(wanted.destination):
        yield from _plan_shards(ledger, wanted, total)
        return
    pieces: list[Piece] = []
    for number, named in enumerate(_named(ledger, wanted)):
        record = _without_work(named) or _kept(ledger, wanted, named)
        if record is not None:
            yield number, record
            continue
        pieces.append(_piece(number, named))
        if len(pieces) == UNIT_PIECES:
            yield Unit(tuple(pieces))
            pieces = []
    if pieces:
        yield Unit(tuple(pieces))


def note_outputs(ledger: Ledger, destination: str) -> None:
    """Note what a remote destination holds, by listing it rather than by a question for each picture.

    Raises:
        OSError: if the store refuses.
    """
    if not is_remote(destination) or is_shards(destination):
        return
    store = store_of(destination)
    waiting = [(destination, "")]
    while waiting:
        address, prefix = waiting.pop()
        try:
            entries = list(store.list(address))
        except FileNotFoundError:
            continue
        ledger.add_there(prefix + one.name for one in entries if not one.folder)
        waiting += [(one.address, f"{prefix}{one.name}/") for one in entries if one.folder and one.name != FOLDER]


def _named(ledger: Ledger, wanted: Wanted) -> Iterator[_Named]:
    """All pictures by name, each with its output's: as `undim enhance` names them."""
    for group in ledger.groups():
        pictures = [one for one in group if not one.sidecar]
        yield from _name(ledger, pictures, wanted)


def _name(ledger: Ledger, pictures: list[Found], wanted: Wanted) -> Iterator[_Named]:
    # Contents decide which pictures become one file, and whether that is a source.
    settle = len(pictures) > 1 or any(
        _is_source(ledger, wanted, name)
        for one in pictures
        if one.refusal is None
        for name in (one.name, _as_png(one.name))
    )
    if settle and wanted.form is None:
        formats = [_sniff(one) for one in pictures]
    else:
        formats = [_BY_SUFFIX.get(suffix_of(one.name)) for one in pictures]
    outputs = [
        (PurePosixPath(one.name), None) if one.refusal else name_output(PurePosixPath(one.name), wanted.form, read)
        for one, read in zip(pictures, formats, strict=True)
    ]
    wishes = [Wish(one.name, None if one.refusal else output[0]) for one, output in zip(pictures, outputs, strict=True)]
    names: list[PurePosixPath | str | None] = tell_apart(wishes, str, {})
    for one, (output, form), name in zip(pictures, outputs, names, strict=True):
        refusal, code = (name, "same-output") if isinstance(name, str) else (one.refusal, one.code)
        settled = name.as_posix() if isinstance(name, PurePath) and settle else None
        expected = settled or output.as_posix()
        if refusal is None and _is_source(ledger, wanted, expected):
            refusal = f"would become {expected!r}, which is a picture of the source; give another destination"
            code = "inside-source"
        yield _Named(one, expected, settled, form if settled else None, refusal, code)


def _as_png(name: str) -> str:
    return with_suffix(PurePosixPath(name), "png").as_posix()


def _is_source(ledger: Ledger, wanted: Wanted, output: str) -> bool:
    address = join(wanted.destination, output)
    if is_shards(wanted.destination) or not (is_remote(address) or os.path.lexists(address)):
        return False
    return ledger.is_source(address)


def _sniff(one: Found) -> str | None:
    if one.refusal:
        return None
    try:
        header = read_whole(one.address, one.offset, min(HEADER_BYTES, one.length or HEADER_BYTES))
    except PictureError:  # which its worker will say
        return _BY_SUFFIX.get(suffix_of(one.name))
    return format_of(header, suffix_of(one.name))


def _without_work(named: _Named) -> Record | None:
    if named.refusal is None:
        return None
    return Record(named.found.name, "failed", named.refusal, named.code)


def _kept(ledger: Ledger, wanted: Wanted, named: _Named) -> Record | None:
    """The record of an output that is there and stays; None if it is to be made."""
    if wanted.overwrite:
        return None
    earlier = ledger.earlier(named.found.name)
    if earlier is not None and not _fits(earlier, wanted):
        earlier = None
    output = named.expected if earlier is None or earlier.output is None else earlier.output
    address = join(wanted.destination, output)
    there = ledger.is_there(output) if is_remote(wanted.destination) else store_of(address).exists(address)
    if not there:
        return None
    known = earlier if earlier is not None and earlier.sha256 is not None else None
    if known is None or wanted.verify:
        try:
            found = hash_of(read_whole(address))
        except PictureError as error:
            return Record(named.found.name, "failed", f"its output {error}", error.code, output=output)
        if known is not None and found != known.sha256:
            return None  # not what was written
    else:
        found = known.sha256 or ""
    kept = known or Record(named.found.name, "skipped", output=output, sha256=found)
    return replace(kept, status="skipped", reason="the output exists", code="output-exists", seconds={})


def _fits(earlier: Record, wanted: Wanted) -> bool:
    """Whether an earlier output, if there is one, has a format that it could have now."""
    if earlier.output is None:
        return True
    suffixes = (suffix_of(earlier.key), ".png") if wanted.form is None else (f".{wanted.form}",)
    return suffix_of(earlier.output) in suffixes


def _piece(number: int, named: _Named) -> Piece:
    found = named.found
    return Piece(
        number, found.name, found.address, found.offset, found.length, named.target, named.format, named.expected
    )


def _plan_shards(ledger: Ledger, wanted: Wanted, total: int) -> Iterator[Unit | tuple[int, Record]]:
    """Shard by shard: each source shard becomes one where there are as many, others are dealt out evenly."""
    shards = [absolute(one) for one in expand(wanted.destination)]
    if len(shards) < len(wanted.tops):
        raise UsageError(
            f"{len(wanted.tops)} shards cannot become {len(shards)}: give the destination as many, such as"
            f" out-{{000..{len(wanted.tops) - 1:03d}}}.tar.",
            code="shards",
        )
    places = {top: place for place, top in enumerate(wanted.tops)} if len(shards) == len(wanted.tops) else {}
    pictures = 0

    def place_of(group: list[Found]) -> int:
        nonlocal pictures
        place = places.get(group[0].name.partition("/")[0], min(pictures, total - 1) * len(shards) // max(1, total))
        pictures += sum(not one.sidecar for one in group)
        return place

    numbers = count()
    for place, groups in groupby(ledger.groups(), key=place_of):
        members: list[tuple[int, _Named | Found]] = []
        for group in groups:
            named = {one.found.name: one for one in _name(ledger, [one for one in group if not one.sidecar], wanted)}
            members += [(next(numbers), named.get(found.name, found)) for found in group]
        yield from _shard(ledger, wanted, shards[place], members, bool(places))


def _shard(
    ledger: Ledger, wanted: Wanted, shard: str, members: list[tuple[int, _Named | Found]], below: bool
) -> Iterator[Unit | tuple[int, Record]]:
    """One shard of the destination: all of it, or nothing if it is there and lacks nothing."""
    pictures = [(number, one) for number, one in members if isinstance(one, _Named)]
    for number, one in pictures:
        record = _without_work(one)
        if record is not None:
            yield number, record
    pictures = [(number, one) for number, one in pictures if one.refusal is None]
    records = {number: ledger.earlier(one.found.name) for number, one in pictures}
    whole = all(record is not None and record.status != "failed" for record in records.values())
    if not wanted.overwrite and store_of(shard).exists(shard):
        if not whole and not any(records.values()):
            raise UsageError(f"{shown(shard)} exists, and no report says what is in it.", code="file-exists")
        if not all(record is None or _fits(record, wanted) for record in records.values()):
            raise UsageError(f"{shown(shard)} exists, with pictures of another format.", code="file-exists")
        if whole and not (wanted.verify and not _holds(shard, records)):
            for number, record in records.items():
                if record is not None:
                    kept = replace(record, status="skipped", reason="the output exists", code="output-exists")
                    yield number, replace(kept, seconds={})
            return
    yield Unit(
        tuple(_piece(number, one) for number, one in pictures),
        shard,
        tuple(
            Piece(number, one.name, one.address, one.offset, one.length)
            for number, one in members
            if isinstance(one, Found)
        ),
        below,
    )


def _holds(shard: str, records: dict[int, Record | None]) -> bool:
    """Whether a shard has what its report says."""
    try:
        with store_of(shard).open(shard) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            hashes = {one.name: hash_of(found.read()) for one in archive if (found := archive.extractfile(one))}
    except (OSError, tarfile.TarError):
        return False
    return all(
        record is not None
        and record.sha256 in (hashes.get(record.output or ""), hashes.get(below_top(record.output or "")))
        for record in records.values()
    )
