"""One resident model in a process of its own, which a picture may end without harm to others.

    python -m undim.batch.worker

The first line of standard input holds the settings, each further one a picture; each line of standard output holds
what became of one. When standard input ends, whoever started the process is gone or has enough, and so is the process.
"""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO

from undim.batch.addresses import join_below
from undim.batch.pieces import Piece, Settings, dump_record
from undim.batch.stores import read_whole, store_of, tell
from undim.cancellation import Cancellation
from undim.errors import PictureError, UndimError
from undim.hub.finding import find_model_file
from undim.jobs.memory import PictureMemory
from undim.jobs.options import open_enhancer
from undim.jobs.run import Call, explain
from undim.jobs.work import InTurn, Record, enhance_content, hash_of
from undim.runtimes.table import reads_of
from undim.version import __version__

AHEAD = 2
"""Pictures in one worker: while the network is at one, another is read, decoded, encoded or written."""
_MOST_BYTES_PER_PIXEL = 16
"""No picture's file is larger than that for each pixel that is allowed, and a little."""
_LITTLE = 64_000_000


@dataclass(frozen=True)
class Errand:
    """What a line of standard input says."""

    piece: Piece
    into: str
    """Address of the folder for the output."""

    def dump(self) -> str:
        """As one line of JSON."""
        return json.dumps({"piece": self.piece.__dict__, "into": self.into})

    @classmethod
    def load(cls, line: bytes) -> Errand:
        """What `dump` wrote."""
        found = json.loads(line)
        return cls(Piece(**found["piece"]), found["into"])


class Worker:
    """The model, and what one picture's way is: read, enhance, write.

    Args:
        settings: of the run.

    Raises:
        UndimError: if the model cannot be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        options = settings.options
        self._enhancer = open_enhancer(options, expect_many=True)
        self._in_turn = InTurn(self._enhancer)
        self._cancellation = Cancellation()
        self._call = Call(memory=PictureMemory(settings.memory), cancellation=self._cancellation)
        self.model_sha256 = hash_of(find_model_file(options.model, reads_of(options.runtime)).read_bytes())
        self.runtime = self._enhancer.runtime

    def run(self, errand: Errand) -> Record:
        """Carry out one errand; what is wrong with a picture is in the record."""
        piece = errand.piece
        start = Record(piece.name, "failed", model_sha256=self.model_sha256, version=__version__, runtime=self.runtime)
        try:
            return self._run(piece, errand.into, start)
        except Exception as error:  # a fault of Undim in one picture must not cost the others
            reason, code = explain(error)
            return replace(start, reason=reason, code=code)

    def stop(self) -> None:
        """End what is in the network or waits for it; what is being written is written."""
        self._cancellation.cancel()

    def _run(self, piece: Piece, into: str, start: Record) -> Record:
        begin = time.perf_counter()
        options = self._settings.options
        if piece.length is not None and piece.length > _MOST_BYTES_PER_PIXEL * options.max_pixels + _LITTLE:
            raise PictureError(f"has {piece.length} bytes, more than a picture of max_pixels takes", code="too-large")
        content = read_whole(piece.address, piece.offset, piece.length)
        read = time.perf_counter() - begin
        form = piece.format if piece.target is not None else options.form
        made = enhance_content(content, piece.name, form, self._in_turn, options, self._call)
        name = piece.target or made.name
        target = join_below(into, name)
        known = replace(
            start, notes=made.notes, output=name, width=made.size[0], height=made.size[1], bytes_in=len(content)
        )
        begin = time.perf_counter()
        try:
            store = store_of(target)
            # The driver looked for the name that the key suggests; the content led to another one.
            if name != piece.expected and not options.overwrite and store.exists(target):
                return replace(known, status="skipped", reason="the output exists", code="output-exists")
            store.write(target, made.content)
        except OSError as error:
            raise PictureError(f"cannot be written: {tell(error)}", code="store") from error
        seconds = {"read": read, **made.seconds, "write": time.perf_counter() - begin}
        return replace(
            known,
            status="done",
            bytes_out=len(made.content),
            seconds={stage: round(taken, 4) for stage, taken in seconds.items()},
            sha256=hash_of(made.content),
        )


def serve(lines: IO[bytes], answers: IO[bytes]) -> None:
    """Answer errands until there are no more.

    Args:
        lines: settings, then errands.
        answers: receives a line that says that the worker is ready, or why not, then a line for each errand.
    """
    lock = threading.Lock()

    def answer(line: str) -> None:
        with lock, suppress(OSError):  # whoever listened has gone
            answers.write(line.encode() + b"\n")
            answers.flush()

    try:
        worker = Worker(Settings.load(lines.readline().decode()))
    except UndimError as error:
        answer(json.dumps({"error": str(error), "code": error.code, "subject": error.subject}))
        return
    answer(json.dumps({"runtime": worker.runtime, "model_sha256": worker.model_sha256}))

    def carry_out(line: bytes) -> None:
        errand = Errand.load(line)
        answer(json.dumps({"number": errand.piece.number, "record": dump_record(worker.run(errand))}))

    pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="undim")
    for line in lines:
        pool.submit(carry_out, line)
    worker.stop()
    pool.shutdown(wait=True, cancel_futures=True)


def main() -> None:
    """Serve on standard input and output, which nothing else may write to."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    serve(os.fdopen(0, "rb", closefd=False), answers)
    os._exit(0)  # without the exit handlers of libraries, which may wait for threads of theirs


if __name__ == "__main__":
    main()
