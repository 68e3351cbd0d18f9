import math

import pytest
import torch
from scipy import stats

from narrows.bottlenecks import SpikeAndSlab, Variational
from narrows.distributions import SpikeSlab
from narrows.priors import SpikeAndSlabPrior


def double(value):
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize(
    ("logit", "location", "scale"), [(0.3, 0.7, 0.4), (-2.0, -1.5, 1.3), (3.0, 0.0, 2.0)]
)
def test_the_closed_divergence_equals_quadrature_over_both_components(logit, location, scale):
    activity, width = 0.3, 1.4
    prior = SpikeAndSlabPrior((), 1, activity=activity, scale=width)
    q = SpikeSlab(double(logit), double(location), scale=double(scale))
    gate = 1 / (1 + math.exp(-logit))
    z = torch.linspace(-40, 40, 400_001, dtype=torch.float64)
    p = torch.distributions.Normal(double(0.0), double(width))
    slab = torch.distributions.Normal(double(location), scale=double(scale))
    density = slab.log_prob(z).exp()
    ratio = math.log(gate / activity) + slab.log_prob(z) - p.log_prob(z)
    exact = gate * torch.trapezoid(density * ratio, z)
    exact = exact + (1 - gate) * math.log((1 - gate) / (1 - activity))
    assert float(prior.divergence(q)) == pytest.approx(float(exact), rel=1e-9)


def test_the_closed_divergence_lies_within_the_standard_error_of_sampling():
    torch.manual_seed(0)
    prior = SpikeAndSlabPrior((), 1, activity=0.2)
    n = 200_000
    ones = torch.ones(n, 1, dtype=torch.float64)
    q = SpikeSlab(0.5 * ones, 0.8 * ones, scale=0.6 * ones)
    code = q.sample()
    costs = q.log_prob(code).sum(1) - prior.log_prob(code)
    gap = costs.mean() - prior.divergence(q)[0, 0]
    assert abs(gap) < 4 * costs.std() / math.sqrt(n)


def test_draws_hold_exact_zeros_as_often_as_the_gates_say_and_normal_values():
    torch.manual_seed(0)
    bottleneck = SpikeAndSlab(1, activity=0.5).train()
    features = torch.tensor([[1.0, 0.3, -0.4]]).repeat(20_000, 1)
    latent = bottleneck(features)
    zeros = int((latent.z == 0).sum())
    gate = float(torch.tensor(-0.4).sigmoid())
    assert stats.binomtest(20_000 - zeros, 20_000, gate).pvalue > 0.01
    values = latent.z[latent.z != 0].detach()
    standard = (values - 1.0) / latent.posterior.scale[0, 0].detach()
    assert stats.kstest(standard.numpy(), stats.norm.cdf).pvalue > 0.01


def test_prior_samples_are_active_as_often_as_stated():
    code = SpikeAndSlabPrior((3,), 4, activity=0.25).sample(3000, torch.Generator().manual_seed(0))
    assert code.shape == (3000, 3, 4)
    assert stats.binomtest(int((code != 0).sum()), code.numel(), 0.25).pvalue > 0.01


def test_features_of_zero_cost_nothing_and_open_gates_cost_a_normal_and_the_gate():
    bottleneck = SpikeAndSlab(2, activity=0.2).double().eval()
    prior = bottleneck.default_prior(())
    assert float(prior.rate(bottleneck(torch.zeros(1, 6).double()))) == pytest.approx(0, abs=1e-12)
    features = torch.tensor([[1.0, -0.5, 0.2, 0.3, 60.0, 60.0]], dtype=torch.float64)
    normal = Variational(2).double().eval()
    expected = normal.default_prior(()).rate(normal(features[:, :4])) + 2 * math.log(5)
    assert torch.allclose(prior.rate(bottleneck(features)), expected)


def test_eval_opens_the_gates_that_x_raises_above_the_prior():
    bottleneck = SpikeAndSlab(2, activity=0.1).eval()
    latent = bottleneck(torch.tensor([[3.0, 4.0, 0.0, 0.0, 0.5, -0.5]]))
    assert latent.posterior.logits.sigmoid().max() < 0.5  # neither is more likely open than not
    assert latent.code.tolist() == [[3.0, 0.0]]


def test_the_relaxed_gradient_is_near_the_exact_one_for_a_smooth_cost():
    """E f(z) = g E f(slab) + (1 - g) f(0); the gate's derivative is known."""
    torch.manual_seed(0)
    bottleneck = SpikeAndSlab(1, activity=0.5, temperature=0.3).double().train()
    features = torch.tensor([[1.0, -3.0, 0.2]], dtype=torch.float64, requires_grad=True)
    z = bottleneck(features.expand(200_000, 3)).z
    (got,) = torch.autograd.grad((z - 0.8).square().mean(), features)
    scale = bottleneck(features).posterior.scale[0, 0]
    gate = features[0, 2].sigmoid()
    exact = gate * ((features[0, 0] - 0.8).square() + scale.square()) + (1 - gate) * 0.8**2
    (expected,) = torch.autograd.grad(exact, features)
    assert got[0, 0] == pytest.approx(float(expected[0, 0]), rel=0.03)  # the slab's is exact
    assert got[0, 2] * expected[0, 2] > 0  # the gate's has the right sign


@pytest.mark.parametrize("autocast", [False, True])
def test_features_ten_thousand_times_too_large_keep_everything_finite(autocast):
    torch.manual_seed(0)
    bottleneck = SpikeAndSlab(4).train()
    features = (1e4 * torch.randn(32, 12)).to(torch.bfloat16 if autocast else torch.float32)
    features.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        latent = bottleneck(features)
        loss = bottleneck.default_prior(()).rate(latent).sum() + latent.z.square().sum()
    assert loss.isfinite()
    loss.backward()
    assert features.grad.isfinite().all()


def test_l0_is_the_mean_number_of_values_other_than_zero_in_drawn_codes():
    torch.manual_seed(0)
    bottleneck = SpikeAndSlab(3, activity=0.4)
    features = torch.randn(5000, 2, 9)
    latent = bottleneck.eval()(features)
    summary = bottleneck.summary(latent.stats, 5000)
    drawn = (latent.posterior.sample() != 0).double().sum(-1)
    assert summary["l0"] == pytest.approx(float(drawn.mean()), abs=4 * float(drawn.std()) / 100)
    assert summary["active_units"] == 3
    assert bottleneck.advice(summary) == []


def test_collapse_is_said():
    bottleneck = SpikeAndSlab(8).eval()
    summary = bottleneck.summary(bottleneck(torch.zeros(4, 24)).stats, 4)
    assert "0/8 units" in bottleneck.advice(summary)[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: SpikeAndSlab(2, 0.0),
        lambda: SpikeAndSlab(2, 0.1, temperature=0.0),
        lambda: SpikeAndSlabPrior((), 2, activity=1.0),
    ],
)
def test_meaningless_arguments_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()
