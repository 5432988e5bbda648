"""The queue: cells one after another, as many at a time as there are places, each in a process of its own.

Nothing is kept but files, so the queue may be killed at any moment: finished cells have their file, the others go on
from their runs' last checkpoints.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import torch

from undim.machine import count_cores
from undim.study.cells import StudyFolder
from undim.study.plan import Cell, Plan
from undim.study.worker import BUSY, Job
from undim.training.recipe import Recipe
from undim.weights.devices import check_device

STARTS = 3
"""How often a cell is started whose process is killed from outside, such as for want of memory."""
TOGETHER = 8
"""Cells at a time on each GPU, as far as its memory reaches."""
POLL = 0.2
"""Seconds between looks at the processes."""


@dataclass(frozen=True)
class Slot:
    """Where one cell at a time can run."""

    number: int
    threads: int
    gpu: str | None
    """As CUDA_VISIBLE_DEVICES names it; None for the CPU."""

    def environment(self) -> dict[str, str]:
        """Of a process that runs here."""
        threads = str(self.threads)
        return {
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "CUDA_VISIBLE_DEVICES": self.gpu or "",
        }


class Started(Protocol):
    """A cell's process, on this machine or another."""

    def poll(self) -> int | None:
        """Its exit status, below zero for the signal that killed it; None while it runs."""

    def let_go(self) -> None:
        """Have it end soon, without waiting for that."""

    def wait(self) -> None:
        """Wait until it has ended, after it was let go."""


Starter = Callable[[Job, Slot, Path], Started]
"""Starts the process of a job at a place; the path is that of its log."""


class Child:
    """A Python process that is told what to do by lines, and ends when its standard input does.

    Args:
        module: what it runs.
        environment: its own.
        answers: receives what it says on standard output; `subprocess.PIPE` for whoever reads it here.
        complaints: receives what it says on standard error.
    """

    def __init__(
        self, module: str, environment: Mapping[str, str], answers: IO[bytes] | int, complaints: IO[bytes]
    ) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, a module of this package
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=answers,
            stderr=complaints,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the queue alone, which then lets go of all
        )

    def tell(self, line: str) -> None:
        """Write one line to it."""
        if self._process.stdin is not None:
            with suppress(OSError):  # it died; its status will say so
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()

    def let_go(self) -> None:
        """Have it end soon, without waiting for that."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def wait(self) -> None:
        """Wait until it has ended, after it was let go."""
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Process(Child):
    """A cell's process on this machine: a `Started`.

    Args:
        job: what it is told.
        environment: its own.
        log: receives what it says.
    """

    def __init__(self, job: Job, environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as stream:
            super().__init__("undim.study.worker", environment, stream, stream)
        self.tell(job.model_dump_json(by_alias=True))

    def poll(self) -> int | None:
        """See `Started.poll`."""
        return self._process.poll()

    def join(self) -> int:
        """Wait until it ends by itself; its exit status."""
        return self._process.wait()


def start_here(job: Job, place: Slot, log: Path) -> Process:
    """Start a job's process on this machine."""
    return Process(job, place.environment(), log)


@dataclass(frozen=True)
class Failure:
    """A cell that could not be finished."""

    cell: Cell
    reason: str
    log: Path | None
    """What its process said; None if it was never started."""


