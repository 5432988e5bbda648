"""What a few seeds can tell: paired differences with confidence intervals, and the smallest that would be found."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from undim.redundancy.ratios import CONFIDENCE, confidence_interval

POWER = 0.8
CHANCES = 4000
"""Places at which the distribution of a spread is looked at."""


@dataclass(frozen=True)
class Paired:
    """A variant against the base, over the seeds that both have."""

    seeds: tuple[int, ...]
    mean: float
    """Of the differences, variant minus base."""
    spread: float | None
    """Standard deviation of the differences; None for one seed."""
    interval: tuple[float, float] | None
    """95 % confidence interval of the mean, by Student's t; None for one seed, or where all differences are equal: they
    are then of a coarse measure, and tell nothing of the spread."""
    detectable: float | None
    """See `smallest_detectable`; None where the interval is."""

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval is all above or all below zero."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


def compare_pairs(variant: Mapping[int, float], base: Mapping[int, float]) -> Paired | None:
    """Compare seed by seed; None if no seed is in both.

    Args:
        variant: seed -> figure.
        base: seed -> figure.
    """
    seeds = tuple(sorted(variant.keys() & base.keys()))
    if not seeds:
        return None
    differences = [variant[seed] - base[seed] for seed in seeds]
    mean, spread = mean_and_spread(differences)
    if not spread:
        return Paired(seeds, mean, spread, None, None)
    return Paired(seeds, mean, spread, confidence_interval(differences), smallest_detectable(spread, len(seeds)))


def smallest_detectable(spread: float, pairs: int) -> float:
    """The true difference whose 95 % interval would exclude zero in 80 of 100 repetitions of the study.

    Args:
        spread: standard deviation of the differences.
        pairs: how many seeds, at least 2.
    """
    freedom = pairs - 1
    critical = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    # The power, averaged over what the spread may come out as; SciPy's non-central t fails far from zero.
    chances = (np.arange(CHANCES) + 0.5) / CHANCES
    limits = critical * scipy.stats.chi.ppf(chances, freedom) / math.sqrt(freedom)

    def missing(shift: float) -> float:
        return float(np.mean(scipy.stats.norm.sf(limits - shift) + scipy.stats.norm.cdf(-limits - shift))) - POWER

    return float(scipy.optimize.brentq(missing, 0.0, 10 * critical)) * spread / math.sqrt(pairs)


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation, the latter None for one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
