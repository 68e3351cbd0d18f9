"""Intervals cover what they say they cover."""

import math

import numpy as np
import pytest

from narrows.compare.statistics import interval, paired


def test_the_interval_is_scipys_own():
    from scipy import stats

    values = [0.3, 0.9, 1.1, 0.4, 0.7]
    mean, half = interval(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (mean - half, mean + half) == (pytest.approx(low), pytest.approx(high))


def test_the_interval_covers_the_mean_in_95_of_100_experiments():
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(4000, 5))
    covered = [abs(m - 3.0) <= h for m, h in (interval(row.tolist()) for row in draws)]
    # binomial standard deviation 0.0034; four of them
    assert np.mean(covered) == pytest.approx(0.95, abs=0.014)


def test_one_value_has_no_interval():
    mean, half = interval([2.0])
    assert mean == 2.0
    assert math.isnan(half)


def test_pairing_removes_what_the_seed_does_to_both():
    generator = np.random.default_rng(1)
    seed_effect = generator.normal(0, 10, 5)
    first = seed_effect + generator.normal(0, 0.01, 5)
    second = seed_effect + 1.0 + generator.normal(0, 0.01, 5)
    mean, half = paired(first.tolist(), second.tolist())
    assert mean == pytest.approx(1.0, abs=0.05)
    assert half < 0.05
    assert interval(second.tolist())[1] > 1


def test_what_makes_no_interval_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        interval([])
    with pytest.raises(ValueError, match="every seed"):
        paired([1.0], [1.0, 2.0])
