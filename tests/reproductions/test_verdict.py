"""Verdicts follow from numbers by rule."""

import math

import numpy as np
import pytest
from scipy import stats

from reproductions.verdict import Estimate, holm, judge, p_value, together


def test_an_effect_far_above_its_spread_is_supported_and_its_mirror_image_contradicted():
    values = [1.0, 1.2, 0.9, 1.1, 1.0]
    assert judge(Estimate.over_seeds(values), "above", 0.0) == "supported"
    assert judge(Estimate.over_seeds(values), "below", 0.0) == "contradicted"
    assert judge(Estimate.over_seeds([-v for v in values]), "above", 0.0) == "contradicted"


def test_an_interval_that_holds_the_bound_is_inconclusive():
    estimate = Estimate.over_seeds([1.0, -0.8, 0.3, 0.2, -0.5])
    assert estimate.low < 0 < estimate.high
    assert judge(estimate, "above", 0.0) == judge(estimate, "below", 0.0) == "inconclusive"


def test_the_same_effect_is_settled_by_more_seeds_alone():
    values = [2.0, -0.4, 1.6]
    assert judge(Estimate.over_seeds(values), "above", 0.0) == "inconclusive"
    assert judge(Estimate.over_seeds(values * 4), "above", 0.0) == "supported"


def test_one_value_or_a_diverged_run_settles_nothing():
    assert judge(Estimate.over_seeds([5.0]), "above", 0.0) == "inconclusive"
    assert judge(Estimate.over_seeds([5.0, 5.1, math.nan]), "above", 0.0) == "inconclusive"
    assert judge(Estimate.over_seeds([5.0, 5.1, math.inf]), "above", 0.0) == "inconclusive"


def test_exactly_the_bound_contradicts_a_strict_difference():
    assert judge(Estimate.exact(0.0), "above", 0.0) == "contradicted"
    assert judge(Estimate.exact(0.0), "below", 0.0) == "contradicted"
    assert judge(Estimate.exact(1e-3, error=1e-2), "above", 0.0) == "inconclusive"


def test_the_interval_wrongly_settles_a_true_null_in_at_most_five_percent_of_cases():
    random = np.random.default_rng(0)
    draws = random.normal(size=(2000, 5))
    verdicts = [judge(Estimate.over_seeds(list(row)), "above", 0.0) for row in draws]
    wrong = 1 - verdicts.count("inconclusive") / 2000
    assert abs(wrong - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 2000)


def test_a_share_has_the_exact_binomial_interval():
    for hits, n in ((0, 5), (3, 7), (5, 5)):
        estimate = Estimate.share([i < hits for i in range(n)])
        reference = stats.binomtest(hits, n).proportion_ci(0.95, "exact")
        assert estimate.low == pytest.approx(reference.low)
        assert estimate.high == pytest.approx(reference.high)
    # Five of five is not enough to say "more than half": 0.5^5 = 3 % on one side alone.
    assert judge(Estimate.share([True] * 5), "above", 0.5) == "inconclusive"
    assert judge(Estimate.share([True] * 6), "above", 0.5) == "supported"


def test_a_claim_needs_all_its_hypotheses_and_one_contradiction_refutes_it():
    assert together(["supported", "supported"]) == "supported"
    assert together(["supported", "inconclusive"]) == "inconclusive"
    assert together(["supported", "inconclusive", "contradicted"]) == "contradicted"
    assert together([]) == "not run"


def test_p_is_below_one_in_twenty_exactly_where_the_interval_excludes_the_bound():
    estimate = Estimate.over_seeds([0.3, 0.5, 0.1, 0.4])
    assert p_value(estimate, estimate.low) == pytest.approx(0.05)
    assert p_value(estimate, estimate.low - 1e-3) < 0.05 < p_value(estimate, estimate.low + 1e-3)
    known = stats.ttest_1samp([0.3, 0.5, 0.1, 0.4], 0.05).pvalue
    assert p_value(estimate, 0.05) == pytest.approx(known)


def test_p_of_a_computed_number_is_certain_and_of_an_unknown_one_is_unknown():
    assert p_value(Estimate.exact(1.0, 0.1), 0.5) == 0
    assert p_value(Estimate.exact(1.0, 0.1), 0.95) == 1
    assert math.isnan(p_value(Estimate.over_seeds([1.0]), 0.5))


def test_holm_controls_the_error_of_a_family_and_leaves_unknown_values_out():
    found = holm([0.01, 0.04, math.nan, 0.03])
    assert found == pytest.approx([0.03, 0.06, math.nan, 0.06], nan_ok=True)
    draws = np.random.default_rng(0).uniform(size=(4000, 10))
    wrong = np.mean([min(holm(list(row))) < 0.05 for row in draws])
    assert wrong == pytest.approx(0.05, abs=0.012)  # three standard errors
