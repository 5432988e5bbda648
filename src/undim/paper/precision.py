"""Which networks were trained in bfloat16 before Undim computed kernels in float32 whatever the precision.

The part of such kernels that differs between pictures was smaller than bfloat16's rounding: they were in effect static,
with noise. What is known of a run is its weights' name and number of steps, which files of results hold.
"""

from __future__ import annotations

from dataclasses import dataclass

WHAT_IT_MEANS = (
    "Undim then drowned in rounding, under bfloat16, what generated kernels say of the picture: in training, its"
    " kernels were in effect static, with noise. It was measured in float32."
)


@dataclass(frozen=True)
class DrownedRun:
    """A training of which part was in bfloat16."""

    network: str
    iterations: int
    """Of its last run, which results name."""
    part: str
    """What of it was."""


DROWNED_RUNS = (
    DrownedRun("photo", 6053, "both of its runs, and the weights that it started from, were trained in bfloat16"),
    DrownedRun("tiny", 7317, "it was trained in bfloat16"),
    DrownedRun(
        "photo", 1975, "the weights that it started from were trained in bfloat16; its last 1975 steps were in float32"
    ),
    DrownedRun(
        "tiny", 1091, "the weights that it started from were trained in bfloat16; its last 1091 steps were in float32"
    ),
    DrownedRun(
        "photo",
        2119,
        "the weights that it started from go back to ones trained in bfloat16; its last steps, over 15000, were in"
        " float32",
    ),
    DrownedRun(
        "tiny",
        1842,
        "the weights that it started from go back to ones trained in bfloat16; its last 2933 steps were in float32",
    ),
    DrownedRun(
        "lol",
        9413,
        "the first of its two runs, and the weights that it started from, were trained in bfloat16; the last 9413 steps"
        " were in float32",
    ),
)


def find_caution(network: str, iterations: int | None) -> str:
    """What to say of a network that was trained so; empty for others.

    Args:
        network: its name.
        iterations: steps of its training; None where they are not known, as in older figures.
    """
    for run in DROWNED_RUNS:
        if run.network == network and iterations in (None, run.iterations):
            return f"{run.network}, {run.iterations} training steps: {run.part}. {WHAT_IT_MEANS}"
    return ""
