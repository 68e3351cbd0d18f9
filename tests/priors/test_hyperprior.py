import math

import pytest
import torch

import narrows as nw
from narrows.functional.conditionals import follow
from narrows.latent import Latent
from narrows.priors import MeanScaleHyperprior
from narrows.testing import check_bottleneck, check_prior


def prior_of(sites=(4, 4), size=21, channels=2, **options):
    torch.manual_seed(0)
    prior = MeanScaleHyperprior(sites, size, channels=channels, side=1, hidden=8, **options)
    with torch.no_grad():  # away from the start, at which no mean or scale depends on anything
        prior.synthesis.last.weight.normal_(0, 0.3)
        prior.analysis[-1].weight.mul_(20)
    return prior.eval()


def codes_of(prior, n=50, scale=3.0):
    generator = torch.Generator().manual_seed(1)
    shape = (n, *prior.sites, prior.channels)
    y = scale * torch.randn(shape, generator=generator) + prior.middle
    return y.round().long().clamp(0, prior.size - 1)


def latent_of(code, posterior=None):
    z = code.float()
    return Latent(z, code, z, posterior=posterior)


@pytest.mark.parametrize("sites", [(4, 4), (3, 5)])
def test_the_contracts_hold(sites):
    bottleneck = nw.Rounded(2, reach=20, side=1)
    check_prior(bottleneck.default_prior(sites), bottleneck)
    check_prior(prior_of(sites, size=41), nw.Rounded(2, reach=20))
    check_bottleneck(bottleneck, sites, export=False)


def test_probabilities_given_the_side_code_add_up_to_1():
    prior = prior_of()
    mean, log_scale = torch.randn(2, 40, 1).double() * 8
    cells = torch.arange(21).double() - 10
    p = prior._between(cells, mean, log_scale.clamp(-3, 6))
    assert torch.allclose(p.sum(1), torch.ones(40).double())
    normal = torch.distributions.Normal(mean, log_scale.clamp(-3, 6).exp())
    inside = normal.cdf(cells + 0.5) - normal.cdf(cells - 0.5)
    assert torch.allclose(p[:, 1:-1], inside[:, 1:-1], atol=2e-6)


def test_the_rate_is_that_of_both_codes():
    prior = prior_of()
    code = codes_of(prior)
    prior.fit([latent_of(code)])
    side = prior._side_of(code)
    assert side.unique().numel() > 1
    told = prior.side.rate(latent_of(side))
    spent = []

    def record(step):
        p = step.weights.double() / step.weights.sum(-1, keepdim=True)
        spent.append(-p.expand(step.count, -1).gather(1, step.known[:, None]).log().sum().item())
        return step.known

    walked = follow(prior.conditionals(len(code), code), record)
    assert torch.equal(walked, code)
    assert spent[0] == pytest.approx(told.sum().item(), rel=1e-4)
    assert sum(spent) == pytest.approx(prior.rate(latent_of(code)).sum().item(), rel=1e-3)


def test_weights_in_files_do_not_depend_on_the_batch_or_on_threads():
    prior = prior_of()
    code = codes_of(prior, 6)
    found = []
    for rows in (slice(None), slice(0, 1)):
        weights = []

        def record(step, weights=weights):
            weights.append(step.weights)
            return step.known

        follow(prior.conditionals(len(code[rows]), code[rows]), record)
        found.append(weights[1][:16])
    assert torch.equal(*found)


def test_noise_prices_what_integers_cost_where_their_density_is_smooth():
    prior = prior_of()
    code = codes_of(prior, 400)
    prior.fit([latent_of(code)])
    uniform = torch.distributions.Uniform(code - 0.5, code + 0.5)
    hard, noisy = (prior.rate(latent_of(code, q)).mean().item() for q in (None, uniform))
    assert noisy == pytest.approx(hard, rel=0.1)


def test_the_gradient_reaches_features_and_both_networks():
    prior = prior_of().train()
    place = codes_of(prior, 8).float().requires_grad_()
    posterior = torch.distributions.Uniform(place - 0.5, place + 0.5, validate_args=False)
    prior.rate(latent_of(place.detach(), posterior)).sum().backward()
    for tensor in (place, *prior.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    assert place.grad.abs().sum() > 0
    assert prior.analysis[0].weight.grad.abs().sum() > 0


def test_side_code_saves_bits_where_the_scale_varies_from_place_to_place():
    # Each 2 x 2 block has a scale of its own: told, it costs less than one histogram of all.
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)

    def draw(n):
        wide = torch.randint(0, 2, (n, 4, 4, 1), generator=generator).float()
        blocks = (0.3 + 7.7 * wide).repeat_interleave(2, 1).repeat_interleave(2, 2)
        y = blocks * torch.randn(n, 8, 8, 2, generator=generator) + 30
        return latent_of(y.round().long().clamp(0, 60))

    plain = nw.priors.MovingHistogram((8, 8), 61, channels=2).fit([draw(2000)])
    prior = MeanScaleHyperprior((8, 8), 61, channels=2, side=1, hidden=16).train()
    optimizer = torch.optim.AdamW(prior.parameters(), 5e-3)
    for _ in range(260):
        latent = draw(32)
        optimizer.zero_grad()
        prior.loss(latent.code).mean().backward()
        optimizer.step()
        prior.update([latent])
    held_out = draw(500)
    rates = [p.eval().rate(held_out).mean().item() / math.log(2) for p in (plain, prior)]
    assert rates[1] < 0.93 * rates[0]


def test_a_file_of_a_trained_model_is_as_long_as_its_rate_says(tmp_path):
    data = nw.data.load("digits")
    torch.manual_seed(0)
    network = nw.Conv(hidden=8, downsamplings=1)
    model = nw.Autoencoder.for_images(data.shape, nw.Rounded(2, side=1), network=network)
    nw.fit(model, data, epochs=2, batch_size=256, show=False)
    model = nw.Autoencoder.load(model.save(tmp_path / "model"))
    images = data.test.images[:200].float() / 255
    blob = nw.Codec(model).compress(images)
    assert 8 * len(blob) == pytest.approx(model.bits(images).sum().item(), rel=0.02, abs=8 * 96)
    assert torch.equal(nw.Codec(model).decompress(blob), model.reconstruct(images))
    assert model.sample(3).shape == (3, *data.shape)


def test_sites_that_are_no_map_are_refused():
    with pytest.raises(ValueError, match="leave the hyperprior out"):
        nw.Autoencoder.for_vectors(4, nw.Rounded(2, side=1))
