import math

import pytest
import torch

from narrows.functional.score_function import (
    effective_sample_size,
    leave_one_out,
    log_mean_exp,
    score_function_surrogate,
    vimco_signals,
)


def test_the_bound_of_equal_weights_is_their_log_and_far_weights_do_not_overflow():
    equal = torch.full((7, 2), -3000.0, dtype=torch.float64)
    assert torch.allclose(log_mean_exp(equal), torch.full((2,), -3000.0, dtype=torch.float64))
    one = torch.tensor([[0.0], [-1e5]], dtype=torch.float64)
    assert float(log_mean_exp(one)) == pytest.approx(-math.log(2))


def test_the_effective_sample_size_runs_from_one_to_all():
    assert float(effective_sample_size(torch.full((9,), -500.0))) == pytest.approx(9, rel=1e-3)
    one = effective_sample_size(torch.tensor([0.0, -400.0, -400.0]))
    assert float(one) == pytest.approx(1, rel=1e-3)
    weights = torch.rand(20, dtype=torch.float64)
    expected = weights.sum() ** 2 / weights.square().sum()
    assert torch.isclose(effective_sample_size(weights.log()), expected)


def test_a_draw_that_is_like_the_others_has_no_vimco_signal():
    signals = vimco_signals(torch.full((4, 3), -120.0, dtype=torch.float64))
    assert torch.allclose(signals, torch.zeros(4, 3, dtype=torch.float64), atol=1e-9)


def test_vimco_signals_are_those_of_the_paper():
    f = torch.tensor([0.2, 1.5, 0.7], dtype=torch.float64)
    for j in range(3):
        others = [f[i] for i in range(3) if i != j]
        guess = math.sqrt(others[0] * others[1])  # the geometric mean
        expected = math.log(f.mean()) - math.log((others[0] + others[1] + guess) / 3)
        assert float(vimco_signals(f.log()[:, None])[j, 0]) == pytest.approx(expected)


def test_leave_one_out_is_each_cost_less_the_mean_of_the_others():
    cost = torch.randn(5, 3, dtype=torch.float64)
    for j in range(5):
        others = torch.cat([cost[:j], cost[j + 1 :]]).mean(0)
        assert torch.allclose(leave_one_out(cost)[j], cost[j] - others)


@pytest.mark.parametrize("signals", [vimco_signals, leave_one_out])
def test_one_draw_has_nothing_to_be_compared_with(signals):
    with pytest.raises(ValueError, match="2 or more"):
        signals(torch.zeros(1, 4))


def test_a_carrier_is_zero_and_has_the_signal_s_gradient():
    log_q = torch.randn(4, dtype=torch.float64, requires_grad=True)
    signal = torch.randn(4, dtype=torch.float64, requires_grad=True)
    carried = score_function_surrogate(signal, log_q)
    assert torch.equal(carried, torch.zeros(4, dtype=torch.float64))
    carried.sum().backward()
    assert torch.equal(log_q.grad, signal.detach())
    assert signal.grad is None
