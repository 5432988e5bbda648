"""Decoding and encoding in processes of their own: what crashes one, or unpacks to more than it may have, ends there.

A process gets a file's content and gives back its pixels, or the other way round; nothing touches the disk. One that
ends meanwhile is replaced, and its picture is tried once more, alone in a fresh one.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from undim.arrays import Span
from undim.atomic import replacing
from undim.cancellation import NEVER, Cancellation
from undim.errors import PictureError, UndimError
from undim.images import MAX_PIXELS, Picture
from undim.jobs.coder import HERE
from undim.jobs.memory import BYTES_PER_PIXEL
from undim.machine import count_cores

PAUSE = 0.05
"""Seconds between two looks at whether a picture is still wanted, while a process works on it."""
TRIES = 3
"""How many processes a picture may cost."""
_SPARE = 512 * 2**20
"""Bytes that a process may take beside its picture."""
_GONE = (EOFError, OSError)
"""What a pipe raises whose other end has gone."""


class Decoders:
    """A pool of processes that read and write pictures: a `Coder`.

    May be called from several threads; each call has one process for itself. A context manager that ends them all.

    Args:
        count: how many processes; one per core if None.
        max_pixels: the largest picture that they have memory for. Where the system knows such a limit (Linux), a
            process that wants more gets a MemoryError.
    """

    def __init__(self, count: int | None = None, *, max_pixels: int = MAX_PIXELS) -> None:
        self._memory = _SPARE + BYTES_PER_PIXEL * max_pixels
        self._changed = threading.Condition()
        self._closed = False
        self.restarts = 0
        """How many processes were replaced."""
        self._all = {_Process(self._memory) for _ in range(count or count_cores())}
        self._idle = deque(self._all)

    def read(
        self,
        source: str | os.PathLike[str] | bytes,
        suffix: str = "",
        *,
        max_pixels: int,
        on_size: Callable[[int, int], None],
        cancellation: Cancellation = NEVER,
    ) -> Picture:
        """As `Coder.read`; a process that reads for a cancelled call is ended.

        No process waits while `on_size` does, which may wait for others to be written: the size is asked for first.

        Raises:
            PictureError: as `read_picture`; if two processes ended while they read it (code "crashed").
            CancelledError: if the cancellation is asked.
        """
        content = source if isinstance(source, bytes) else os.fspath(source)
        accepted: list[Span] = []
        while True:
            answer = self._ask(("read", content, suffix, max_pixels), accepted, cancellation)
            if isinstance(answer, Picture):
                return answer
            on_size(*answer)
            accepted.append(answer)

    def encode(
        self, picture: Picture, form: str, quality: int | None, *, cancellation: Cancellation = NEVER
    ) -> tuple[bytes, tuple[str, ...]]:
        """As `Coder.encode`; errors as of `read`."""
        content, notes = self._ask(("encode", picture, form, quality), (), cancellation)
        return bytes(content), tuple(notes)

    def write(
        self,
        picture: Picture,
        target: str | os.PathLike[str],
        form: str,
        quality: int | None,
        *,
        cancellation: Cancellation = NEVER,
    ) -> tuple[str, ...]:
        """As `Coder.write`: a process encodes, and this one writes; errors as of `read`."""
        content, notes = self.encode(picture, form, quality, cancellation=cancellation)
        target = Path(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as stream:
                stream.write(content)
        except OSError as error:
            raise PictureError(f"cannot be written: {error.strerror or error}") from error
        return notes

    @property
    def processes(self) -> list[int]:
        """Their numbers, as the system has them."""
        with self._changed:
            return sorted(process.number for process in self._all)

    def close(self) -> None:
        """End all processes. May be called again."""
        with self._changed:
            self._closed = True
            processes, self._all = self._all, set()
            self._idle.clear()
            self._changed.notify_all()
        for process in processes:
            process.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: tuple[Any, ...], accepted: Sequence[Span], cancellation: Cancellation) -> Any:  # noqa: ANN401 - what a process answers
        for _ in range(TRIES):
            try:
                with self._taken(cancellation) as process:
                    return process.ask(request, accepted, cancellation)
            except _Ended:
                continue
        raise PictureError("crashed the library that reads or writes it; it is damaged", code="crashed")

    @contextmanager
    def _taken(self, cancellation: Cancellation) -> Iterator[_Process]:
        """A process of one's own; replaced if the block did not come to its end, since it may be in the middle."""
        with cancellation.calling(self._wake), self._changed:
            while not self._idle:
                cancellation.check()
                if self._closed:
                    raise PictureError("was stopped", code="cancelled")
                self._changed.wait(cancellation.left())
            process = self._idle.popleft()
        try:
            yield process
        except UndimError as error:
            self._give_back(process, whole=process.settled, crashed=False)
            raise error from error.__cause__
        except BaseException:
            self._give_back(process, whole=False, crashed=True)
            raise
        self._give_back(process, whole=True, crashed=False)

    def _give_back(self, process: _Process, *, whole: bool, crashed: bool) -> None:
        if not whole:
            process.end()
        with self._changed:
            if not whole:
                self._all.discard(process)
                if self._closed:
                    return
                self.restarts += crashed
                process = _Process(self._memory)
                self._all.add(process)
            if not self._closed:
                self._idle.append(process)
            self._changed.notify()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _Ended(Exception):  # noqa: N818 - it never leaves this file
    """A process ended while it had something to do."""


