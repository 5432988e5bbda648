"""Computing in fewer bits: when it is allowed without being asked for, and what happens where it does not do."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from undim.arrays import Floats
from undim.cancellation import NEVER, Cancellation
from undim.contract import Precision
from undim.errors import UsageError
from undim.runtimes.base import Feeds, Runtime
from undim.shipped import MODELS_FOLDER

PrecisionWish = Precision | Literal["auto"]
ALLOWED_LOSS = 0.02
"""PSNR in dB that a reduced precision may cost on LOL-v1's eval15 to be used without being asked for."""
BFLOAT16_LOSS = {
    ("openvino", "photo"): math.inf,
    ("openvino", "lol"): 0.0170,
    ("openvino", "tiny"): math.inf,
    ("torch", "photo"): math.inf,
    ("torch", "lol"): 0.0328,
    ("torch", "tiny"): math.inf,
}
"""That loss by runtime and shipped model: `python benchmarks/precision.py`. Infinite where nobody has measured the
present weights, on a processor that computes in bfloat16: these run in float32 unless asked otherwise."""

_log = logging.getLogger("undim.enhance")


def check_precision(wish: str) -> None:
    """Raise UsageError unless it is a `PrecisionWish`."""
    if wish not in ("auto", "float32", "bfloat16"):
        raise UsageError(f"There is no precision {wish!r}. Known: auto, float32, bfloat16.", subject="precision")


def settle_precision(
    wish: PrecisionWish, path: str | os.PathLike[str], runtime: str, can_reduce: Callable[[], bool]
) -> Precision:
    """What a model is to compute in.

    "auto" is bfloat16 where the processor computes in it and the model is a shipped one that loses at most
    `ALLOWED_LOSS` by it in that runtime; else float32.

    Raises:
        UsageError: if another one is asked for than the runtime has on this machine.
    """
    if wish == "float32":
        return wish
    if wish == "bfloat16":
        if not can_reduce():
            raise UsageError(f"{runtime} does not compute in bfloat16 on this machine: take auto or float32.")
        return wish
    file = Path(path)
    loses = BFLOAT16_LOSS.get((runtime, file.stem)) if file.parent == MODELS_FOLDER else None
    return "bfloat16" if loses is not None and loses <= ALLOWED_LOSS and can_reduce() else "float32"


class ReducedRuntime(Runtime):
    """A model in reduced precision, and from the first output on that is not finite in float32; that is said once.

    Args:
        reduced: the model in reduced precision.
        open_exact: loads it in float32.
    """

    def __init__(self, reduced: Runtime, open_exact: Callable[[], Runtime]) -> None:
        self.name = reduced.name
        self.precision = reduced.precision
        self.tiling = reduced.tiling
        self._now = reduced
        self._open_exact = open_exact

    def infer(
        self, outputs: Sequence[str], feeds: Feeds, *, more: bool, cancellation: Cancellation = NEVER
    ) -> list[Floats]:
        """See `Runtime.infer`."""
        found = self._now.infer(outputs, feeds, more=more, cancellation=cancellation)
        if self.precision == "float32" or all(np.isfinite(values).all() for values in found):
            return found
        _log.warning("%s gave values that are not finite in %s; it goes on in float32", self.name, self.precision)
        self._now = self._open_exact()
        self.precision = "float32"
        return self._now.infer(outputs, feeds, more=more, cancellation=cancellation)

    def share_cores(self) -> None:
        """See `Runtime.share_cores`."""
        self._now.share_cores()
