"""The engine of one machine: worker processes side by side, with nothing but the base install."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from undim.batch.packing import run_unit
from undim.batch.pieces import Piece, Settings, Unit
from undim.batch.supervisor import Supervisor
from undim.jobs.work import Record

_WAITING = 2
"""Units for each worker that are planned ahead."""

_Answer = tuple[int, Record] | BaseException | None
"""Of a thread: a record, what ended it, or None when it has nothing more to do."""


def run_locally(units: Iterator[Unit], settings: Settings, workers: int) -> Iterator[tuple[int, Record]]:
    """Yield (number, record) of each picture as it ends.

    Args:
        units: taken as workers get to them, from the calling thread.
        settings: of the run.
        workers: how many processes.

    Raises:
        UndimError: if workers cannot be started.
    """
    crew = _Crew(settings, workers)
    try:
        yield from crew.work(units)
    finally:
        crew.close()


class _Crew:
    def __init__(self, settings: Settings, workers: int) -> None:
        self._settings = settings
        self._units: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._supervisors: list[Supervisor] = []
        self._closing = threading.Lock()
        self._closed = False
        self._threads = [threading.Thread(target=self._follow, daemon=True) for _ in range(workers)]

    def work(self, units: Iterator[Unit]) -> Iterator[tuple[int, Record]]:
        for thread in self._threads:
            thread.start()
        more, at_work = True, len(self._threads)
        while at_work:
            # A worker that waits for a unit tells nothing: so many stand ready that some worker always has to tell.
            while more and self._units.qsize() < _WAITING * len(self._threads):
                unit = next(units, None)
                if unit is None:
                    more = False
                    for _ in self._threads:
                        self._units.put(None)
                else:
                    self._units.put(unit)
            answer = self._answers.get()
            if isinstance(answer, BaseException):
                raise answer
            if answer is None:
                at_work -= 1
            else:
                yield answer

    def close(self) -> None:
        with self._closing:
            self._closed = True
            supervisors = list(self._supervisors)
        for _ in self._threads:
            self._units.put(None)
        closers = [threading.Thread(target=one.close) for one in supervisors]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _follow(self) -> None:
        """One worker's thread."""
        try:
            with Supervisor(self._settings) as supervisor:
                with self._closing:
                    if self._closed:
                        return
                    self._supervisors.append(supervisor)
                self._serve(supervisor)
        except BaseException as error:
            self._answers.put(error)
        else:
            self._answers.put(None)

    def _serve(self, supervisor: Supervisor) -> None:
        shards: list[Unit] = []

        def pieces() -> Iterator[Piece]:
            """Those of one unit after another, so that the worker has the next picture while it ends a unit."""
            while (unit := self._units.get()) is not None:
                if unit.shard is not None:
                    shards.append(unit)
                    return
                yield from unit.pieces

        while True:
            for answer in supervisor.run(pieces()):
                self._answers.put(answer)
            if not shards:
                return
            for answer in run_unit(supervisor, shards.pop()):
                self._answers.put(answer)
