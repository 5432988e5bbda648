"""What the time of one picture within an enhancer went to, noted for whoever asked.

The note is kept for the thread that calls the enhancer, so nothing between the two needs to pass it on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

PARTS = ("survey", "prepare", "network", "blend")
"""The first pass that finds what tiles are told; from integers to floats, and with `fast` the reduced copy; the runs of
the network that make the result; from floats to integers, the strength and the curve, and with `fast` the local models
that enlarge it."""

_noted: ContextVar[dict[str, float] | None] = ContextVar("undim_parts", default=None)


@contextmanager
def noting() -> Iterator[dict[str, float]]:
    """While in the block, this thread's `part`s add up in what is yielded: wall time in seconds by name."""
    noted: dict[str, float] = {}
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Count the time in the block to one of `PARTS`; blocks do not hold each other."""
    noted = _noted.get()
    if noted is None:
        yield
        return
    begin = time.perf_counter()
    try:
        yield
    finally:
        noted[name] = noted.get(name, 0.0) + time.perf_counter() - begin
