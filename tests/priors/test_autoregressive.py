"""The autoregressive transformer never sees the future, and its cache changes nothing."""

import itertools

import pytest
import torch
from scipy import stats

from narrows.functional.conditionals import follow
from narrows.functional.fixed_point import draw, freeze, masses
from narrows.latent import Latent
from narrows.priors.transformer import AutoregressiveTransformer
from narrows.recorded import build, spec


def latent(code):
    return Latent(z=torch.zeros(code.shape[0], 1), code=code, features=torch.zeros(0))


def make(sites, size, channels=None, seed=0, **kwargs):
    torch.manual_seed(seed)
    prior = AutoregressiveTransformer(
        sites, size, channels=channels, **{"hidden": 16, "depth": 2, "heads": 2} | kwargs
    )
    for weight in prior.parameters():
        weight.data.add_(0.3 * torch.randn_like(weight))
    return prior


def test_each_token_depends_on_every_earlier_token_and_on_no_other():
    prior = make((2, 2), 5, channels=2).double()
    code = torch.randint(5, (1, 2, 2, 2))
    before = prior.logits(code)
    for t in range(8):
        other = code.clone().view(1, 8)
        other[0, t] = (other[0, t] + 1) % 5
        changed = (prior.logits(other.view_as(code)) - before).abs().amax(-1)[0] > 0
        assert torch.equal(changed, torch.arange(8) > t)


@pytest.mark.parametrize(("sites", "channels"), [((2, 2), None), ((), 3), ((2,), 2)])
def test_probabilities_of_all_codes_sum_to_one(sites, channels):
    prior = make(sites, 3, channels).double()
    codes = torch.tensor(list(itertools.product(range(3), repeat=prior.length)))
    shape = (*sites, *((channels,) if channels else ()))
    rate = prior.rate(latent(codes.view(-1, *shape)))
    assert torch.exp(-rate).sum().item() == pytest.approx(1.0, abs=1e-5)
    assert rate.std() > 0.1


@pytest.mark.parametrize("channels", [None, 2])
def test_cached_weights_equal_whole_ones_bit_for_bit(channels):
    prior = make((2, 3), 5, channels)
    code = prior.sample(4, torch.Generator().manual_seed(0))
    symbols = code.flatten(1).unbind(1)
    cached, whole = [], []

    def replay(step):
        cached.append(step.weights)
        return symbols[len(cached) - 1]

    def note(step):
        whole.append(step.weights)
        return step.known

    follow(prior.conditionals(4), replay)
    follow(prior.conditionals(4, code), note)
    assert len(cached) == len(whole) == len(symbols)
    assert all(map(torch.equal, cached, whole))


def test_cached_samples_equal_those_of_whole_sequences_bit_for_bit():
    prior = make((3, 3), 5)
    fast = prior.sample(6, torch.Generator().manual_seed(1))
    exact, generator = freeze(prior), torch.Generator().manual_seed(1)
    slow = torch.zeros(6, 9, dtype=torch.long)
    for t in range(9):
        with torch.no_grad():
            logits = exact.logits(slow.view(6, 3, 3))[:, t]
        slow[:, t] = draw(masses(logits), torch.rand(6, generator=generator, dtype=torch.float64))
    assert torch.equal(fast.flatten(1), slow)


def test_exact_evaluation_costs_next_to_nothing_in_bits():
    prior = make((4, 4), 16)
    code = prior.sample(100, torch.Generator().manual_seed(0))
    exact = torch.nn.functional.cross_entropy(
        freeze(prior).logits(code).flatten(0, 1), code.flatten()
    )
    assert 16 * exact.item() == pytest.approx(prior.rate(latent(code)).mean().item(), rel=2e-3)


def test_samples_follow_the_enumerated_distribution():
    prior = make((3,), 3)
    codes = torch.tensor(list(itertools.product(range(3), repeat=3)))
    p = torch.exp(-prior.rate(latent(codes))).detach().double().numpy()
    drawn = prior.sample(20000, torch.Generator().manual_seed(1))
    counts = torch.bincount(drawn @ torch.tensor([9, 3, 1]), minlength=27).numpy()
    expected = p / p.sum() * 20000
    rare = expected < 5  # too few for the test's approximation: one cell
    cells = [[*x[~rare], x[rare].sum()] for x in (counts, expected)]
    assert stats.chisquare(*cells).pvalue > 1e-3


def test_constructor_arguments_round_trip():
    prior = make((2,), 4, channels=2)
    again = build(spec(prior))
    again.load_state_dict(prior.state_dict())
    code = torch.randint(4, (3, 2, 2))
    assert torch.equal(again.rate(latent(code)), prior.rate(latent(code)))


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="heads dividing width"):
        AutoregressiveTransformer((2,), 4, hidden=10, heads=4)
    with pytest.raises(ValueError, match="at least 2"):
        AutoregressiveTransformer((2,), 1)
