"""Measures beside those of the protocol: one row each, from which scores, tables and files of results take them.

A package of its own adds one by an entry point of the group `undim.measures` that names a `Measure`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from undim.arrays import Bytes

ENTRY_POINTS = "undim.measures"


@dataclass(frozen=True)
class Measure:
    """One measure of a picture."""

    title: str
    """Heads its column, with the unit."""
    of: Callable[[Bytes, Bytes | None, Bytes | None], float | None]
    """Output, reference and dark picture, each H x W x 3 8-bit RGB, to a number; None where it needs what is not there.
    Raises a ShapeError for a picture that it cannot measure, which becomes a note."""
    form: str = ".3f"
    """How a value is formatted."""
    caution: str = ""
    """What a reader must know of it."""


MEASURES: dict[str, Measure] = {}
"""By key, which is also the name in results.json. Empty: what the protocol measures is in `undim.metrics.protocol`."""


@functools.cache
def _added() -> Mapping[str, Measure]:
    from importlib.metadata import entry_points  # slow to import

    return {entry.name: entry.load() for entry in entry_points(group=ENTRY_POINTS)}


def known_measures() -> dict[str, Measure]:
    """The rows above and those of other packages, by key."""
    return {**_added(), **MEASURES}
