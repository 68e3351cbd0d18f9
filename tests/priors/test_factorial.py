import math

import pytest
import torch
from scipy import stats

from narrows.bottlenecks import Identity, Variational
from narrows.distributions import Cauchy, Laplace, Normal, Student
from narrows.priors import Factorial

FAMILIES = [Normal(2.0), Laplace(0.5), Cauchy(3.0), Student(4.0, 2.0)]


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_samples_follow_the_family(family):
    reference = {
        Normal: stats.norm(scale=2.0),
        Laplace: stats.laplace(scale=0.5),
        Cauchy: stats.cauchy(scale=3.0),
        Student: stats.t(4.0, scale=2.0),
    }[type(family)]
    prior = Factorial((2, 3), 4, family=family)
    code = prior.sample(500, torch.Generator().manual_seed(0))
    assert code.shape == (500, 2, 3, 4)
    assert stats.kstest(code.flatten().numpy(), reference.cdf).pvalue > 0.01


def test_features_of_zero_cost_nothing():
    bottleneck = Variational(5, Laplace(2.0)).eval()
    rate = bottleneck.default_prior((3,)).rate(bottleneck(torch.zeros(4, 3, 10)))
    assert torch.allclose(rate, torch.zeros(4), atol=1e-6)


def test_the_rate_sums_over_sites_and_dimensions():
    bottleneck = Variational(2).double().eval()
    latent = bottleneck(torch.randn(3, 4, 5, 4, dtype=torch.float64))
    prior = bottleneck.default_prior((4, 5))
    q = latent.posterior
    per_dimension = 0.5 * (q.loc**2 + q.scale**2 - 1) - q.scale.log()
    assert torch.allclose(prior.rate(latent), per_dimension.sum((1, 2, 3)))


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_monte_carlo_is_unbiased_for_the_closed_form_or_quadrature(family):
    torch.manual_seed(0)
    bottleneck = Variational(2, family, kl="monte_carlo").double().eval()
    latent = bottleneck(torch.tensor([[0.5, -1.0, 0.3, -1.0]], dtype=torch.float64))
    many = Factorial((), 2, family=family, kl="monte_carlo", draws=50_000).double()
    costs = sum(many.rate(latent) for _ in range(4)) / 4
    q = latent.posterior
    nodes = torch.linspace(-math.pi / 2, math.pi / 2, 400_003, dtype=torch.float64)[1:-1, None]
    z = q.loc + q.scale * nodes.tan()
    weight = (q.log_prob(z).exp() * q.scale / nodes.cos() ** 2).nan_to_num()
    log_ratio = q.log_prob(z) - family.standard(z).log_prob(z)
    exact = (weight * log_ratio).nan_to_num().sum() * (nodes[1] - nodes[0])
    draws = q.sample((200_000,))
    spread = (q.log_prob(draws) - family.standard(draws).log_prob(draws)).sum(-1).std()
    assert abs(costs - exact) < 5 * spread / math.sqrt(200_000)


def test_log_prob_has_the_leading_axes_of_the_code():
    prior = Factorial((2,), 3)
    code = torch.randn(7, 5, 2, 3)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(code).sum((-1, -2))
    assert torch.allclose(prior.log_prob(code), expected)


def test_a_deterministic_code_is_refused_with_the_way_out():
    latent = Identity(3)(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="QuantizedHistogram"):
        Factorial((), 3).rate(latent)


def test_a_closed_form_that_does_not_exist_is_refused():
    latent = Variational(3, Student(3.0))(torch.zeros(2, 6))
    with pytest.raises(ValueError, match="monte_carlo"):
        Factorial((), 3, kl="closed").rate(latent)
