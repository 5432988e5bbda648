"""PyTorch's number of threads for one run, without a trace in the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread
from typing import TypeVar

import torch

ResultT = TypeVar("ResultT")
_setting = Lock()


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let PyTorch use `count` threads in the calling thread until the context ends; `None` changes nothing.

    PyTorch keeps two numbers: that of the calling thread, which its kernels use, and that with which threads that are
    new to it begin. `torch.set_num_threads` changes both. Here the second is put back at once, so that no other thread
    notices.
    """
    own = torch.get_num_threads()
    if count is None or count == own:
        yield
        return
    _set_own(count)
    try:
        yield
    finally:
        _set_own(own)


def _set_own(count: int) -> None:
    with _setting:
        shared = _in_new_thread(torch.get_num_threads)
        torch.set_num_threads(count)
        _in_new_thread(lambda: torch.set_num_threads(shared))


def _in_new_thread(call: Callable[[], ResultT]) -> ResultT:
    results: list[ResultT] = []
    thread = Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join()
    return results[0]
