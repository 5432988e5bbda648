"""One model in a process of its own, so that its memory can be told and nothing it does harms the others.

    python -m undim.metrics.comparison_worker < ASKED

The first line of standard input names the model, each line after it a picture and the file of its output; each is
answered by one line on standard output. All are JSON. When standard input ends, so does the process, at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel

from undim.arrays import Bytes
from undim.data.reading import read_rgb
from undim.enhance.enhancer import Enhancer
from undim.errors import ModelError, UndimError
from undim.images import Picture, write_picture
from undim.machine import peak_memory
from undim.weights.subjects import Subject, find_subject


class Start(BaseModel):
    """What is loaded."""

    model: str
    device: str
    threads: int


class Ready(BaseModel):
    """What was loaded; with a failure, nothing was, and the process ends."""

    runtime: str = ""
    device: str = ""
    file: str | None = None
    sha256: str | None = None
    notes: dict[str, str] = {}
    seconds: float = 0.0
    failure: str | None = None


class Ask(BaseModel):
    """A picture to enhance."""

    source: Path
    target: Path


class Made(BaseModel):
    """What became of it."""

    seconds: float = 0.0
    peak_memory: int | None = None
    peak_device_memory: int | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Opened:
    """A model that is ready to run."""

    enhance: Callable[[Bytes], Bytes]
    runtime: str
    device: str
    file: Path | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


def open_model(start: Start) -> Opened:
    """Load a model: shipped and .onnx ones into ONNX Runtime, weights and other people's code into PyTorch.

    Raises:
        UndimError: if it cannot be used.
    """
    subject = find_subject(start.model)
    if subject.onnx is not None:
        enhancer = Enhancer(subject.onnx, threads=start.threads)
        enhancer.warm_up()
        return Opened(enhancer, enhancer.runtime, "cpu", subject.onnx, _notes(subject.weights))
    from undim.weights.devices import choose_device

    device = choose_device(start.device)
    if subject.weights is not None and subject.kind != "factory" and device == "cpu":
        enhancer = Enhancer(subject.weights, threads=start.threads, runtime="torch", precision="float32")
        enhancer.warm_up()
        return Opened(enhancer, enhancer.runtime, device, subject.weights, _notes(subject.weights))
    return _open_network(subject, device, start.threads)


def _open_network(subject: Subject, device: str, threads: int) -> Opened:
    """A network as it is, on whole pictures: of other people's code, or on a GPU."""
    import torch

    from undim.metrics.networks import network_enhancer
    from undim.weights.foreign import describe_failure, open_network

    torch.set_num_threads(threads)
    network, spec = open_network(subject)
    run = network_enhancer(network.to(device))

    def enhance(pixels: Bytes) -> Bytes:
        try:
            return run(pixels)
        except UndimError:
            raise
        except Exception as error:  # its code may be anybody's
            raise ModelError(f"{subject.name} failed: {describe_failure(error)}") from error

    return Opened(enhance, "torch float32", device, subject.weights, {} if spec is None else spec.notes)


def _notes(weights: Path | None) -> dict[str, str]:
    if weights is None:
        return {}
    from undim.weights.files import read_spec

    return read_spec(weights).notes


def make(opened: Opened, ask: Ask) -> Made:
    """Enhance one picture into its file; only the enhancing is timed."""
    try:
        pixels = read_rgb(ask.source)
        begin = time.perf_counter()
        output = opened.enhance(pixels)
        seconds = time.perf_counter() - begin
        write_picture(Picture(output), ask.target, "png")
    except (UndimError, MemoryError) as error:
        return Made(failure=str(error).rstrip(".") or "needs more memory than there is", peak_memory=peak_memory())
    return Made(seconds=seconds, peak_memory=peak_memory(), peak_device_memory=_device_memory(opened))


def _device_memory(opened: Opened) -> int | None:
    if opened.device != "cuda":
        return None
    import torch

    return int(torch.cuda.max_memory_allocated())


def load(start: Start) -> tuple[Opened | None, Ready]:
    """Load the model, and say what it is or why it cannot be."""
    begin = time.perf_counter()
    try:
        opened = open_model(start)
    except (UndimError, MemoryError, OSError) as error:
        return None, Ready(failure=str(error).rstrip(".") or "needs more memory than there is")
    file = opened.file
    return opened, Ready(
        runtime=opened.runtime,
        device=opened.device,
        file=None if file is None else file.name,
        sha256=None if file is None else hashlib.sha256(file.read_bytes()).hexdigest(),
        notes=dict(opened.notes),
        seconds=time.perf_counter() - begin,
    )


def main() -> None:
    """Answer until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the starter, which ends this process
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a model's code prints is not an answer
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=partial(_listen, sys.stdin.buffer, lines), daemon=True).start()

    def answer(said: BaseModel) -> None:
        answers.write(json.dumps(said.model_dump(mode="json")).encode() + b"\n")

    opened, ready = load(Start.model_validate_json(lines.get()))
    answer(ready)
    while opened is not None:
        answer(make(opened, Ask.model_validate_json(lines.get())))


def _listen(stream: BinaryIO, lines: queue.SimpleQueue[bytes]) -> None:
    for line in stream:
        lines.put(line)
    os._exit(0)  # whoever asked has all answers, or is gone


if __name__ == "__main__":
    main()
