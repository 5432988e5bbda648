"""Between HTTP and the jobs: who is let in, whose picture is in work, and how it all ends."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from starlette.requests import ClientDisconnect

from undim.cancellation import Cancellation
from undim.errors import CancelledError, UndimError
from undim.jobs.decoders import Decoders
from undim.jobs.lanes import Models
from undim.jobs.options import EnhanceOptions
from undim.jobs.plan import STREAM, Task
from undim.jobs.run import Call, Outcome, run_task
from undim.machine import free_memory
from undim.serve.metrics import Metrics, resident_bytes
from undim.serve.problems import ProblemError, status_of
from undim.serve.settings import Settings

BODIES = 0.125
"""Of the memory that is free at the start, what bodies of requests and answers may fill together."""
LIGHT = 2**20
"""Bytes of a file that does not wait behind larger ones."""
LONGEST_WAIT = 60
"""Seconds that a client is told to wait at most before it tries again."""


class Service:
    """Enhances pictures for many clients: a bounded queue, a fixed number at a time.

    Args:
        settings: see there.
    """

    def __init__(self, settings: Settings) -> None:
        lanes, decoders = settings.workers or 1, settings.decoders or 1
        self.settings = settings
        self.decoders = Decoders(decoders, max_pixels=settings.options.max_pixels)
        options = replace(settings.options, threads=settings.threads)
        self.models = Models(settings.models, options, most=settings.resident, lanes=lanes)
        self.stopping = False
        self.ready = False
        self.failure: Exception | None = None
        """Why the default model could not be loaded."""
        # Two queues, since no one can tell a picture's size before a process has looked at it: a small file must not
        # wait until one of many large ones is through.
        self._heavy, self._light = (
            ThreadPoolExecutor(lanes + decoders, thread_name_prefix=f"undim-{kind}") for kind in ("heavy", "light")
        )
        self._places = 2 * (lanes + decoders)
        self._works: dict[Future[Outcome], Cancellation] = {}
        """Pictures in the house."""
        self._lock = threading.Lock()
        self._inside = 0
        self._running = 0
        self._bytes = 0
        self._room = max(settings.max_body, int(BODIES * (free_memory() or 8 * settings.max_body / BODIES)))
        self._typical = 1.0
        """Seconds that a picture takes, of late."""
        self.metrics = Metrics(
            {
                "queue": ("Requests in the house", self._tell_queue),
                "memory_bytes": ("Resident memory of the processes", self._tell_memory),
                "models_loaded": ("1 for each model that is loaded", lambda: dict.fromkeys(self.models.resident, 1.0)),
                "decoder_restarts": ("Decoder processes replaced so far", lambda: {"crash": self.decoders.restarts}),
            }
        )

    def load(self) -> None:
        """Load the default model. May be called from another thread than the one that serves.

        Raises:
            UndimError: if that fails.
        """
        with self.models.used(self.settings.default):
            self.ready = True

    @property
    def inside(self) -> int:
        """How many requests are in the house: their bodies come, they wait, are in work or their answers are sent."""
        return self._inside

    @contextmanager
    def admitted(self) -> Iterator[Callable[[int], None]]:
        """Let one request in; call what it yields with the bytes of its body that have come.

        Raises:
            ProblemError: if the service stops, or too many are inside.
        """
        if self.stopping:
            raise stopping()
        held = 0

        def hold(count: int) -> None:
            nonlocal held
            with self._lock:
                if self._bytes + count > self._room:
                    raise self._busy()
                self._bytes += count
                held += count

        with self._lock:
            if self._inside >= self._places + self.settings.queue:
                raise self._busy()
            self._inside += 1
        try:
            yield hold
        finally:
            with self._lock:
                self._inside -= 1
                self._bytes -= held

    @contextmanager
    def sending(self, count: int) -> Iterator[None]:
        """While in the block, an answer of so many bytes is in the house: others may be refused for it, it is not."""
        with self._lock:
            self._inside += 1
            self._bytes += count
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                self._bytes -= count

    async def enhance(
        self, content: bytes, suffix: str, options: EnhanceOptions, gone: Callable[[], Coroutine[object, object, None]]
    ) -> Outcome:
        """What becomes of one picture, which is done.

        Args:
            content: of the file.
            suffix: of its name, lower case with its dot; "" if that is not known.
            options: the model is a name of `Settings.models`.
            gone: ends when the client has left.

        Raises:
            ProblemError: if it is not done.
            ClientDisconnect: if the client left.
        """
        work, cancellation = self._start(content, suffix, options)
        leaving = asyncio.ensure_future(gone())
        answer = asyncio.wrap_future(work)
        ends: list[asyncio.Future[Any]] = [answer, leaving]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientDisconnect
            outcome = answer.result()
        except asyncio.CancelledError:
            if not work.cancelled():
                raise
            raise stopping() from None
        except UndimError as error:
            raise self._problem(error) from error
        finally:
            leaving.cancel()
            cancellation.cancel()
            work.cancel()
        self.metrics.picture(outcome)
        if outcome.status != "done":
            raise self._problem(UndimError(outcome.reason or "", code=outcome.code))
        self._typical += 0.2 * (outcome.seconds - self._typical)
        return outcome

    def stop(self) -> None:
        """Take nothing more; what has not begun ends now."""
        self.stopping, self.ready = True, False
        with self._lock:
            works = list(self._works)
        for work in works:
            work.cancel()

    def give_up(self) -> None:
        """End what is still in work."""
        with self._lock:
            cancellations = list(self._works.values())
        for cancellation in cancellations:
            cancellation.cancel()

    def close(self) -> None:
        """Give everything back."""
        self.stop()
        self.give_up()
        for pool in (self._heavy, self._light):
            pool.shutdown(wait=True, cancel_futures=True)
        self.models.close()
        self.decoders.close()

    def _start(self, content: bytes, suffix: str, options: EnhanceOptions) -> tuple[Future[Outcome], Cancellation]:
        if self.stopping:
            raise stopping()
        deadline = time.monotonic() + self.settings.timeout
        cancellation = Cancellation(deadline)
        call = Call(
            cancellation=cancellation,
            deadline=deadline,
            read_stream=lambda: content,
            coder=self.decoders,
            suffix=suffix,
        )
        pool = self._light if len(content) <= LIGHT else self._heavy
        work = pool.submit(self._work, options, call)
        with self._lock:
            self._works[work] = cancellation
        work.add_done_callback(self._leave)  # which must not hold the work: its outcome would stay until collected
        return work, cancellation

    def _leave(self, work: Future[Outcome]) -> None:
        with self._lock:
            del self._works[work]

    def _work(self, options: EnhanceOptions, call: Call) -> Outcome:
        with self._lock:
            self._running += 1
        try:
            with ExitStack() as stack:
                try:
                    lanes = stack.enter_context(self.models.used(options.model, call.cancellation))
                except CancelledError:
                    raise
                except UndimError as error:  # nothing that the client could do otherwise, and it names files
                    detail = f"The model {options.model!r} cannot be loaded; the service's log says why."
                    raise ProblemError(500, detail, "model") from error
                return run_task(Task(STREAM, None, options.form), lanes, options, call)
        finally:
            with self._lock:
                self._running -= 1

    def _problem(self, error: UndimError) -> ProblemError:
        if error.code == "cancelled" and self.stopping:
            return stopping()
        if error.code == "no-tiling":  # its own words name a file
            return ProblemError(422, "This model cannot be tiled, as fast=true wants; leave it out.", error.code)
        status = status_of(error)
        subject = "" if error.subject else "The file "
        return ProblemError(status, f"{subject}{error}", error.code)

    def _busy(self) -> ProblemError:
        lanes = self.settings.workers or 1
        seconds = min(LONGEST_WAIT, max(1, math.ceil(self._inside * self._typical / lanes)))
        return ProblemError(
            429,
            f"{self._inside} pictures are here already; try again in {seconds} seconds.",
            "busy",
            {"Retry-After": str(seconds)},
        )

    def _tell_queue(self) -> dict[str, float]:
        return {"inside": self._inside, "working": self._running, "waiting": max(0, self._inside - self._running)}

    def _tell_memory(self) -> dict[str, float]:
        return {
            "service": resident_bytes(os.getpid()),
            "decoders": sum(map(resident_bytes, self.decoders.processes)),
        }


def stopping() -> ProblemError:
    """The answer of a service that stops."""
    detail = "The service is being stopped; try again when it is back."
    return ProblemError(503, detail, "stopping", {"Retry-After": "10"})
