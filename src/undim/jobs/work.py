"""One picture's work from bytes to bytes, and what is noted of it."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Unpack

from undim.arrays import Pixels
from undim.enhance.enhancer import CallOptions
from undim.images.formats import suffix_of
from undim.images.reading import format_of
from undim.images.writing import written_format
from undim.jobs.naming import name_output
from undim.jobs.options import EnhanceOptions
from undim.jobs.run import Call, Enhances, Status, brightened


@dataclass(frozen=True)
class Made:
    """One picture's result, in memory."""

    content: bytes
    """The encoded picture."""
    name: str
    """What `undim.jobs.naming` calls it."""
    notes: tuple[str, ...]
    """What of the file could not be kept, a sentence each."""
    size: tuple[int, int]
    """Width and height in pixels."""
    seconds: dict[str, float]
    """Of decoding ("decode", with the wait for memory), the network ("enhance") and encoding ("encode")."""


class InTurn:
    """An enhancer whose calls take turns, and are timed without the wait for their turn.

    Args:
        enhancer: an `Enhancer`.
    """

    def __init__(self, enhancer: Enhances) -> None:
        self._enhancer = enhancer
        self._turn = threading.Lock()
        self._taken = threading.local()

    def __call__(self, image: Pixels, **options: Unpack[CallOptions]) -> Pixels:
        """See `Enhancer.__call__`."""
        asked = time.perf_counter()
        with self._turn:
            begin = time.perf_counter()
            result = self._enhancer(image, **options)
            self._taken.times = asked, begin, time.perf_counter()
        return result

    @property
    def times(self) -> tuple[float, float, float]:
        """When this thread's last call was made, began and ended, as readings of `time.perf_counter()`."""
        times: tuple[float, float, float] = self._taken.times
        return times


def enhance_content(
    content: bytes, name: str, form: str | None, enhancer: InTurn, options: EnhanceOptions, call: Call | None = None
) -> Made:
    """Make one picture clear, from a file's content to the content of another.

    Args:
        content: of a picture's file.
        name: of that file, with its folders; the result's name follows from it and from the content.
        form: name of the output format; None for that of the content.
        enhancer: may be shared by threads.
        options: strength, exposure, quality and max_pixels count here.
        call: as of `run_task`.

    Raises:
        PictureError: as `read_picture`, `Enhancer.__call__` and `encode_picture`.
    """
    begin = time.perf_counter()
    suffix = suffix_of(name)
    target, written = name_output(PurePath(name), form, format_of(content, suffix))
    call = call or Call()
    with brightened(content, enhancer, options, call, suffix=suffix) as bright:
        asked, started, ended = enhancer.times
        begin_encoding = time.perf_counter()
        form = written or written_format(bright.format)
        made, lost = call.coder.encode(bright, form, options.quality, cancellation=call.cancellation)
        seconds = {
            "decode": asked - begin,
            "enhance": ended - started,
            "encode": time.perf_counter() - begin_encoding,
        }
        return Made(made, target.as_posix(), (*bright.notes, *lost), bright.size, seconds)


@dataclass(frozen=True)
class Record:
    """One picture's row in a report."""

    key: str
    """Where it came from, without credentials."""
    status: Status
    reason: str | None = None
    """Why it failed or was skipped; None for a done one."""
    code: str = ""
    """What kind of reason it is, as of `UndimError`."""
    notes: tuple[str, ...] = ()
    """What of the file could not be kept, a sentence each."""
    output: str | None = None
    """The output's name in the destination."""
    width: int | None = None
    height: int | None = None
    """In pixels."""
    bytes_in: int | None = None
    bytes_out: int | None = None
    """Sizes of the two files."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage: read, decode, enhance, encode, write."""
    sha256: str | None = None
    """Of the output."""
    model_sha256: str | None = None
    """Of the model file."""
    version: str | None = None
    """Undim's that made the output."""
    runtime: str | None = None
    """What ran the network, such as "onnxruntime float32"."""


def hash_of(content: bytes) -> str:
    """The SHA-256 of a content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
