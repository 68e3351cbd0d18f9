import math

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import Rounded
from narrows.latent import Latent
from narrows.priors import MovingHistogram
from narrows.testing import check_bottleneck, check_prior


def trained_prior(places, size=21, channels=2, **arguments):
    """A histogram of the given integers `[n, sites, channels]`."""
    prior = MovingHistogram((places.shape[1],), size, channels=channels, **arguments)
    z = torch.zeros(len(places), places.shape[1], 1)
    return prior.fit([Latent(z, places, z)])


def codes_of(scale, n=4000):
    generator = torch.Generator().manual_seed(0)
    return (scale * torch.randn(n, 3, 2, generator=generator) + 10).round().long().clamp(0, 20)


@pytest.mark.parametrize("estimator", ["straight_through", "noise"])
def test_the_contract_holds(estimator):
    check_bottleneck(Rounded(3, step=0.3, estimator=estimator), export=estimator == "noise")


def test_the_priors_contract_holds():
    check_prior(Rounded(3).default_prior((2, 3)), Rounded(3, step=0.5))


def test_probabilities_and_the_density_under_noise_add_up_to_1():
    prior = trained_prior(codes_of(2.0))
    p = prior.log_probs.exp()
    assert torch.allclose(p.sum(1), torch.ones(2, dtype=torch.float64))
    grid = torch.linspace(0, 20, 20 * 500 + 1, dtype=torch.float64)
    density = prior.log_density(grid[:, None].expand(-1, 2)).exp()
    ends = 0.5 * (p[:, 0] + p[:, -1])  # the half cells beyond both ends
    assert torch.allclose(torch.trapezoid(density, grid, dim=0) + ends, torch.ones(2).double())


def test_at_integers_the_density_under_noise_is_their_probability():
    prior = trained_prior(codes_of(1.0))
    places = torch.arange(21, dtype=torch.float64)[:, None].expand(-1, 2)
    assert torch.allclose(prior.log_density(places), prior.log_probs.T, atol=1e-12)


def test_the_rate_under_noise_is_at_least_the_differential_entropy_and_meets_it_where_smooth():
    # -E log p(t + u) >= h(t + u), with equality where p is the density of t + u.
    torch.manual_seed(0)
    for scale, slack in ((4.0, 0.01), (0.05, 1.0)):
        places = scale * torch.randn(60_000, 1, 1, dtype=torch.float64) + 30
        prior = trained_prior(places.round().long(), size=61, channels=1)
        noisy = places + torch.rand_like(places) - 0.5
        rate = -prior.log_density(noisy).mean().item()
        grid = torch.linspace(0, 60, 60_001, dtype=torch.float64)
        normal = torch.distributions.Normal(30.0, scale)
        density = normal.cdf(grid + 0.5) - normal.cdf(grid - 0.5)
        entropy = -torch.trapezoid(torch.xlogy(density, density), grid).item()
        assert entropy - 0.01 <= rate <= entropy + slack