def find_places(jobs: int | None = None, threads: int | None = None, device: str = "auto") -> list[Slot]:
    """Where cells run: on each GPU if there are any, else on the CPU's cores.

    Args:
        jobs: cells at a time, shared out over the GPUs; by default `TOGETHER` for each GPU, or as many as threads
            allow.
        threads: of each cell; by default one on the CPU, and on GPUs the cores divided by the jobs.
        device: "auto", "cpu" or "cuda".

    Raises:
        UsageError: for another device, or cuda where there is none.
    """
    gpus = [] if device == "cpu" else _visible_gpus()
    check_device(device, bool(gpus))
    cores = count_cores()
    if jobs is None:
        jobs = TOGETHER * len(gpus) or max(1, cores // (threads or 1))
    if threads is None:
        threads = max(1, cores // jobs) if gpus else 1
    return [Slot(number, threads, gpus[number % len(gpus)] if gpus else None) for number in range(jobs)]


def _visible_gpus() -> list[str]:
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[: torch.cuda.device_count()] or [str(number) for number in range(torch.cuda.device_count())]


def run_study(
    plan: Plan,
    path: Path,
    places: Sequence[Slot],
    notify: Callable[[str], None] = lambda _: None,
    *,
    start: Starter = start_here,
    max_minutes: float | None = None,
) -> list[Failure]:
    """Run the cells that are not finished.

    Args:
        plan: the study.
        path: its folder; what is there is gone on from.
        places: at least one.
        notify: called with a line when a cell starts, ends or fails.
        start: starts a cell's process; by default on this machine.
        max_minutes: after so long what runs is stopped, to go on from its last checkpoint another time; no cell is
            started that would not be finished, as those before it tell.

    Returns:
        The cells that could not be finished; what there was no time for is not among them.

    Raises:
        UsageError: if the folder holds another study's cells.
        OSError: if files cannot be written there.
    """
    folder = StudyFolder(path)
    folder.prepare(plan)
    until = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
    queue = _Queue(plan, folder, list(places), notify, start, until)
    try:
        while queue.step():
            time.sleep(POLL)
    finally:
        queue.stop()
    if queue.left:
        notify(f"the time is up: {len(queue.finished)} of {queue.total} cells are finished, {queue.left} are left")
    return queue.failures


@dataclass
class _Running:
    cell: Cell
    place: Slot
    process: Started
    begun: float
    """By `time.monotonic`."""


class _Queue:
    def __init__(
        self,
        plan: Plan,
        folder: StudyFolder,
        places: list[Slot],
        notify: Callable[[str], None],
        start: Starter,
        until: float,
    ) -> None:
        self.until = until
        self.shortest = 0.0
        """Seconds that a whole cell took at least."""
        self.start = start
        self.folder = folder
        self.free = places
        self.notify = notify
        self.total = len(plan.cells)
        self.followed = {cell.after.name for cell in plan.cells if cell.after is not None}
        self.finished = {cell.name for cell in plan.cells if folder.is_finished(cell)}
        self.waiting = [cell for cell in plan.cells if cell.name not in self.finished]
        self.running: list[_Running] = []
        self.starts: dict[str, int] = {}
        self.failures: list[Failure] = []

    def step(self) -> bool:
        """Look after those that ended, start others; whether there is more to wait for."""
        for one in list(self.running):
            status = one.process.poll()
            if status is not None:
                self.running.remove(one)
                self.free.append(one.place)
                self._ended(one, status)
        if time.monotonic() >= self.until:
            return False
        for cell in [cell for cell in self.waiting if self._has_time(cell)]:
            if self.free and self._ready(cell):
                self.waiting.remove(cell)
                taken = self.folder.adopt(cell, with_weights=cell.name in self.followed)
                if taken is None:
                    self._start(cell, self.free.pop(0))
                else:
                    self._finish(cell.name, f"taken from {taken}")
        return bool(self.running) or any(map(self._has_time, self.waiting))

    @property
    def left(self) -> int:
        """Cells that there was no time for."""
        return self.total - len(self.finished) - len(self.failures)

    def stop(self) -> None:
        """End all processes; they go on from their last checkpoints another time."""
        for one in self.running:
            one.process.let_go()
        for one in self.running:
            one.process.wait()

    def _has_time(self, cell: Cell) -> bool:
        """Whether a cell may be finished in time; of one that was begun before, nobody knows how much is left."""
        begun = self.folder.run(cell).exists()
        return time.monotonic() + (0.0 if begun else self.shortest) < self.until

    def _ready(self, cell: Cell) -> bool:
        """Whether a cell can start; one that never will is noted as failed."""
        before = cell.after
        if before is None or (before.name in self.finished and self.folder.weights(before).is_file()):
            return True
        if before.name in self.finished:
            reason = (
                f"it starts from the weights of {before.name}, which are not on this machine: delete"
                f" {self.folder.result(before)} to train that anew"
            )
        elif any(failure.cell.name == before.name for failure in self.failures):
            reason = f"it starts after {before.name}, which failed"
        else:
            return False
        self.waiting.remove(cell)
        self._fail(cell, reason, None)
        return False

    def _start(self, cell: Cell, place: Slot) -> None:
        run = self.folder.run(cell)
        run.mkdir(parents=True, exist_ok=True)
        job = Job(
            variant=cell.variant,
            recipe=self._recipe(cell),
            run=run,
            result=self.folder.result(cell),
            fingerprint=cell.fingerprint,
            content=cell.content,
            minutes=cell.minutes,
            measure=cell.measure,
            threads=place.threads,
        )
        self.running.append(_Running(cell, place, self.start(job, place, _log(run)), time.monotonic()))
        self.starts[cell.name] = self.starts.get(cell.name, 0) + 1
        self.notify(f"{cell.name}: started")

    def _recipe(self, cell: Cell) -> Recipe:
        if cell.after is None:
            return cell.recipe
        start = self.folder.weights(cell.after).resolve()
        return cell.recipe.model_copy(update={"model": cell.recipe.model.model_copy(update={"start": start})})

    def _ended(self, one: _Running, status: int) -> None:
        one.process.let_go()
        name = one.cell.name
        if self.folder.is_finished(one.cell):
            took = time.monotonic() - one.begun
            if self.starts[name] == 1:
                self.shortest = min(took, self.shortest or took)
            self._finish(name, "finished")
        elif status < 0 and self.starts[name] < STARTS:
            self.notify(f"{name}: killed by signal {-status}; it goes on from its last checkpoint")
            self.waiting.insert(0, one.cell)
        elif status == BUSY:
            self._fail(one.cell, "another process is at work on it", None)
        else:
            log = _log(self.folder.run(one.cell))
            reason = f"killed by signal {-status}, {STARTS} times" if status < 0 else _last_line(log)
            self._fail(one.cell, reason, log)

    def _finish(self, name: str, how: str) -> None:
        self.finished.add(name)
        self.notify(f"{name}: {how}, {len(self.finished)} of {self.total}")

    def _fail(self, cell: Cell, reason: str, log: Path | None) -> None:
        self.failures.append(Failure(cell, reason, log))
        self.notify(f"{cell.name}: failed: {reason}" + ("" if log is None else f" ({log})"))


def _log(run: Path) -> Path:
    return run / "log.txt"


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "its process said nothing"
