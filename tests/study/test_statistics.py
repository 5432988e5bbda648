"""Paired comparisons against SciPy's own test, published sample sizes, and simulation."""

import numpy as np
import pytest
from scipy import stats

from undim.study.statistics import compare_pairs, mean_and_spread, smallest_detectable


def test_the_interval_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(0)
    base, variant = rng.normal(20, 1, 5), rng.normal(20.3, 1, 5)
    paired = compare_pairs(dict(enumerate(variant)), dict(enumerate(base)))
    expected = stats.ttest_rel(variant, base).confidence_interval(0.95)
    assert paired.interval == pytest.approx((expected.low, expected.high))
    assert paired.mean == pytest.approx((variant - base).mean())
    assert paired.excludes_zero == (stats.ttest_rel(variant, base).pvalue < 0.05)


def test_only_seeds_of_both_count():
    paired = compare_pairs({0: 1.0, 1: 3.0, 5: 9.0}, {1: 2.0, 0: 0.5, 7: 1.0})
    assert paired.seeds == (0, 1)
    assert paired.mean == pytest.approx(0.75)
    assert compare_pairs({0: 1.0}, {1: 1.0}) is None
    single = compare_pairs({0: 1.5}, {0: 1.0})
    assert (single.mean, single.interval, single.spread, single.detectable) == (0.5, None, None, None)
    assert not single.excludes_zero


@pytest.mark.parametrize(("effect", "pairs"), [(0.5, 34), (0.8, 15), (0.2, 199)])
def test_the_detectable_difference_agrees_with_published_sample_sizes(effect, pairs):
    """Paired t-test, two-sided 5 %, power 80 %: the well-known 199, 34 and 15 pairs for 0.2, 0.5 and 0.8."""
    assert smallest_detectable(1.0, pairs) <= effect < smallest_detectable(1.0, pairs - 1)


def test_the_detectable_difference_is_found_in_four_of_five_simulated_studies():
    rng = np.random.default_rng(1)
    differences = rng.normal(smallest_detectable(0.3, 5), 0.3, (20000, 5))
    found = stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_equal_runs_differ_by_nothing():
    paired = compare_pairs({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0})
    assert (paired.mean, paired.spread, paired.interval, paired.detectable) == (0, 0, None, None)
    assert not paired.excludes_zero
    assert mean_and_spread([2.0]) == (2.0, None)


def test_differences_that_are_all_alike_tell_nothing_of_their_spread():
    """As of a share of four pictures: an interval of no width would exclude zero after two seeds."""
    paired = compare_pairs({0: 50.0, 1: 75.0}, {0: 25.0, 1: 50.0})
    assert (paired.mean, paired.interval) == (25, None)
    assert not paired.excludes_zero
