"""Walks over symbols: whoever follows one finds the same symbols, at random in proportion."""

import numpy as np
import pytest
import torch
from scipy import stats

from narrows.codec.entropy import Reader, Writer
from narrows.functional.conditionals import Conditional, distances, follow, sampler, within


@pytest.mark.parametrize("weights", [torch.tensor([1, 0, 5, 2]), torch.tensor([0.1, 0, 0.5, 0.2])])
@pytest.mark.parametrize("shared", [True, False])
def test_drawn_symbols_follow_their_weights(weights, shared):
    n = 20_000
    choose = sampler(torch.Generator().manual_seed(0))
    symbols = choose(Conditional(weights if shared else weights.expand(n, -1), n))
    counts = symbols.bincount(minlength=4).numpy()
    assert counts[1] == 0
    expected = np.delete((weights / weights.sum()).double().numpy() * n, 1)
    assert stats.chisquare(np.delete(counts, 1), expected).pvalue > 1e-3


def test_shared_and_repeated_weights_draw_the_same_symbols():
    weights = torch.tensor([3, 1, 4, 1, 5])
    one, other = (
        sampler(torch.Generator().manual_seed(0))(Conditional(given, 500))
        for given in (weights, weights.repeat(500, 1))
    )
    assert torch.equal(one, other)


def test_a_temperature_of_two_takes_the_root_of_the_weights():
    step = Conditional(torch.tensor([1, 16]), 40_000)
    symbols = sampler(torch.Generator().manual_seed(0), temperature=2.0)(step)
    assert symbols.double().mean().item() == pytest.approx(0.8, abs=0.01)


def test_top_k_keeps_the_likeliest_symbols_and_their_proportion():
    step = Conditional(torch.tensor([[3, 9, 1, 6]]).expand(40_000, 4), 40_000)
    symbols = sampler(torch.Generator().manual_seed(0), top_k=2)(step)
    assert symbols.unique().tolist() == [1, 3]
    assert (symbols == 1).double().mean().item() == pytest.approx(0.6, abs=0.01)


def test_numbers_of_any_size_outside_a_range_round_trip():
    weights = torch.tensor([3, 1, 4, 1, 5, 1, 2])
    numbers = torch.tensor([-1, -2, 3, -1000, 5, 0, 6, 7, 12, 2**40 + 12345, -(2**50)])
    writer = Writer()
    written = follow(within(weights, len(numbers), numbers), writer.put)
    read = follow(within(weights, len(numbers)), Reader(writer.finish()).take)
    assert torch.equal(written, numbers)
    assert torch.equal(read, numbers)
    writer = Writer()
    follow(within(weights, len(numbers), numbers, digits=11), writer.put)
    read = follow(within(weights, len(numbers), digits=11), Reader(writer.finish()).take)
    assert torch.equal(read, numbers)


@pytest.mark.parametrize("digits", [0, 3, 11])
def test_a_distance_costs_the_bits_of_its_probability(digits):
    least = 2**digits
    d = torch.cat([least - 1 + torch.arange(1, 300), torch.tensor([12345, 2**30 + 7, 2**45])])
    bits = torch.zeros(len(d), dtype=torch.float64)

    def spend(step):
        weights = step.weights.double().expand(step.count, -1)
        chosen = weights.gather(1, step.known[:, None])[:, 0]
        total = 1.0 if spend.digit < 0 else weights.sum(-1)  # a few lengths are never met
        bits[length > spend.digit] -= (chosen / total).log2()
        spend.digit += 1
        return step.known

    length = d.double().log2().floor()
    spend.digit = -1  # at first the length itself, of all
    assert torch.equal(follow(distances(len(d), d, digits=digits), spend), d)
    assert torch.allclose(bits, (d.double() * (d.double() + 1) / least).log2(), atol=1e-9)
