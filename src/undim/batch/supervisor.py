"""Keeps one worker process: gives it pictures, starts another when one ends it, and finds out which picture it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from undim.batch.pieces import Piece, Settings, load_record
from undim.batch.worker import AHEAD, Errand
from undim.errors import UndimError, UsageError
from undim.jobs.work import Record
from undim.machine import free_memory
from undim.version import __version__

_PATIENCE = 5.0
"""Seconds that a worker gets to end when it is let go."""


_SHARE = 0.5
"""Of a machine's free memory, what the decoded pictures of all its workers may take."""


def share_memory(workers: int) -> int | None:
    """Bytes for the pictures of each of so many workers on this machine; None if the system does not tell."""
    free = free_memory()
    return None if free is None else int(_SHARE * free / max(1, workers))


@dataclass(frozen=True)
class Ready:
    """What a worker says of itself when it has loaded its model."""

    runtime: str
    model_sha256: str


class Supervisor:
    """One worker, whatever happens to it.

    Pictures that were in a worker when it ended are tried again alone, in a worker of its own for each try. One that
    ends its worker `Settings.tries` times is set aside as failed; its neighbours are not.

    Args:
        settings: of the run.
        environment: of the worker's process, beside this one's.

    Raises:
        UndimError: what the worker says that keeps it from starting.
    """

    def __init__(self, settings: Settings, environment: dict[str, str] | None = None) -> None:
        self._settings = settings
        threads = settings.options.threads
        limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "VIPS_CONCURRENCY": str(threads)}
        self._environment = {**os.environ, **limits, **(environment or {})}
        self._closing = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self.ready = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, pieces: Iterable[Piece], into: str | None = None) -> Iterator[tuple[int, Record]]:
        """Yield (number, record) of each picture as it ends.

        Args:
            pieces: of which no more are taken than the worker can hold.
            into: address of the folder for the outputs; None for the destination.

        Raises:
            UndimError: if no worker can be started any more.
        """
        into = self._settings.destination if into is None else into
        waiting = iter(pieces)
        held: dict[int, Piece] = {}
        while True:
            while len(held) < AHEAD and (piece := next(waiting, None)) is not None:
                held[piece.number] = piece
                self._send(piece, into)
            if not held:
                return
            answer = self._receive()
            if answer is None:
                suspects, held = list(held.values()), {}
                for suspect in suspects:
                    yield suspect.number, self._alone(suspect, into)
                continue
            number, record = answer
            del held[number]
            yield number, record

    def close(self) -> None:
        """End the worker, at once; what it was writing does not take its name. From any thread."""
        with self._closing:
            self._closed = True
            process = self._process
        if process is not None:
            _end(process)

    def _alone(self, piece: Piece, into: str) -> Record:
        """Try a picture with nothing beside it."""
        how = ""
        for _ in range(self._settings.tries):
            self._restart()
            self._send(piece, into)
            answer = self._receive()
            if answer is not None:
                return answer[1]
            how = self._obituary()
        self._restart()
        tries = self._settings.tries
        times = "once" if tries == 1 else f"{tries} times out of {tries}"
        return Record(
            piece.name,
            "failed",
            f"ended its worker ({how}) {times}, alone; it was set aside",
            "worker-ended",
            model_sha256=self.ready.model_sha256,
            version=__version__,
            runtime=self.ready.runtime,
        )

    def _restart(self) -> None:
        if self._process is not None:
            _end(self._process)
        self._start()

    def _start(self) -> Ready:
        how = ""
        for _ in range(max(1, self._settings.tries)):
            with self._closing:
                if self._closed:
                    raise UsageError("The batch was ended.", code="closed")
                self._process = process = subprocess.Popen(
                    [sys.executable, "-m", "undim.batch.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # where codecs complain of what is a failure anyway
                    env=self._environment,
                    start_new_session=True,  # Ctrl-C reaches the driver alone, which then lets go of all
                )
            with suppress(OSError):
                _write(process, self._settings.dump())
            line = b"" if process.stdout is None else process.stdout.readline()
            if line.endswith(b"\n"):
                said = json.loads(line)
                if "error" in said:
                    _end(process)
                    raise UndimError(said["error"], code=said["code"], subject=said["subject"])
                return Ready(said["runtime"], said["model_sha256"])
            how = self._obituary()
        raise UndimError(f"A worker cannot be started: its process ended while it loaded the model ({how}).")

    def _send(self, piece: Piece, into: str) -> None:
        if self._process is not None:
            with suppress(OSError):  # it ended: the missing answer tells
                _write(self._process, Errand(piece, into).dump())

    def _receive(self) -> tuple[int, Record] | None:
        """An answer; None if the worker has ended."""
        if self._process is None or self._process.stdout is None:
            return None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            with self._closing:
                if self._closed:
                    raise UsageError("The batch was ended.", code="closed")
            return None
        said = json.loads(line)
        return said["number"], load_record(said["record"])

    def _obituary(self) -> str:
        """How the process ended."""
        status = None if self._process is None else self._process.wait()
        if status is None or status >= 0:
            return f"exit status {status}"
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        return f"{name}, perhaps for want of memory" if -status == signal.SIGKILL else name


def _write(process: subprocess.Popen[bytes], line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a process go: it ends when its standard input does."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
