import math

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import Categorical, Identity, Variational
from narrows.metrics.information import (
    active_units,
    divergence_per_unit,
    unit_variances,
)
from narrows.metrics.likelihood import evidence, importance_estimate


class Pass(torch.nn.Module):
    """An encoder that hands its input on."""

    def forward(self, x):
        return x


def passing(bottleneck):
    """A model whose features are its input."""
    model = nw.Autoencoder.for_vectors(
        bottleneck.in_features,
        bottleneck,
        network=nw.networks.Mlp(()),
        likelihood=nw.likelihoods.Normal(1.0),
    )
    model.encoder = Pass()
    return model.eval()


def logits_of(n, certainty):
    return certainty * torch.eye(n)


def test_unit_variances_are_those_of_the_locations_however_large_their_mean():
    torch.manual_seed(0)
    bottleneck = Identity(3).eval()
    codes = torch.randn(1000, 2, 3) * torch.tensor([1.0, 0.05, 3.0]) + torch.tensor(
        [0.0, 1e4, -5.0]
    )
    latents = [bottleneck(part) for part in codes.split(300)]
    expected = codes.double().reshape(-1, 3).var(0, correction=0)
    assert torch.allclose(unit_variances(latents), expected, rtol=1e-9)
    assert active_units(latents) == 2


def test_divergences_per_unit_add_up_to_the_rate():
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images((1, 8, 8), Variational(4), network=nw.networks.Conv(8)).eval()
    x = torch.rand(30, 1, 8, 8)
    per_unit = divergence_per_unit(model, [model.latent(part) for part in x.split(7)])
    assert per_unit.shape == (4,)
    assert float(per_unit.sum()) == pytest.approx(float(evidence(model, x).rate.mean()), rel=1e-5)


def test_the_evidence_bound_is_the_one_draw_importance_bound_in_the_mean():
    torch.manual_seed(0)
    model = passing(Variational(2))
    x = torch.randn(100, 4)
    bound = -evidence(model, x, draws=100).elbo.mean()
    estimates = [importance_estimate(model, x, draws=1, seed=seed).mean for seed in range(100)]
    assert float(bound) == pytest.approx(sum(estimates) / 100, abs=0.06)


def test_the_rate_in_bits_is_the_rate_in_nats_over_log_two():
    model = passing(Categorical(8))
    result = evidence(model, logits_of(8, 200.0))
    assert result.rate_bits == pytest.approx(3.0)
    assert torch.allclose(result.elbo, -result.nll - 3 * math.log(2))


def test_what_has_no_rate_or_posterior_is_refused():
    plain = passing(Identity(3))
    x = torch.randn(4, 3)
    with pytest.raises(ValueError, match="infinitely many bits"):
        evidence(plain, x)
    with pytest.raises(ValueError, match="at least 1"):
        evidence(passing(Variational(2)), torch.randn(3, 4), draws=0)
    with pytest.raises(TypeError, match="by dimension"):
        divergence_per_unit(passing(Categorical(3)), [])
    with pytest.raises(ValueError, match="at least one latent"):
        active_units([])
