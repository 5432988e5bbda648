"""Cells that share a device and a process: each in a thread, on a GPU with a stream of its own.

    python -m undim.study.together < LINES

Processes that share a GPU take turns on it, and each holds a context of its own; streams of one process run side by
side. A line of standard input is a `Start`, a line of standard output an `Ended`. When standard input ends, so does the
process at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import Timeout
from pydantic import BaseModel, ConfigDict

from undim.errors import UndimError
from undim.study.runner import Child, Slot
from undim.study.worker import BUSY, FAILED, MISUSED, ORPHANED, Job, run_cell
from undim.training.device_stepper import device_stream
from undim.training.loop import default_device
from undim.training.metrics_file import EVERY, Progress
from undim.training.steps import room_on

SETTLED = EVERY
"""Steps after which a cell takes no more memory: graphs are captured, and the first losses were looked at."""
MARGIN = 1.25
"""How much more than the largest cell so far must be free for another one."""
PATIENCE = 1.0
"""Seconds between looks at the free memory."""


class Start(BaseModel):
    """A cell that is to run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: Job
    log: Path


class Ended(BaseModel):
    """How a cell ended."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: Path
    status: int


class Admission:
    """Lets cells in one after another, as far as memory reaches: the first alone, the others by what it took.

    Args:
        free: bytes of free memory.
    """

    def __init__(self, free: Callable[[], float]) -> None:
        self._free = free
        self._changed = threading.Condition()
        self._inside = 0
        self._settling = False
        self.need = 0.0
        """Bytes that a cell took at most so far."""

    @contextmanager
    def inside(self) -> Iterator[Callable[[], None]]:
        """Wait until there is room, and be in for the time of the block; gives what is to be called once settled."""
        with self._changed:
            while self._settling or (self._inside and self._free() < MARGIN * self.need):
                self._changed.wait(PATIENCE)
            self._inside += 1
            self._settling = True
            before = self._free()
        told = False

        def settled() -> None:
            nonlocal told
            with self._changed:
                if not told:
                    told = True
                    self.need = max(self.need, before - self._free())
                    self._settling = False
                    self._changed.notify_all()

        try:
            yield settled
        finally:
            settled()
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()


def run_together(lines: Iterator[str], tell: Callable[[Ended], None], admission: Admission) -> list[threading.Thread]:
    """Start a thread for each cell that a line asks for.

    Args:
        lines: each a `Start` as JSON.
        tell: called when a cell has ended, by its thread.
        admission: lets cells in.

    Returns:
        The threads, once the lines are over.
    """
    threads = []
    for line in lines:
        start = Start.model_validate_json(line)
        thread = threading.Thread(target=_run, args=(start, tell, admission), daemon=True)
        thread.start()
        threads.append(thread)
    return threads


def _run(start: Start, tell: Callable[[Ended], None], admission: Admission) -> None:
    job = start.job

    def note(text: str) -> None:
        with start.log.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    status = 0
    try:
        with admission.inside() as settled, device_stream(default_device()):
            seen: list[int] = []

            def report(progress: Progress) -> None:
                seen.append(progress.step)
                if len(seen) == SETTLED:
                    settled()

            run_cell(job, note, report)
    except Timeout:
        status = BUSY
    except UndimError as error:
        status = MISUSED
        note(" ".join(str(error).split()))
    except Exception as error:  # of one cell: the others go on
        status = FAILED
        note(f"{type(error).__name__}: {' '.join(str(error).split())}")
    tell(Ended(run=job.run, status=status))


class Together(Child):
    """One such process, seen from the queue.

    Args:
        place: where it runs.
        log: receives what it says besides the cells' own logs.
    """

    def __init__(self, place: Slot, log: Path) -> None:
        with log.open("ab") as stream:
            super().__init__("undim.study.together", place.environment(), subprocess.PIPE, stream)
        self._ended: dict[Path, int] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def start(self, job: Job, log: Path) -> None:
        """Have a cell run."""
        self._ended.pop(job.run, None)
        self.tell(Start(job=job, log=log).model_dump_json(by_alias=True))

    def status(self, run: Path) -> int | None:
        """Of a cell, as `Started.poll`."""
        gone = self._process.poll()  # looked at first: what it said before it went is told before
        if run in self._ended:
            return self._ended[run]
        return gone if gone is None or gone < 0 else FAILED

    def _listen(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                ended = Ended.model_validate_json(line)
                self._ended[ended.run] = ended.status


class SharedCell:
    """A cell in such a process; see `undim.study.runner.Started`."""

    def __init__(self, process: Together, job: Job, log: Path) -> None:
        self._process, self._run = process, job.run
        process.start(job, log)

    def poll(self) -> int | None:
        """See `Started.poll`."""
        return self._process.status(self._run)

    def let_go(self) -> None:
        """See `Started.let_go`: of a cell that runs, the process ends with all its cells, as the queue ends."""
        if self.poll() is None:
            self._process.let_go()

    def wait(self) -> None:
        """See `Started.wait`."""
        self._process.wait()


@contextmanager
def start_together() -> Iterator[Callable[[Job, Slot, Path], SharedCell]]:
    """A `undim.study.runner.Starter` that puts the cells of one device into one process, while in the block."""
    processes: dict[str | None, Together] = {}

    def start(job: Job, place: Slot, log: Path) -> SharedCell:
        process = processes.get(place.gpu)
        if process is None or not process.runs:
            process = processes[place.gpu] = Together(place, log)
        return SharedCell(process, job, log)

    try:
        yield start
    finally:
        for process in processes.values():
            process.let_go()
        for process in processes.values():
            process.wait()


def main() -> None:
    """Run the cells that standard input asks for, until it ends."""
    torch.backends.cudnn.allow_tf32 = False  # as when a cell is measured: all are trained alike, whoever was first
    device = default_device()
    said = threading.Lock()

    def tell(ended: Ended) -> None:
        with said:
            sys.stdout.write(f"{ended.model_dump_json()}\n")
            sys.stdout.flush()

    run_together(sys.stdin, tell, Admission(lambda: room_on(device)))
    os._exit(ORPHANED)


if __name__ == "__main__":
    main()
