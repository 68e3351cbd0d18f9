import itertools
import math

import pytest
import torch

from narrows.codes import Atoms
from narrows.latent import Latent
from narrows.priors import SparseFactorial


def _latent(atoms, values):
    return Latent(z=values, code=Atoms(atoms, values), features=values)


def _fitted(sites=(), size=3):
    prior = SparseFactorial(sites, size=size, step=0.5)
    prior.activation.copy_(torch.tensor([0.2, 0.5, 0.05])[:size])
    prior.ratio.copy_(torch.tensor([0.6, 0.3, 0.8])[:size])
    return prior.double()


def test_probabilities_of_all_codes_sum_to_one():
    prior = _fitted(size=2)
    total = 0.0
    for pair in itertools.product(range(-60, 61), repeat=2):
        values = torch.tensor([pair], dtype=torch.float64) * prior.step
        total += math.exp(-prior.rate(_latent(torch.tensor([[0, 1]]), values)).item())
    # What lies beyond 60 steps: about 0.2 * 0.6**60.
    assert total == pytest.approx(1, abs=1e-10)


def test_value_probabilities_are_those_of_a_laplace_cut_into_bins():
    step, scale = 0.5, 0.8
    prior = SparseFactorial((), size=1, step=step).double()
    prior.activation.fill_(0.25)
    prior.ratio.fill_(math.exp(-step / scale))
    laplace = torch.distributions.Laplace(torch.tensor(0.0).double(), scale)
    outside = 1 - (laplace.cdf(torch.tensor(step / 2)) - laplace.cdf(torch.tensor(-step / 2)))
    for count in (-4, -1, 1, 2, 7):
        edges = (torch.tensor([count - 0.5, count + 0.5]) * step).double()
        mass = laplace.cdf(edges).diff() / outside
        rate = prior.rate(_latent(torch.tensor([[0]]), torch.tensor([[count * step]]).double()))
        assert rate.item() == pytest.approx(-math.log(0.25 * mass.item()), abs=1e-9)


def test_mean_rate_of_own_samples_is_the_entropy():
    prior = _fitted(sites=(2, 3))
    entropy = 0.0
    for pi, r in zip(prior.activation.tolist(), prior.ratio.tolist(), strict=True):
        counts = torch.arange(1, 400, dtype=torch.float64)
        mass = torch.cat([pi * (1 - r) * r ** (counts - 1) / 2] * 2)
        mass = mass[mass > 0]
        entropy += -(mass * mass.log()).sum().item() - (1 - pi) * math.log(1 - pi)
    atoms, values = prior.sample(4000, torch.Generator().manual_seed(0))
    rates = prior.rate(_latent(atoms, values.double()))
    error = rates.std().item() / math.sqrt(len(rates))
    assert abs(rates.mean().item() - 6 * entropy) < 4 * error


def test_fit_recovers_the_parameters_of_what_it_sampled():
    truth = _fitted()
    atoms, values = truth.sample(50_000, torch.Generator().manual_seed(1))
    fitted = SparseFactorial((), size=3, step=0.5).fit(
        _latent(a, v) for a, v in zip(atoms.split(7000), values.split(7000), strict=True)
    )
    # Four standard errors of the rarest atom's frequency and mean.
    torch.testing.assert_close(fitted.activation.double(), truth.activation, atol=0.01, rtol=0)
    torch.testing.assert_close(fitted.ratio.double(), truth.ratio, atol=0.03, rtol=0)


def test_quantize_rounds_and_drops_what_becomes_zero():
    prior = SparseFactorial((), size=9, step=0.5)
    atoms, values = prior.quantize(
        Atoms(torch.tensor([[2, 4, 8]]), torch.tensor([[0.2, -0.7, 0.9]]))
    )
    assert atoms.tolist() == [[4, 8, 0]]
    assert values.tolist() == [[-0.5, 1.0, 0.0]]
    again = prior.quantize(Atoms(atoms, values))
    assert torch.equal(again[0], atoms)
    assert torch.equal(again[1], values)


def test_padding_and_order_cost_nothing():
    prior = _fitted()
    short = prior.rate(_latent(torch.tensor([[1]]), torch.tensor([[1.0]])))
    long = prior.rate(_latent(torch.tensor([[0, 1, 0]]), torch.tensor([[0.0, 1.0, 0.0]])))
    torch.testing.assert_close(short, long)


def test_continuous_values_have_no_rate():
    prior = SparseFactorial((), size=9, step=0.5)
    with pytest.raises(ValueError, match="quantize"):
        prior.rate(_latent(torch.tensor([[2]]), torch.tensor([[0.7]])))


def test_codes_on_other_sites_are_refused():
    with pytest.raises(ValueError, match="sites"):
        _fitted(sites=(4,)).rate(_latent(torch.zeros(1, 3, 1, dtype=int), torch.zeros(1, 3, 1)))


@pytest.mark.parametrize("wrong", [dict(step=0.0), dict(l0=0.0), dict(l0=10.0), dict(size=0)])
def test_impossible_priors_are_refused(wrong):
    with pytest.raises(ValueError):
        SparseFactorial(**{"sites": (), "size": 9, **wrong})


def test_an_empty_batch_has_an_empty_rate():
    prior = _fitted(sites=(2,))
    empty = _latent(torch.zeros(0, 2, 1, dtype=int), torch.zeros(0, 2, 1))
    assert prior.rate(empty).shape == (0,)
    assert prior.sample(0)[0].shape == (0, 2, 1)


def test_fitting_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        SparseFactorial((), size=3).fit([])


def test_codes_that_are_never_negative_pay_nothing_for_signs():
    """Against the same magnitudes with random signs: one bit less for each active value."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 5, (4000, 6), generator=generator).double()
    signs = torch.randint(0, 2, values.shape, generator=generator) * 2 - 1
    atoms = torch.arange(6).expand(4000, -1)

    def bits(values):
        code = Atoms(atoms, values)
        latent = Latent(z=values, code=code, features=values)
        prior = SparseFactorial((), size=6, step=1.0).fit([latent])
        return float(prior.rate(latent).sum()) / math.log(2)

    active = int((values != 0).sum())
    assert bits(values * signs) - bits(values) == pytest.approx(active, rel=0.005)
