"""Estimators of discrete gradients against exact gradients by enumeration."""

import itertools
import math

import pytest
import torch
from torch import nn

import narrows as nw
from narrows.bottlenecks import (
    NVIL,
    RLOO,
    Categorical,
    GumbelSoftmax,
    ScoreFunction,
    StraightThrough,
)
from narrows.objectives import ImportanceWeighted

WIDTH = 3


class Quadratic(nn.Module):
    """A decoder whose squared error is quadratic, or with `linear` about linear, in z."""

    def __init__(self, features, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(WIDTH, features, generator=generator).double())

    def forward(self, z):
        return z @ self.weight.T


def make(bottleneck, objective=None):
    torch.manual_seed(0)
    model = nw.Autoencoder.for_vectors(
        WIDTH,
        bottleneck,
        network=nw.networks.Mlp(()),
        likelihood=nw.likelihoods.Normal(0.7),
        objective=objective,
    )
    model.decoder = Quadratic(bottleneck.out_features)
    return model.double().train()


def states(bottleneck, examples=1):
    """All codes, `[states, variables]`."""
    values = itertools.product(range(bottleneck.size), repeat=bottleneck.channels)
    return torch.tensor(list(values))


def exact_gradient(model, x):
    """Gradient of sum_z q(z|x) [-log p(x|z)] + KL for the encoder, by enumeration."""
    bottleneck = model.bottleneck
    logits = model.encoder(x).unflatten(-1, (bottleneck.channels, -1)).log_softmax(-1)
    total = 0.0
    for state in states(bottleneck):
        log_q = logits[0, torch.arange(bottleneck.channels), state].sum()
        nll = -model.likelihood.log_prob(x, model.decoder(bottleneck.embed(state[None]).double()))
        log_p = -bottleneck.channels * math.log(bottleneck.size)
        total = total + log_q.exp() * (nll.sum() + log_q - log_p)
    return flat(torch.autograd.grad(total, list(model.encoder.parameters())))


def flat(gradients):
    return torch.cat([g.flatten() for g in gradients])


def estimates(model, x, repeats=60, draws=300):
    """Independent gradient estimates, each of `draws` examples; `[repeats, parameters]`."""
    rows = []
    for _ in range(repeats):
        loss = model.loss(x.expand(draws, -1)).total
        rows.append(flat(torch.autograd.grad(loss, list(model.encoder.parameters()))))
    return torch.stack(rows)


@pytest.fixture
def x():
    return torch.tensor([[0.3, -0.5, 0.9]], dtype=torch.float64)


