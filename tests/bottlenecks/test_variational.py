import math

import pytest
import torch
from scipy import stats

from narrows.bottlenecks import Identity, Variational
from narrows.distributions import Cauchy, Laplace, Normal, Student

FAMILIES = [Normal(), Laplace(), Cauchy(), Student(3.0)]
REFERENCE = [stats.norm(), stats.laplace(), stats.cauchy(), stats.t(3.0)]


def test_identity_passes_features_and_gradients():
    features = torch.randn(3, 2, 4, requires_grad=True)
    latent = Identity(4)(features)
    assert torch.equal(latent.z, features)
    latent.z.sum().backward()
    assert torch.equal(features.grad, torch.ones_like(features))


@pytest.mark.parametrize(
    ("family", "reference"),
    list(zip(FAMILIES, REFERENCE, strict=True)),
    ids=["normal", "laplace", "cauchy", "student"],
)
def test_training_codes_are_draws_from_the_posterior(family, reference):
    torch.manual_seed(0)
    bottleneck = Variational(2, family).train()
    latent = bottleneck(torch.tensor([[1.5, -2.0, -1.0, 0.7]]).repeat(10_000, 1))
    q = latent.posterior
    standard = ((latent.code - q.loc) / q.scale).detach()
    for j in range(2):
        assert stats.kstest(standard[:, j].numpy(), reference.cdf).pvalue > 0.005


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_eval_codes_are_the_locations(family):
    bottleneck = Variational(3, family).eval()
    features = torch.randn(4, 5, 6)
    latent = bottleneck(features)
    assert torch.equal(latent.code, features[..., :3])
    assert torch.equal(bottleneck.embed(latent.code), latent.z)


def test_heavy_tailed_posteriors_are_squashed_unless_told_otherwise():
    assert Variational(2, Cauchy()).squash
    assert not Variational(2, Laplace()).squash
    with pytest.warns(UserWarning, match="infinite expected squared error"):
        assert not Variational(2, Student(3.0), squash=False).squash


def test_the_mean_squared_error_under_a_squashed_cauchy_settles_down():
    torch.manual_seed(0)
    features = torch.zeros(200_000, 2)
    squashed = Variational(1, Cauchy()).train()(features)
    assert squashed.z.square().mean() < 10  # E asinh(z)^2 is finite
    assert squashed.code.square().mean() > 1e3  # E z^2 is not


@pytest.mark.parametrize(
    ("posterior", "prior", "kl", "message"),
    [
        (Cauchy(), Normal(), None, "infinite"),
        (Cauchy(), Normal(), "monte_carlo", "infinite"),
        (Student(1.5), Normal(), "monte_carlo", "infinite"),
        (Normal(), Cauchy(), "closed", "no closed form"),
        (Student(3.0), Student(3.0), "closed", "no closed form"),
        (Normal(), Normal(), "exact", "must be"),
    ],
)
def test_divergences_that_do_not_exist_are_refused_at_construction(posterior, prior, kl, message):
    with pytest.raises(ValueError, match=message):
        Variational(2, posterior, prior=prior, kl=kl)


@pytest.mark.parametrize("kl", [None, "monte_carlo"])
@pytest.mark.parametrize("family", FAMILIES, ids=repr)
@pytest.mark.parametrize("autocast", [False, True])
def test_features_ten_thousand_times_too_large_keep_everything_finite(family, kl, autocast):
    torch.manual_seed(0)
    bottleneck = Variational(8, family, kl=kl, free_bits=0.1).train()
    prior = bottleneck.default_prior((4,))
    features = (1e4 * torch.randn(64, 4, 16)).to(torch.bfloat16 if autocast else torch.float32)
    features.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        latent = bottleneck(features)
        loss = prior.rate(latent).mean() + latent.terms["free_bits"].mean()
        loss = loss + torch.tanh(latent.z).square().sum()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    loss.backward()
    assert features.grad.isfinite().all()


def test_free_bits_charge_at_least_the_allowance_per_dimension():
    torch.manual_seed(0)
    bottleneck = Variational(3, free_bits=0.2).double().train()
    features = 0.3 * torch.randn(50, 6, dtype=torch.float64)
    features[:, 0] += 3.0  # the first unit is well above its allowance, the others below
    latent = bottleneck(features)
    kl = bottleneck.default_prior(()).divergence(latent.posterior).mean(0)
    assert kl[0] > 0.2 > kl[1:].max()
    charged = bottleneck.default_prior(()).rate(latent).mean() + latent.terms["free_bits"].mean()
    assert torch.isclose(charged, kl.clamp(min=0.2).sum())


def test_free_bits_take_the_pull_towards_the_prior_from_units_below_their_allowance():
    bottleneck = Variational(2, free_bits=0.5).double().train()
    features = torch.tensor([[0.1, 4.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    latent = bottleneck(features)
    (bottleneck.default_prior(()).rate(latent) + latent.terms["free_bits"]).sum().backward()
    assert features.grad[0, 0] == pytest.approx(0.0, abs=1e-12)
    assert features.grad[0, 1] == pytest.approx(4.0)


def test_active_units_are_those_whose_locations_vary():
    torch.manual_seed(0)
    bottleneck = Variational(4).eval()
    features = torch.zeros(1000, 8)
    features[:, 0] = torch.randn(1000)
    features[:, 1] = 0.05 * torch.randn(1000)  # variance 0.0025, below 0.01
    features[:, 2] = 1e4  # constant, however large
    totals = bottleneck(features).stats
    summary = bottleneck.summary(totals, 1000)
    assert (summary["active_units"], summary["units"]) == (1, 4)
    assert bottleneck.advice(summary)[0].startswith("1/4 units active")


def test_a_working_code_gets_no_advice():
    torch.manual_seed(0)
    bottleneck = Variational(4).eval()
    summary = bottleneck.summary(bottleneck(torch.randn(1000, 8)).stats, 1000)
    assert summary["active_units"] == 4
    assert bottleneck.advice(summary) == []


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_the_summary_reports_the_prior_s_rate(family):
    torch.manual_seed(0)
    bottleneck = Variational(3, family).eval()
    latent = bottleneck(torch.randn(2000, 2, 6))
    summary = bottleneck.summary(latent.stats, 2000)
    rate = float(bottleneck.default_prior((2,)).rate(latent).mean())
    # Student has no closed form: 32 fixed nodes against one draw per latent.
    tolerance = 0.05 if isinstance(family, Student) else 1e-5
    assert summary["kl_nats"] == pytest.approx(rate, rel=tolerance)


def test_every_draw_is_scaled_by_the_family():
    bottleneck = Variational(1, Normal(3.0)).eval()
    scale = bottleneck(torch.zeros(1, 2)).posterior.scale
    assert float(scale) == pytest.approx(3.0)
    assert math.isclose(bottleneck.prior.scale, 3.0)
