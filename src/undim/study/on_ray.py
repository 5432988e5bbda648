"""Cells on a Ray cluster: one cell a worker, in the same folder, which all machines of the cluster reach."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from undim.cluster import connected
from undim.errors import UsageError
from undim.machine import count_cores
from undim.study.runner import Process, Slot, Starter
from undim.study.worker import Job


@contextmanager
def cluster_places(
    address: str, jobs: int | None = None, threads: int | None = None, device: str = "auto"
) -> Iterator[tuple[list[Slot], Starter]]:
    """Where cells run on a cluster, and what starts them there; for `run_study`.

    Args:
        address: of the cluster, such as "auto"; "local" starts one on this machine.
        jobs: cells at a time; by default one for each GPU, or as many as the cores allow.
        threads: of each cell; by default one.
        device: "auto" takes GPUs if the cluster has any; "cpu"; "cuda".

    Raises:
        UsageError: if Ray is not installed, the cluster is not there, or it has no room for one cell.
    """
    with connected(None if address == "local" else address, count_cores()) as ray:
        there, each = ray.cluster_resources(), threads or 1
        gpus = 0 if device == "cpu" else int(there.get("GPU", 0))
        if device == "cuda" and not gpus:
            raise UsageError("The Ray cluster has no GPU.", code="no-device")
        room = min(int(there.get("CPU", 0)) // each, gpus or 2**31)
        if room < 1:
            raise UsageError(f"The Ray cluster has no room for a cell of {each} threads: {there.get('CPU', 0):g} CPUs.")
        places = [Slot(number, each, None) for number in range(min(jobs or room, room))]

        def start(job: Job, place: Slot, log: Path) -> OnRay:
            return OnRay(ray, job, place, log, gpu=bool(gpus))

        yield places, start


def run_job(job: str, threads: int, log: str) -> int:
    """Run one cell's process on the machine of a Ray worker; its exit status.

    If the worker ends, so does the process: its standard input is closed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return Process(Job.model_validate_json(job), environment, Path(log)).join()


class OnRay:
    """A cell's process on a cluster; see `undim.study.runner.Started`."""

    def __init__(self, ray: ModuleType, job: Job, place: Slot, log: Path, *, gpu: bool) -> None:
        self._ray = ray
        # Tried again by the queue, which knows how often a cell was.
        remote: Any = ray.remote(num_cpus=place.threads, num_gpus=1 if gpu else 0, max_retries=0)(run_job)
        self._result = remote.remote(job.model_dump_json(by_alias=True), place.threads, str(log))

    def poll(self) -> int | None:
        """See `Started.poll`."""
        ready, _ = self._ray.wait([self._result], timeout=0)
        if not ready:
            return None
        try:
            return int(self._ray.get(self._result))
        except self._ray.exceptions.RayError:  # the worker or its machine is gone
            return -signal.SIGKILL

    def let_go(self) -> None:
        """See `Started.let_go`."""
        with suppress(Exception):  # it has ended already, or the cluster is gone
            self._ray.cancel(self._result, force=True)

    def wait(self) -> None:
        """See `Started.wait`."""
        with suppress(Exception):
            self._ray.wait([self._result], timeout=10)
