"""The mixture's grid probabilities sum to one and its fits recover what was planted."""

import itertools
import math

import pytest
import torch
from scipy import stats
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from narrows.latent import Latent
from narrows.priors.gaussian_mixture import GaussianMixture, log_interval
from narrows.recorded import build, spec

COVARIANCE = torch.tensor([[1.0, 0.8], [0.8, 2.0]], dtype=torch.float64)


def latent(code, posterior=None):
    return Latent(z=code, code=code, features=code, posterior=posterior)


def correlated(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return noise @ torch.linalg.cholesky(COVARIANCE).T + torch.tensor([1.0, -2.0])


@pytest.mark.parametrize("components", [1, 3])
def test_probabilities_of_all_grid_points_sum_to_one(components):
    prior = GaussianMixture((), 2, components=components, step=0.7).fit([latent(correlated(500))])
    grid = torch.tensor(list(itertools.product(range(-30, 31), repeat=2))).double() * 0.7
    total = torch.exp(-prior.rate(latent(grid))).sum().item()
    assert total == pytest.approx(1.0, abs=1e-9)


def test_the_density_integrates_to_one():
    prior = GaussianMixture((), 2, components=3).fit([latent(correlated(500))])
    axis = torch.linspace(-15, 15, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    total = prior.log_prob(grid).exp().sum().item() * (axis[1] - axis[0]).item() ** 2
    assert total == pytest.approx(1.0, abs=1e-6)


def test_one_component_is_the_gaussian_of_the_data():
    code = correlated(5000)
    prior = GaussianMixture((), 2, components=1, step=1e-3).fit([latent(code)])
    reference = MultivariateNormal(code.mean(0), torch.cov(code.T, correction=0))
    assert torch.allclose(prior.log_prob(code), reference.log_prob(code), atol=1e-4)


def test_small_steps_cost_the_density_times_the_volume():
    code = correlated(2000)
    prior = GaussianMixture((), 2, components=2, step=0.01).fit([latent(code)])
    stored = prior.quantize(code)
    expected = -prior.log_prob(stored) - 2 * math.log(0.01)
    assert torch.allclose(prior.rate(latent(stored)), expected, atol=1e-3)


def test_full_covariances_save_the_mutual_information():
    code, other = correlated(20000), correlated(20000, seed=1)
    prior = GaussianMixture((), 2, components=1, step=0.05).fit([latent(code)])
    alone = [
        GaussianMixture((), 1, components=1, step=0.05).fit([latent(code[:, i : i + 1])])
        for i in range(2)
    ]
    separate = sum(p.rate(latent(other[:, i : i + 1])).mean() for i, p in enumerate(alone))
    information = -0.5 * math.log(1 - 0.8**2 / 2)
    saved = (separate - prior.rate(latent(other)).mean()).item()
    assert saved == pytest.approx(information, abs=0.02)


def test_samples_follow_the_grid_probabilities():
    prior = GaussianMixture((), 2, components=2, step=1.5).fit([latent(correlated(500))])
    drawn = (prior.sample(20000, torch.Generator().manual_seed(0)).double() / 1.5).round().long()
    grid = torch.tensor(list(itertools.product(range(-6, 7), repeat=2)))
    p = torch.exp(-prior.rate(latent(grid.double() * 1.5)))
    counts = (drawn[:, None] == grid).all(2).sum(0).double()
    common = p * 20000 >= 5
    observed = torch.cat([counts[common], (20000 - counts[common].sum())[None]])
    expected = torch.cat([p[common] * 20000, (20000 * (1 - p[common].sum()))[None]])
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_an_aggregate_posterior_fit_has_the_kl_of_the_gaussians():
    location = correlated(4000)
    posterior = Normal(location, torch.full_like(location, 0.5))
    torch.manual_seed(5)  # not the seed that the locations were drawn from
    prior = GaussianMixture((), 2, components=1, draws=64).fit([latent(location, posterior)])
    # The aggregate of N(mu, 1/4) over mu ~ N(m, C) is N(m, C + 1/4).
    aggregate = MultivariateNormal(
        torch.tensor([1.0, -2.0]).double(), COVARIANCE + 0.25 * torch.eye(2)
    )
    joint = Independent(posterior, 1)
    exact = kl_divergence(
        MultivariateNormal(joint.mean, 0.25 * torch.eye(2).double().expand(4000, 2, 2)), aggregate
    )
    rate = prior.rate(latent(location, posterior))
    assert rate.mean().item() == pytest.approx(exact.mean().item(), rel=0.02)


def test_sites_add_up_and_share_parameters():
    code = correlated(600).view(200, 3, 2)
    prior = GaussianMixture((3,), 2, components=2, step=0.5).fit([latent(code)])
    flat = GaussianMixture((), 2, components=2, step=0.5)
    flat.load_state_dict(prior.state_dict())
    each = flat.rate(latent(code.reshape(600, 2))).view(200, 3).sum(1)
    assert torch.allclose(prior.rate(latent(code)), each)
    assert prior.sample(4).shape == (4, 3, 2)


def test_log_interval_agrees_with_scipy_and_survives_the_tails():
    low = torch.tensor([-1.0, 0.0, 5.0, 30.0, -40.0], dtype=torch.float64)
    high = low + 0.5
    found = log_interval(low, high)
    exact = stats.norm.cdf(high[:3].numpy()) - stats.norm.cdf(low[:3].numpy())
    assert torch.allclose(found[:2].exp(), torch.from_numpy(exact[:2]), rtol=1e-12)
    survival = stats.norm.sf(5.0) - stats.norm.sf(5.5)
    assert found[2].exp().item() == pytest.approx(survival, rel=1e-10)
    assert bool(found.isfinite().all())
    assert found[3].item() == pytest.approx(stats.norm.logsf(30.0), rel=1e-3)


def test_priors_round_trip_and_refuse_what_does_not_fit():
    code = correlated(100)
    prior = GaussianMixture((), 2, components=2).fit([latent(code)])
    again = build(spec(prior))
    again.load_state_dict(prior.state_dict())
    assert torch.equal(again.rate(latent(code)), prior.rate(latent(code)))
    with pytest.raises(ValueError, match="fit"):
        GaussianMixture((), 2).sample(1)
    with pytest.raises(ValueError, match="at least 10 codes"):
        GaussianMixture((), 2).fit([latent(code[:3])])
    with pytest.raises(ValueError, match=r"shape \[batch, \*sites, 2\]"):
        prior.rate(latent(torch.zeros(3, 4)))
    random = GaussianMixture((), 2, components=1).fit(
        [latent(code, Normal(code, torch.ones_like(code)))]
    )
    with pytest.raises(ValueError, match="random codes"):
        random.rate(latent(code))


def test_a_component_narrower_than_a_cell_does_not_trust_rounded_values():
    """z_1 is worth nothing in digits that rounding has cut off; the rate stays near 0 bits."""
    generator = torch.Generator().manual_seed(0)
    tight = 0.01 * torch.randn(2000, 1, generator=generator)
    code = torch.cat([tight, tight + 1e-3 * torch.randn(2000, 1, generator=generator)], 1) + 0.3
    prior = GaussianMixture((), 2, components=1, step=0.5).fit([latent(code)])
    nats = prior.rate(latent(code))
    assert float(nats.max()) < 1e-3  # all codes lie in one cell
    fine = GaussianMixture((), 2, components=1, step=1e-5).fit([latent(code)])
    density = -fine.log_prob(fine.quantize(code)) - 2 * math.log(1e-5)
    assert torch.allclose(fine.rate(latent(code)), density, atol=1e-3)
