import math
from itertools import pairwise

import pytest
import torch
from scipy.integrate import quad
from torch.distributions import kl_divergence

from narrows import distributions as divergences
from narrows.distributions import Cauchy, Laplace, Normal

CLOSED = [
    (Normal, Normal, divergences.normal_normal),
    (Laplace, Laplace, divergences.laplace_laplace),
    (Normal, Laplace, divergences.normal_laplace),
    (Laplace, Normal, divergences.laplace_normal),
    (Cauchy, Cauchy, divergences.cauchy_cauchy),
]
IDS = [form.__name__ for _, _, form in CLOSED]
MEMBERS = [(0.0, 1.0, 1.0), (0.7, 0.4, 1.0), (-2.5, 1.3, 0.8), (1.0, 3.0, 2.0)]


def double(value):
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize(("posterior", "prior", "form"), CLOSED, ids=IDS)
@pytest.mark.parametrize(("location", "scale", "width"), MEMBERS)
def test_closed_forms_equal_quadrature(posterior, prior, form, location, scale, width):
    q = posterior().at(double(location), double(scale))
    p = prior(width).standard(double(0.0))

    def integrand(t):  # z = location + scale * tan t turns the line into an interval
        z = double(location + scale * math.tan(t))
        log_q = q.log_prob(z)
        return float(log_q.exp() * (log_q - p.log_prob(z))) * scale / math.cos(t) ** 2

    # Kinks of the Laplace densities are the integration's break points.
    breaks = sorted({0.0, math.atan(-location / scale)})
    ends = [-math.pi / 2, *breaks, math.pi / 2]
    exact = sum(quad(integrand, a, b, epsabs=1e-9, limit=200)[0] for a, b in pairwise(ends))
    assert float(form(double(location), double(scale), prior_scale=width)) == pytest.approx(
        exact, abs=2e-6
    )


@pytest.mark.parametrize(("posterior", "prior", "form"), CLOSED, ids=IDS)
@pytest.mark.parametrize(("location", "scale", "width"), MEMBERS)
def test_closed_forms_lie_within_the_standard_error_of_sampling(
    posterior, prior, form, location, scale, width
):
    torch.manual_seed(0)
    q = posterior().at(double(location), double(scale))
    z = q.sample((100_000,))
    costs = q.log_prob(z) - prior(width).standard(z).log_prob(z)
    error = costs.std() / math.sqrt(len(costs))
    gap = costs.mean() - form(double(location), double(scale), prior_scale=width)
    assert abs(gap) <= 4 * error + 1e-9


@pytest.mark.parametrize(("posterior", "prior", "form"), CLOSED, ids=IDS)
def test_closed_forms_agree_with_torch(posterior, prior, form):
    location = torch.linspace(-5, 5, 21, dtype=torch.float64)[:, None]
    scale = torch.logspace(-2, 1, 7, dtype=torch.float64)
    shape = torch.broadcast_shapes(location.shape, scale.shape)
    location, scale = location.expand(shape), scale.expand(shape)
    expected = kl_divergence(posterior().at(location, scale), prior(1.7).standard(location))
    assert torch.allclose(form(location, scale, prior_scale=1.7), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("posterior", "prior", "form"), CLOSED, ids=IDS)
def test_values_and_gradients_stay_finite_over_ten_orders_of_magnitude(posterior, prior, form):
    location = torch.tensor([0.0, 1e-4, 1.0, 1e4, -1e6])[:, None].repeat(1, 5).requires_grad_()
    scale = torch.tensor([1e-4, 1e-2, 1.0, 1e4, 1e6]).repeat(5, 1).requires_grad_()
    divergence = form(location, scale, prior_scale=1.0)
    assert divergence.isfinite().all()
    assert (divergence >= -1e-6).all()
    divergence.sum().backward()
    assert location.grad.isfinite().all()
    assert scale.grad.isfinite().all()


@pytest.mark.parametrize(("posterior", "prior", "form"), CLOSED, ids=IDS)
def test_gradients_match_finite_differences(posterior, prior, form):
    location = double([0.3, -1.2, 2.0]).requires_grad_()
    scale = double([0.5, 1.5, 0.2]).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, s: form(m, s, prior_scale=1.3), (location, scale))
