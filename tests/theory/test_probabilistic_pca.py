"""A linear model whose likelihood and posterior are known."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

import narrows as nw
from narrows.bottlenecks.variational import SMALLEST_SCALE
from narrows.metrics.likelihood import importance_estimate
from narrows.objectives import ImportanceWeighted

SIGMA = 0.5


@pytest.fixture
def world():
    """The model at its exact posterior, data of it, and their exact log-likelihood."""
    torch.manual_seed(0)
    weight = torch.linalg.qr(torch.randn(6, 2, dtype=torch.float64))[0] * torch.tensor([2.0, 0.7])
    mean = torch.randn(6, dtype=torch.float64)
    x = torch.randn(40, 2, dtype=torch.float64) @ weight.T + mean
    x = x + SIGMA * torch.randn_like(x)
    model = nw.Autoencoder.for_vectors(
        6,
        nw.bottlenecks.Variational(2),
        network=nw.networks.Mlp(()),
        likelihood=nw.likelihoods.Normal(SIGMA),
    ).double()
    # Orthogonal columns: the posterior covariance sigma^2 (W'W + sigma^2)^-1 is diagonal.
    precision = weight.square().sum(0) + SIGMA**2
    scale = SIGMA / precision.sqrt()
    softplus = scale - SMALLEST_SCALE
    with torch.no_grad():
        encoder, decoder = model.encoder[1][0], model.decoder[0][0]
        decoder.weight.copy_(weight)
        decoder.bias.copy_(mean)
        encoder.weight.zero_()
        encoder.weight[:2] = (weight / precision).T
        encoder.bias[:2] = -encoder.weight[:2] @ mean
        encoder.bias[2:] = torch.expm1(softplus).log() - math.log(math.expm1(1 - SMALLEST_SCALE))
    covariance = weight @ weight.T + SIGMA**2 * torch.eye(6, dtype=torch.float64)
    return model, x, MultivariateNormal(mean, covariance).log_prob(x)


def test_the_elbo_equals_the_log_likelihood_at_the_exact_posterior(world):
    model, x, exact = world
    torch.manual_seed(1)
    loss = model.train().loss(x.repeat(20_000 // len(x), 1))
    cost = (loss.nll + loss.rate).detach()
    error = cost.std() / math.sqrt(len(cost))
    assert abs(cost.mean() + exact.mean()) < 4 * error
    assert error < 0.02


def test_any_number_of_draws_gives_the_exact_likelihood_and_full_effective_size(world):
    model, x, exact = world
    for draws in (1, 7, 100):
        estimate = importance_estimate(model, x, draws=draws, chunk=30)
        assert torch.allclose(-estimate.nll, exact, atol=1e-6)
        assert torch.allclose(estimate.effective_sample_size, torch.full_like(exact, draws))


def spoil(model):
    with torch.no_grad():
        model.encoder[1][0].bias[2:] += 0.8  # too wide a posterior
        model.encoder[1][0].bias[0] += 0.3


def test_the_bound_tightens_with_draws_towards_the_likelihood(world):
    model, x, exact = world
    spoil(model)
    gaps = [
        float(
            (importance_estimate(model, x.repeat(50, 1), draws=draws).nll + exact.repeat(50)).mean()
        )
        for draws in (1, 5, 50)
    ]
    assert gaps[0] > 2 * gaps[1] > 8 * gaps[2] > -0.05
    assert abs(gaps[2]) < 0.03


def test_the_training_objective_is_the_same_bound(world):
    model, x, _ = world
    spoil(model)
    model.objective = ImportanceWeighted(5)
    torch.manual_seed(0)
    total = float(model.train().loss(x.repeat(500, 1)).total.detach())
    estimate = importance_estimate(model, x.repeat(500, 1), draws=5)
    assert total == pytest.approx(estimate.mean, abs=0.02)


def test_the_number_of_draws_is_honoured_exactly_and_chunks_change_nothing_else(world):
    model, x, _ = world
    rows = []
    model.decoder.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    importance_estimate(model, x, draws=23, batch_size=10, chunk=7)
    assert sum(rows) == 23 * len(x)
    assert max(rows) == 70  # memory follows the chunk


def test_a_deterministic_code_and_impossible_numbers_are_refused(world):
    model, x, _ = world
    with pytest.raises(ValueError, match="at least 1"):
        importance_estimate(model, x, draws=0)
    plain = nw.Autoencoder.for_vectors(6, nw.bottlenecks.Identity(2))
    with pytest.raises(ValueError, match="deterministic"):
        importance_estimate(plain, x.float(), draws=2)
    with pytest.raises(ValueError, match="expected 2 to"):
        ImportanceWeighted(1)