def test_the_gradient_of_the_rate_matches_finite_differences():
    torch.manual_seed(0)
    bottleneck = Rounded(2, step=0.5, reach=10).double().train()
    prior = trained_prior(codes_of(1.5)).double()
    features = torch.randn(5, 3, 2, dtype=torch.float64, requires_grad=True)

    def rate(x):
        torch.manual_seed(1)  # the same noise
        return prior.rate(bottleneck(x)).sum()

    (gradient,) = torch.autograd.grad(rate(features), features)
    direction = torch.randn_like(features)
    ends = [rate(features.detach() + sign * 1e-6 * direction) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / 2e-6
    assert slope.item() == pytest.approx((gradient * direction).sum().item(), rel=1e-5)


def test_in_use_the_rate_is_that_of_the_rounded_numbers():
    torch.manual_seed(0)
    bottleneck, prior = Rounded(2, step=1.0, reach=10).eval(), trained_prior(codes_of(2.0))
    latent = bottleneck(torch.randn(4, 3, 2))
    assert torch.equal(latent.code, (latent.z + 10).long())
    each = prior.log_probs[torch.arange(2), latent.code]
    assert torch.allclose(prior.rate(latent).double(), -each.sum((1, 2)), rtol=1e-6)


def test_the_histogram_follows_what_training_codes_and_forgets():
    bottleneck = Rounded(1, step=1.0, reach=3).train()
    prior = MovingHistogram((), 7, channels=1, decay=0.5)
    for value in (0.0, 0.0, 2.0):
        prior.update([bottleneck(torch.full((2, 1), value)) for _ in range(2)])
    expected = torch.zeros(7).double()
    expected[3], expected[5] = 4 * 0.25 + 4 * 0.5, 4.0
    assert torch.allclose(prior.counts[0], expected)
    prior.requires_grad_(False)
    prior.update([bottleneck(torch.zeros(2, 1))])
    assert torch.allclose(prior.counts[0], expected)


def test_numbers_beyond_reach_are_cut_off_and_reported():
    bottleneck = Rounded(1, step=1.0, reach=3).eval()
    latent = bottleneck(torch.tensor([[100.0], [-100.0], [1.2]]))
    assert latent.z.flatten().tolist() == [3.0, -3.0, 1.0]
    summary = bottleneck.summary(latent.stats, 3)
    assert summary["cut_off"] == pytest.approx(2 / 3)
    assert "larger reach" in bottleneck.advice(summary)[0]


def test_a_silent_code_is_said_to_be_rounded_away():
    bottleneck = Rounded(4).eval()
    summary = bottleneck.summary(bottleneck(torch.zeros(10, 4)).stats, 10)
    assert "0/4 units active" in bottleneck.advice(summary)[0]


@pytest.mark.parametrize(
    "arguments", [{"step": 0.0}, {"reach": 0}, {"step": math.inf}, {"estimator": "rotation"}]
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="Rounded"):
        Rounded(2, **arguments)


@pytest.fixture(scope="module")
def model():
    data = nw.data.load("digits")
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(data.shape, Rounded(2), network=nw.Conv(16))
    nw.fit(model, data, epochs=1, show=False)
    return model, data


def test_a_file_takes_the_bits_that_the_rate_says_and_gives_the_code_back(model):
    model, data = model
    images = data.test.batch(torch.arange(200))
    codec = nw.Codec(model)
    blob = codec.compress(images)
    stated = model.bits(images).sum().item()
    assert 8 * len(blob) - codec.header_bits(blob) == pytest.approx(stated, rel=0.01, abs=64)
    assert torch.equal(codec.codes(blob), model.encode(images))
    assert torch.allclose(codec.decompress(blob), model.reconstruct(images), atol=1e-6)


def test_a_saved_model_codes_alike(model, tmp_path):
    model, data = model
    again = nw.Autoencoder.load(model.save(tmp_path))
    images = data.test.batch(torch.arange(10))
    assert torch.equal(again.encode(images), model.encode(images))
    assert torch.equal(again.bits(images), model.bits(images))


def test_parts_of_a_split_code_each_follow_training():
    split = nw.Split([Rounded(2), nw.VectorQuantizer(8, 2)])
    model = nw.Autoencoder.for_vectors(6, split)
    x = torch.rand(16, 6)
    loss = model.loss(x)
    assert loss.rate is not None
    assert loss.rate.isfinite().all()
    model.update(x, loss)
    assert model.prior.parts[0].counts.sum().item() == 2 * 16


def test_a_layers_prior_follows_its_steps():
    with pytest.raises(ValueError, match="trained along"):
        nw.Layer(Rounded(4))(torch.randn(3, 4))
    bottleneck = Rounded(4)
    layer = nw.Layer(bottleneck, prior=bottleneck.default_prior(()))
    x = torch.randn(3, 4, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=0.1)
    out = layer(x)
    (out.z.square().sum() + out.loss).backward()
    optimizer.step()
    assert layer.prior.counts.sum().item() == 12


def test_training_without_update_is_reminded_of_the_histogram():
    model = nw.Autoencoder.for_vectors(
        2, nw.Rounded(1), network=nw.Mlp(()), likelihood=nw.Normal(1.0)
    ).train()
    x = torch.rand(4, 2)
    for _ in range(99):
        model.loss(x)
    with pytest.warns(UserWarning, match="MovingHistogram: 100 training passes without update"):
        model.loss(x)