@pytest.mark.parametrize(
    "estimator", [ScoreFunction(), NVIL(5), RLOO(2), RLOO(5)], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize(("categories", "variables"), [(2, 5), (4, 2)])
def test_score_function_estimators_are_unbiased(estimator, categories, variables, x):
    model = make(Categorical(categories, variables, estimator=estimator))
    exact = exact_gradient(model, x)
    rows = estimates(model, x)
    directions = torch.randn(6, len(exact), dtype=torch.float64)
    gaps = (rows - exact) @ directions.T
    error = gaps.std(0) / math.sqrt(len(gaps))
    assert (gaps.mean(0).abs() <= 4 * error).all()
    # The test can fail: the exact gradient is many standard errors away from zero.
    assert (rows @ exact).mean() > 20 * (rows @ exact).std() / math.sqrt(len(rows))


def test_baselines_lower_the_variance_at_the_same_number_of_decodings(x):
    def variance(estimator, draws):
        model = make(Categorical(2, 5, estimator=estimator))
        return estimates(model, x, 60, draws).var(0).sum()

    plain = variance(ScoreFunction(), 400)
    assert variance(RLOO(4), 100) < 0.5 * plain
    assert variance(RLOO(8), 50) < 0.5 * plain


def test_a_trained_nvil_baseline_lowers_the_variance(x):
    model = make(Categorical(2, 5, estimator=NVIL(5)))
    before = estimates(model, x, 40).var(0).sum()
    optimizer = torch.optim.Adam(model.bottleneck.parameters(), 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        model.loss(x.expand(50, -1)).total.backward()
        optimizer.step()
    assert estimates(model, x, 40).var(0).sum() < 0.5 * before


def test_the_nvil_baseline_leaves_the_encoder_s_gradient_path_alone(x):
    model = make(Categorical(2, 3, estimator=NVIL(4)))
    torch.manual_seed(1)
    loss = model.loss(x.expand(4, -1))
    loss.total.backward()
    assert all(p.grad.abs().sum() > 0 for p in model.bottleneck.parameters())


@pytest.mark.parametrize(
    "estimator", [None, ScoreFunction(), NVIL()], ids=["rloo", "score", "nvil"]
)
def test_surrogates_add_nothing_to_the_value_of_the_loss(estimator, x):
    model = make(Categorical(3, 2, estimator=estimator))
    loss = model.loss(x.expand(7, -1))
    assert torch.isclose(loss.total, (loss.nll + loss.rate).mean(), rtol=1e-12)
    assert loss.output.shape == (7, WIDTH)


def test_straight_through_is_exact_for_a_cost_linear_in_z(x):
    """E d/dlogits <w, onehot + p - sg p> = <w, dp/dlogits>: no bias without curvature."""
    bottleneck = Categorical(4, 2, estimator=StraightThrough()).double().train()
    logits = torch.randn(1, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, dtype=torch.float64)
    (got,) = torch.autograd.grad(bottleneck(logits).z @ weight, logits)
    expected = logits.unflatten(-1, (2, 4)).softmax(-1).flatten() @ weight
    (exact,) = torch.autograd.grad(expected, logits)
    assert torch.allclose(got, exact)


def test_gumbel_softmax_s_bias_falls_with_the_temperature(x):
    def bias(temperature):
        model = make(Categorical(4, 1, estimator=GumbelSoftmax(temperature, temperature)))
        exact = exact_gradient(model, x)
        mean = estimates(model, x, 60, 2000).mean(0)
        return float((mean - exact).norm() / exact.norm())

    assert bias(0.1) < 0.15 < bias(2.0)


def test_vimco_is_unbiased_for_the_gradient_of_the_multi_sample_bound(x):
    draws = 3
    model = make(Categorical(2, 2, estimator=ScoreFunction()), ImportanceWeighted(draws))
    logits = model.encoder(x).unflatten(-1, (2, -1)).log_softmax(-1)
    log_qs, log_ws = [], []
    for state in states(model.bottleneck):
        log_q = logits[0, torch.arange(2), state].sum()
        z = model.bottleneck.embed(state[None]).double()
        log_qs.append(log_q)
        log_p = model.likelihood.log_prob(x, model.decoder(z)).sum() - 2 * math.log(2)
        log_ws.append(log_p - log_q)
    bound = 0.0
    for tuple_ in itertools.product(range(4), repeat=draws):
        chance = sum(log_qs[i] for i in tuple_).exp()
        bound = bound + chance * (
            torch.stack([log_ws[i] for i in tuple_]).logsumexp(0) - math.log(draws)
        )
    parameters = list(model.parameters())
    exact = flat(torch.autograd.grad(-bound, parameters))
    rows = torch.stack(
        [
            flat(torch.autograd.grad(model.loss(x.expand(300, -1)).total, parameters))
            for _ in range(60)
        ]
    )
    directions = torch.randn(6, len(exact), dtype=torch.float64)
    gaps = (rows - exact) @ directions.T
    assert (gaps.mean(0).abs() <= 4 * gaps.std(0) / math.sqrt(60)).all()
    assert (rows @ exact).mean() > 20 * (rows @ exact).std() / math.sqrt(60)


def test_vimco_refuses_relaxed_draws(x):
    model = make(Categorical(2, 2, estimator=GumbelSoftmax()), ImportanceWeighted(3))
    with pytest.raises(TypeError, match="ScoreFunction"):
        model.loss(x)
