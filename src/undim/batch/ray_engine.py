"""The engine of many machines: Ray Data, whose actors keep a worker each.

The plan goes to the destination's store, a small file for each unit, and workers read it there: what goes through Ray
are names of these files and records, and the driver holds neither pictures nor the whole plan.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from undim.batch.addresses import join
from undim.batch.packing import run_unit
from undim.batch.pieces import Settings, Unit, dump_record, load_record
from undim.batch.stores import drop_folders, store_of
from undim.batch.supervisor import Supervisor, share_memory
from undim.cluster import connected, import_ray
from undim.errors import UndimError, UsageError
from undim.installed import add_extra
from undim.jobs.work import Record
from undim.machine import count_cores

if TYPE_CHECKING:
    from types import ModuleType

    import numpy.typing as npt


@dataclass(frozen=True)
class Cluster:
    """What runs the workers."""

    address: str | None = None
    """None starts a cluster on this machine, which ends with the batch."""
    workers: int | None = None
    """None for as many as the cluster has room for."""
    gpus: float = 0.0
    """Of each worker."""


def run_on_ray(units: Iterator[Unit], settings: Settings, cluster: Cluster, home: str) -> Iterator[tuple[int, Record]]:
    """Yield (number, record) of each picture as its unit ends.

    Args:
        units: all of them are noted in the store before the first is worked on.
        settings: of the run.
        cluster: see there.
        home: address of a folder that all workers reach, for the plan.

    Raises:
        UsageError: if Ray is not installed, or the cluster is not there or too small.
        UndimError: if workers cannot be started, or the cluster gives up.
    """
    import_data(cluster.address)
    plan = join(home, f"plan/{secrets.token_hex(8)}")
    names: list[str] = []
    try:
        for unit in units:
            names.append(join(plan, f"{len(names):08d}.json"))
            store_of(home).write(names[-1], unit.dump().encode())
        if names:
            cores = (cluster.workers or count_cores()) * (settings.options.threads or 1)
            with connected(cluster.address, cores) as ray:
                yield from _stream(ray, names, settings, cluster)
    finally:
        for name in names:
            with suppress(OSError):
                store_of(home).remove(name)
        drop_folders(plan, join(home, "plan"))


def import_data(address: str | None) -> None:
    """Import Ray Data.

    Raises:
        UsageError: if a part of it is not installed.
    """
    import_ray(address)
    try:
        import ray.data
    except ImportError as error:
        missing = (error.name or "ray").partition(".")[0]
        raise UsageError(
            f"The engine ray needs {missing}, which is not installed: {add_extra('ray')}.", code="extra"
        ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


class UnitWorker:
    """An actor: one worker process, given units by the names of their plans.

    Args:
        settings: of the run, dumped.
    """

    def __init__(self, settings: str) -> None:
        told = Settings.load(settings)
        if told.memory is None:  # this machine's, of which the driver knows nothing
            told = replace(told, memory=share_memory(count_cores() // (told.options.threads or 1)))
        self._supervisor = Supervisor(told)

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, list[Any]]:
        """Carry out the units of a batch; a column with the numbers of pictures and one with their records."""
        numbers: list[int] = []
        records: list[str] = []
        for name in batch["item"]:
            unit = Unit.load(store_of(str(name)).read(str(name)).decode())
            for number, record in run_unit(self._supervisor, unit):
                numbers.append(number)
                records.append(dump_record(record))
        return {"number": numbers, "record": records}


def _stream(ray: ModuleType, names: list[str], settings: Settings, cluster: Cluster) -> Iterator[tuple[int, Record]]:
    workers = _room(ray, settings, cluster)
    threads = settings.options.threads or 1
    units = ray.data.from_items(names, override_num_blocks=len(names))
    made = units.map_batches(
        UnitWorker,
        fn_constructor_args=(settings.dump(),),
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(names))),
        num_cpus=threads,
        **({"num_gpus": cluster.gpus} if cluster.gpus else {}),
    )
    try:
        for batch in made.iter_batches(batch_size=None, prefetch_batches=1):
            for number, record in zip(batch["number"], batch["record"], strict=True):
                yield int(number), load_record(str(record))
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, UndimError):
            raise cause from error
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise UndimError(f"The Ray cluster gave up: {lines[-1].strip() if lines else type(error).__name__}") from error


def _room(ray: ModuleType, settings: Settings, cluster: Cluster) -> int:
    """How many workers to start.

    Raises:
        UsageError: if the cluster has no room for them.
    """
    there, threads = ray.cluster_resources(), settings.options.threads or 1
    room = int(there.get("CPU", 0)) // threads
    if cluster.gpus:
        room = min(room, int(there.get("GPU", 0) / cluster.gpus))
    wanted = cluster.workers or room
    if wanted < 1 or wanted > room:
        gpus = f", {there.get('GPU', 0):g} GPUs" if cluster.gpus else ""
        raise UsageError(
            f"The Ray cluster has room for {room} workers of {threads} CPU threads"
            f"{f' and {cluster.gpus:g} GPUs' if cluster.gpus else ''} ({there.get('CPU', 0):g} CPUs{gpus}); "
            f"{wanted or 'at least 1'} are wanted.",
            subject="workers",
        )
    return wanted
