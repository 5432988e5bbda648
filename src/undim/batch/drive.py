"""A batch from its plan to its report: the driver's part, the same for every engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Literal, cast

from undim.batch.addresses import absolute, check_apart, expand, is_remote, join, local_path, place_of, shown
from undim.batch.ledger import Ledger
from undim.batch.local_engine import run_locally
from undim.batch.pieces import Settings, Unit
from undim.batch.planning import Wanted, note_outputs, plan_units
from undim.batch.report import Parts, check_report, home_of, read_report, write_report
from undim.batch.sources import COLUMN, find_pictures, is_shards
from undim.batch.stores import store_of, tell
from undim.batch.supervisor import Supervisor, share_memory
from undim.errors import UsageError
from undim.hub.finding import find_model_file
from undim.jobs.options import EnhanceOptions
from undim.jobs.plan import check_named, check_output_folder
from undim.jobs.work import Record
from undim.machine import count_cores
from undim.runtimes.precision import PrecisionWish
from undim.runtimes.table import reads_of
from undim.shipped import list_shipped_models

Engine = Literal["local", "ray"]
ENGINES: tuple[Engine, ...] = ("local", "ray")


@dataclass(frozen=True)
class Batch:
    """What is asked for.

    Raises:
        UsageError: for a value that is not allowed; its `subject` is the field's name.
    """

    source: str
    destination: str
    options: EnhanceOptions = field(default_factory=lambda: EnhanceOptions(threads=1))
    engine: Engine = "local"
    address: str | None = None
    """Of a Ray cluster; None starts one on this machine."""
    workers: int | None = None
    """Processes with a model each; None for one per core of the machine or cluster."""
    gpus: float = 0.0
    """Of each worker, on a cluster."""
    memory: int | None = None
    """Bytes that one worker's pictures may take; None shares what is free on this machine."""
    tries: int = 3
    """How often a picture is tried alone that ends its worker."""
    column: str = COLUMN
    """Of a manifest."""
    report: str | None = None
    """Address of the report; None for the destination's own."""
    verify: bool = False
    """Whether outputs that are there are compared with their hashes."""

    def __post_init__(self) -> None:
        check_named([self.source], self.destination)
        if self.engine not in ENGINES:
            raise UsageError(
                f"There is no engine {self.engine!r}; allowed: {', '.join(ENGINES)}.", code="option", subject="engine"
            )
        for name in ("workers", "memory", "tries"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; allowed: 1 or more.", code="option", subject=name)
        if not 0 <= self.gpus < math.inf:
            raise UsageError(f"gpus is {self.gpus}; allowed: 0 or more.", code="option", subject="gpus")
        if self.address is not None and self.engine != "ray":
            raise UsageError("An address is that of a Ray cluster: take the engine ray.", code="no-cluster")
        if self.gpus and self.engine != "ray":
            raise UsageError(
                "GPUs are shared out by the engine ray; locally, the runtime takes them.", code="no-cluster"
            )
        _check_apart(self.source, self.destination)
        if self.report is not None:
            check_report(self.report)


def _check_apart(source: str, destination: str) -> None:
    if not is_shards(source):
        check_apart(source, destination)
    elif is_shards(destination):
        sources, targets = ({place_of(one) for one in expand(address)} for address in (source, destination))
        if sources & targets:
            raise UsageError(
                f"The destination {shown(destination)!r} would replace shards of the source: give other names.",
                code="inside-source",
            )


@dataclass(frozen=True)
class Tally:
    """What is told while a batch runs and at its end."""

    total: int
    done: int
    skipped: int
    failed: int
    report: str
    """Address of the report."""


@dataclass(frozen=True)
class Listener:
    """Who is told what."""

    begun: Callable[[int], None] = lambda _: None
    """How many pictures there are."""
    ended: Callable[[Record], None] = lambda _: None
    """What became of one."""
    note: Callable[[str], None] = lambda _: None
    """A sentence about something that is not quite as it was asked."""


def count_batch(batch: Batch, listener: Listener) -> Tally:
    """What a batch would do: how many pictures would be made, are there already, or cannot be made.

    Raises:
        UsageError: as `run_batch`.
    """
    _check_destination(batch)
    with Ledger() as ledger:
        total = _take_stock(ledger, batch, listener)
        due = failed = skipped = 0
        for step in plan_units(ledger, _wanted(batch), total):
            if isinstance(step, Unit):
                due += len(step.pieces)
                continue
            skipped += step[1].status == "skipped"
            failed += step[1].status == "failed"
            listener.ended(step[1])
        return Tally(total, due, skipped, failed, _report_of(batch))


def run_batch(batch: Batch, listener: Listener | None = None) -> Tally:
    """Make all pictures of a source clear that are not there yet, and write the report.

    A batch that was killed, or in which pictures failed, is gone on with by running it again.

    Args:
        batch: what is asked for.
        listener: is told of progress, in the calling thread.

    Raises:
        UsageError: if the source is not there, holds no picture or cannot be read, the destination cannot be written or
            lies in the source, an extra is missing, or the cluster cannot be reached.
        UndimError: if workers cannot be started.
        OSError: if the report cannot be written.
    """
    listener = listener or Listener()
    _check_destination(batch)
    with Ledger() as ledger:
        total = _take_stock(ledger, batch, listener)
        settings = _settle(batch)
        parts = Parts(home_of(batch.destination))

        def note(number: int, record: Record) -> None:
            record = replace(record, reason=None if record.reason is None else shown(record.reason))
            if ledger.end(number, record):
                parts.add(record)
                listener.ended(record)

        try:
            for number, record in _results(batch, settings, _to_do(plan_units(ledger, _wanted(batch), total), note)):
                note(number, record)
        finally:
            parts.flush()
        write_report(_report_of(batch), ledger.records())
        parts.remove()
        _sweep(batch.destination)
        counts = ledger.counts()
        return Tally(total, counts["done"], counts["skipped"], counts["failed"], _report_of(batch))


def _to_do(steps: Iterator[Unit | tuple[int, Record]], note: Callable[[int, Record], None]) -> Iterator[Unit]:
    """The units of a plan; the rest is noted."""
    for step in steps:
        if isinstance(step, Unit):
            yield step
        else:
            note(*step)


def _results(batch: Batch, settings: Settings, units: Iterator[Unit]) -> Iterator[tuple[int, Record]]:
    """What the engine's workers say."""
    if batch.engine == "ray":
        from undim.batch.ray_engine import Cluster, run_on_ray

        cluster = Cluster(batch.address, batch.workers, batch.gpus)
        yield from run_on_ray(units, settings, cluster, home_of(absolute(batch.destination)))
    else:
        yield from run_locally(units, settings, batch.workers or count_cores())


def _settle(batch: Batch) -> Settings:
    """What all workers are told, so that one picture does not come out differently from two of them."""
    options, memory = batch.options, batch.memory
    if memory is None and batch.engine == "local":
        memory = share_memory(batch.workers or count_cores())
    options = replace(options, model=_anywhere(options.model))
    settings = Settings(options, absolute(batch.destination), memory, batch.tries)
    if options.runtime != "auto":
        return settings
    with Supervisor(settings) as supervisor:
        runtime, precision = supervisor.ready.runtime.split(" ")[:2]
    settled = replace(options, runtime=runtime, precision=cast("PrecisionWish", precision))
    return replace(settings, options=settled)


def _anywhere(model: str) -> str:
    """A model as it is called in every folder."""
    return model if model in list_shipped_models() else absolute(model)


def _take_stock(ledger: Ledger, batch: Batch, listener: Listener) -> int:
    """Note what there is; how many pictures."""
    videos = 0

    def note_video(_: str) -> None:
        nonlocal videos
        videos += 1

    ledger.add_found(find_pictures(absolute(batch.source), column=batch.column, on_video=note_video))
    if videos:
        listener.note(f"{videos} {'video was' if videos == 1 else 'videos were'} passed over")
    total = ledger.count_found()
    if not total:
        raise UsageError(f"There is no picture in {shown(batch.source)!r}.", subject=shown(batch.source))
    listener.begun(total)
    try:
        own = join(home_of(batch.destination), _REPORT)
        for address in dict.fromkeys((own, _report_of(batch))):
            ledger.add_earlier(read_report(address))
        ledger.add_earlier(Parts(home_of(batch.destination)).read())
        note_outputs(ledger, batch.destination)
    except (OSError, ValueError) as error:
        said = tell(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"The destination {shown(batch.destination)} cannot be read: {said}.") from error
    return total


_REPORT = "report.jsonl"


def _report_of(batch: Batch) -> str:
    return batch.report or join(home_of(batch.destination), _REPORT)


def _wanted(batch: Batch) -> Wanted:
    sources = expand(batch.source) if is_shards(batch.source) else []
    tops = tuple(PurePosixPath(one).stem for one in sources) if len(sources) > 1 else ()
    if len(set(tops)) < len(tops):
        raise UsageError(f"{batch.source} has several shards of one name, whose pictures could not be told apart.")
    return Wanted(batch.destination, batch.options.form, batch.options.overwrite, batch.verify, tops)


def _check_destination(batch: Batch) -> None:
    """Say before all work what would fail at its first picture."""
    find_model_file(batch.options.model, reads_of(batch.options.runtime))
    if is_remote(batch.destination):
        store_of(batch.destination)
    else:
        check_output_folder(local_path(batch.destination), is_file=is_shards(batch.destination))


def _sweep(destination: str) -> None:
    """Remove what workers that were killed left half-written, under names that nobody reads."""
    if is_remote(destination) or is_shards(destination):
        return
    for draft in local_path(destination).rglob(".undim-*.tmp"):
        with suppress(OSError):
            draft.unlink()
