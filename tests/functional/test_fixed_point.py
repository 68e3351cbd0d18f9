"""Sums on the grid have one value whatever their order."""

import pytest
import torch
from torch import nn

from narrows.functional.fixed_point import FIXED, draw, freeze, masses, snap


def test_a_frozen_product_is_the_same_for_any_order_batch_and_thread_count():
    torch.manual_seed(0)
    layer = freeze(nn.Linear(1000, 64))
    x = snap(torch.randn(50, 1000) * 20)
    order = torch.randperm(1000)
    permuted = nn.functional.linear(x[:, order], layer.weight[:, order], layer.bias)
    singles = torch.stack([layer(row[None])[0] for row in x])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = layer(x)
    torch.set_num_threads(threads)
    assert torch.equal(layer(x), permuted)
    assert torch.equal(layer(x), singles)
    assert torch.equal(layer(x), alone)


def test_float64_without_the_grid_does_depend_on_the_order():
    torch.manual_seed(0)
    x, w = torch.randn(50, 1000).double(), torch.randn(1000, 64).double()
    order = torch.randperm(1000)
    assert not torch.equal(x @ w, x[:, order] @ w[order])


def test_tables_agree_with_the_functions_to_the_width_of_the_grid():
    x = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    tolerance = 1.1 * 2**-12  # half a step of x times slope <= 1, and half a step of y
    assert (FIXED.tanh(x) - x.tanh()).abs().max() < tolerance
    assert (FIXED.sigmoid(x) - x.sigmoid()).abs().max() < tolerance
    # x Phi(x) multiplies the table's half step by |x| <= 20 before Phi saturates at |x| = 4.
    assert (FIXED.gelu(x) - nn.functional.gelu(x)).abs().max() < 5 * tolerance
    logits = torch.randn(10, 7, dtype=torch.float64) * 3
    assert (FIXED.softmax(logits) - logits.softmax(-1)).abs().max() < 4 * 2**-12


def test_masses_are_integers_proportional_to_the_exponential_and_zero_only_for_absent_symbols():
    logits = torch.tensor([[0.0, -1.0, -50.0, -torch.inf]])
    weights = masses(logits)
    assert weights.dtype == torch.int64
    assert weights[0, 0] == 2**32
    assert weights[0, 1].item() == pytest.approx(2**32 / 2.718281828459045, rel=1e-6)
    assert weights[0, 2] > 0
    assert weights[0, 3] == 0


def test_draws_follow_the_weights():
    weights = torch.tensor([[1, 0, 3]])
    uniform = torch.linspace(0, 1, 4001, dtype=torch.float64)[:-1]
    drawn = draw(weights.expand(4000, 3), uniform)
    assert torch.bincount(drawn, minlength=3).tolist() == [1000, 0, 3000]


def test_a_weight_too_large_for_the_grid_is_refused():
    layer = nn.Linear(2, 2)
    layer.weight.data[0, 0] = 20.0
    with pytest.raises(ValueError, match="weights below 16"):
        freeze(layer)
