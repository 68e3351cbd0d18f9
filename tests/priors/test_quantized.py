import math

import pytest
import torch

from narrows.bottlenecks import Identity
from narrows.codec.entropy import Writer
from narrows.functional.conditionals import follow
from narrows.priors import QuantizedHistogram
from narrows.recorded import build, spec


def latents(codes, batch=500):
    bottleneck = Identity(codes.shape[-1])
    return [bottleneck(part) for part in codes.split(batch)]


@pytest.fixture(scope="module")
def fitted():
    torch.manual_seed(0)
    codes = torch.randn(20_000, 2) * torch.tensor([1.0, 5.0]) + torch.tensor([0.0, 100.0])
    return QuantizedHistogram((), 2).fit(latents(codes)), codes


def test_an_unfitted_prior_refuses_to_price_a_continuous_code():
    prior = QuantizedHistogram((), 3)
    code = torch.randn(2, 3)
    with pytest.raises(ValueError, match="infinitely many bits"):
        prior.rate(Identity(3)(code))
    with pytest.raises(ValueError, match="fit"):
        prior.sample(1)
    assert torch.equal(prior.quantize(code), code)


def test_the_rate_of_normal_codes_is_their_differential_entropy_less_the_log_step(fitted):
    prior, _ = fitted
    fresh = torch.randn(20_000, 2) * torch.tensor([1.0, 5.0]) + torch.tensor([0.0, 100.0])
    # h(sigma) - log(sigma / 4), twice; Bennett's approximation is exact to 1e-3 at this step.
    expected = 2 * (0.5 * math.log(2 * math.pi * math.e) + math.log(4))
    assert prior.rate(latents(fresh, 20_000)[0]).mean() == pytest.approx(expected, abs=0.03)


def test_probabilities_sum_to_one_over_the_whole_grid(fitted):
    prior, _ = fitted
    index = torch.arange(-200_000, 200_001, dtype=torch.float64)[:, None].expand(-1, 2)
    total = prior._log_prob(index).exp().sum(0)
    # The escape leaves e/d of its mass beyond d bins.
    assert torch.allclose(total, torch.ones(2, dtype=torch.float64), atol=1e-8)


@pytest.mark.parametrize("value", [1e3, -1e8, 3e38])
def test_every_value_has_a_finite_cost_that_grows_with_its_distance(fitted, value):
    prior, _ = fitted
    near, far = torch.tensor([[0.0, 100.0]]), torch.tensor([[value, 100.0]])
    costs = [float(prior.rate(latents(code)[0])) for code in (near, far)]
    assert math.isfinite(costs[1])
    assert costs[1] > costs[0] + 5


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_far_codes_cost_in_a_file_what_their_rate_says(side):
    torch.manual_seed(0)
    codes = torch.randn(4000, 1) + side * 9000 * (torch.rand(4000, 1) < 0.2)
    prior = QuantizedHistogram((), 1, step=1.0).fit(latents(codes))
    fresh = codes + side * torch.randint(1, 4000, codes.shape) * (codes.abs() > 4500)
    rate = float(prior.rate(latents(fresh, 4000)[0]).sum()) / math.log(2)
    writer = Writer()
    follow(prior.conditionals(len(fresh), prior.quantize(fresh)), writer.put)
    assert 8 * len(writer.finish()) == pytest.approx(rate, abs=70, rel=1e-4)
    below, above = prior.log_escapes[0].exp()
    assert min(below, above) < 1e-4  # no bit for the side
    assert (above if side > 0 else below) == pytest.approx(0.2, abs=0.02)


def test_quantisation_is_idempotent_and_errs_by_at_most_half_a_step(fitted):
    prior, codes = fitted
    once = prior.quantize(codes)
    assert torch.equal(prior.quantize(once), once)
    assert ((once - codes).abs() <= prior.steps.float() / 2 * 1.001 + 1e-5).all()
    assert torch.equal(prior.rate(latents(once, 20_000)[0]), prior.rate(latents(codes, 20_000)[0]))


def test_samples_follow_the_histogram(fitted):
    prior, codes = fitted
    drawn = prior.sample(20_000, torch.Generator().manual_seed(1))
    assert torch.equal(prior.quantize(drawn), drawn)
    rate = prior.rate(latents(drawn, 20_000)[0]).mean()
    assert rate == pytest.approx(float(prior.rate(latents(codes, 20_000)[0]).mean()), abs=0.05)
    low, high = codes.quantile(0.25, 0), codes.quantile(0.75, 0)
    inside = ((drawn > low) & (drawn < high)).float().mean(0)
    assert torch.allclose(inside, torch.full((2,), 0.5), atol=0.06)  # up to the bins at the ends


def test_sites_share_the_histogram_and_their_costs_add_up():
    torch.manual_seed(0)
    codes = torch.randn(100, 2, 3, 4)
    prior = QuantizedHistogram((2, 3), 4, step=0.5).fit(latents(codes))
    whole = prior.rate(latents(codes)[0])
    alone = QuantizedHistogram((), 4, step=0.5).fit(latents(codes.reshape(600, 4), 600))
    parts = alone.rate(latents(codes.reshape(600, 4), 600)[0]).reshape(100, 6).sum(1)
    assert torch.allclose(whole, parts)
    assert prior.sample(5).shape == (5, 2, 3, 4)


def test_a_constant_feature_is_kept_exactly_and_costs_almost_nothing():
    codes = torch.stack([torch.full((1000,), 0.1), torch.randn(1000)], 1)
    prior = QuantizedHistogram((), 2).fit(latents(codes))
    assert torch.equal(prior.quantize(codes)[:, 0], codes[:, 0])
    probability = prior._log_prob(prior._index(codes))[:, 0].exp()
    assert (probability > 0.99).all()


def test_a_fitted_prior_is_restored_from_its_state():
    torch.manual_seed(0)
    codes = torch.randn(300, 2)
    prior = QuantizedHistogram((), 2, fraction=0.5).fit(latents(codes))
    twin = build(spec(prior))
    twin.load_state_dict(prior.state_dict())
    assert torch.equal(twin.rate(latents(codes)[0]), prior.rate(latents(codes)[0]))


def test_integer_codes_and_an_empty_fit_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        QuantizedHistogram((), 2).fit([])
    with pytest.raises(ValueError, match="positive"):
        QuantizedHistogram((), 2, step=0.0)
    prior = QuantizedHistogram((), 2, step=1.0).fit(latents(torch.randn(10, 2)))
    with pytest.raises(ValueError, match="continuous"):
        prior.quantize(torch.zeros(3, 2, dtype=torch.long))