class _Process:
    """One process of the pool, as the pool sees it."""

    def __init__(self, memory: int) -> None:
        # Not a fork: threads of the runtime and locks would come along.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, memory), name="undim-decoder", daemon=True)
        self._process.start()
        theirs.close()
        self.settled = True
        """Whether it waits for the next request."""

    @property
    def number(self) -> int:
        """As the system has it."""
        return self._process.pid or 0

    def ask(self, request: tuple[Any, ...], accepted: Sequence[Span], cancellation: Cancellation) -> Any:  # noqa: ANN401 - what it answers
        """Its answer, or a picture's size that is not among those accepted.

        Raises:
            _Ended: if it ended meanwhile.
            PictureError: what it raised.
            CancelledError: if the cancellation is asked.
        """
        self.settled = False
        try:
            _send(self._pipe, request)
            while True:
                while not self._pipe.poll(PAUSE):
                    cancellation.check()
                kind, answer = _receive(self._pipe)
                if kind != "size":
                    break
                _send(self._pipe, answer in accepted)
                if answer not in accepted:
                    _receive(self._pipe)
                    self.settled = True
                    return answer
        except _GONE as error:
            raise _Ended from error
        self.settled = True
        if kind == "error":
            raise answer
        return answer

    def end(self) -> None:
        """At once."""
        with suppress(OSError):
            self._pipe.close()
        self._process.kill()
        self._process.join()


def _work(pipe: Connection, memory: int) -> None:
    """What a process of the pool does: answer requests until its parent has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the parent decides
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff and libvips write there what is an error anyway
    _limit(memory)
    with suppress(*_GONE):
        while True:
            request = _receive(pipe)
            answer = _answer(request, pipe)
            del request  # with its pixels
            _send(pipe, answer)
            del answer


def _answer(request: tuple[Any, ...], pipe: Connection) -> tuple[str, object]:
    def on_size(width: int, height: int) -> None:
        _send(pipe, ("size", (width, height)))
        if not _receive(pipe):
            raise PictureError("is not wanted any more")

    try:
        if request[0] == "read":
            _, source, suffix, max_pixels = request
            return "done", HERE.read(source, suffix, max_pixels=max_pixels, on_size=on_size)
        _, picture, form, quality = request
        content, notes = HERE.encode(picture, form, quality)
        return "done", (pickle.PickleBuffer(content), notes)
    except UndimError as error:
        return "error", error
    except MemoryError:
        return "error", PictureError("does not fit in memory", code="out-of-memory")
    except _GONE:
        raise
    except Exception as error:  # a fault of Undim in one picture must not cost the others
        reason = f"{type(error).__name__}: {error} (a fault in Undim; please report it)"
        return "error", PictureError(reason, code="fault")


def _limit(memory: int) -> None:
    """Let this process map so many bytes more than it has, where the system can tell and limit it."""
    if sys.platform != "linux":
        return
    import resource

    try:
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = mapped + memory if most == resource.RLIM_INFINITY else min(mapped + memory, most)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _send(pipe: Connection, message: object) -> None:
    """Pixels and contents go as they lie in memory, not copied into the message."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    pipe.send_bytes(len(buffers).to_bytes(4, "little") + head)
    for buffer in buffers:
        pipe.send_bytes(buffer.raw())


def _receive(pipe: Connection) -> Any:  # noqa: ANN401 - whatever was sent
    head = pipe.recv_bytes()
    buffers = [pipe.recv_bytes() for _ in range(int.from_bytes(head[:4], "little"))]
    return _Trusting(io.BytesIO(head[4:]), buffers=buffers).load()


class _Trusting(pickle.Unpickler):
    """Makes only what pictures and their errors consist of, whatever a process that a file took over may send."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as of pickle
        """A class or function of a message."""
        of_numpy = module.split(".")[0] == "numpy" and name in _NUMPYS
        ours = module.startswith("undim.") and name in _OURS
        if not of_numpy and not ours:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a picture")
        return super().find_class(module, name)


_NUMPYS = {"_frombuffer", "_reconstruct", "dtype", "ndarray", "scalar"}
_OURS = {"Picture", "Metadata", "Directory", "Entry", "PictureError", "UsageError", "CancelledError", "ShapeError"}
"""Names of what is sent, of NumPy and of Undim."""
