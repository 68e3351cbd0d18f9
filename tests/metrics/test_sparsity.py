"""Sparsity on codes that are sparse, dense, and only heavy-tailed."""

import numpy as np
import pytest
import torch
from scipy import stats

from narrows.metrics.sparsity import excess_kurtosis, hoyer, l0, near_zero


def draws(family, n=200_000):
    """Quantiles at evenly spaced probabilities: a sample without noise."""
    return torch.from_numpy(family.ppf((np.arange(n) + 0.5) / n))[:, None]


def test_hoyer_spans_one_active_entry_to_all_equal():
    assert hoyer(torch.eye(9, dtype=torch.float64)).tolist() == pytest.approx([1.0] * 9)
    assert hoyer(torch.full((1, 9), -0.3, dtype=torch.float64)).item() == pytest.approx(0)
    assert hoyer(torch.zeros(1, 9)).isnan().item()


def test_hoyer_does_not_depend_on_scale_order_or_sign():
    code = torch.tensor([3.0, 1, 0, 0, -2, 0], dtype=torch.float64)
    other = -7 * code[[2, 0, 3, 1, 5, 4]]
    assert hoyer(code).item() == pytest.approx(hoyer(other).item())


def test_kurtosis_is_scipys():
    codes = np.random.default_rng(0).standard_t(6, size=(500, 3))
    np.testing.assert_allclose(excess_kurtosis(torch.from_numpy(codes)), stats.kurtosis(codes))


def test_at_equal_quartiles_laplace_and_cauchy_have_little_more_mass_near_zero_than_normal():
    shares = [near_zero(draws(f)).item() for f in (stats.norm, stats.laplace, stats.cauchy)]
    assert shares == pytest.approx([0.0797, 0.0977, 0.0937], abs=1e-4)


def test_kurtosis_calls_a_cauchy_sparse_and_its_zeros_do_not():
    # The misleading code: heavy tails, no concentration, no exact zero.
    cauchy, laplace = draws(stats.cauchy), draws(stats.laplace)
    assert excess_kurtosis(cauchy).item() > 1000 > excess_kurtosis(laplace).item()
    assert near_zero(cauchy).item() < near_zero(laplace).item()
    assert l0(cauchy).sum().item() == l0(laplace).sum().item() == len(cauchy)


def test_scale_and_shift_do_not_change_the_mass_near_the_median():
    codes = draws(stats.laplace, 1000)
    torch.testing.assert_close(near_zero(5 + 3 * codes), near_zero(codes))
    assert near_zero(torch.zeros(10, 1)).isnan().item()


def test_l0_counts_what_is_above_the_threshold():
    codes = torch.tensor([[0.0, 0.2, -0.5], [0.0, 0.0, 0.0]])
    assert l0(codes).tolist() == [2, 0]
    assert l0(codes, 0.3).tolist() == [1, 0]


def test_hoyer_needs_two_entries():
    with pytest.raises(ValueError, match="at least 2 entries"):
        hoyer(torch.ones(3, 1))
