"""Small models of digits, one of each family, briefly trained so that codes are not degenerate."""

import functools

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import Identity, SparseDictionary, TopK, Variational, VectorQuantizer
from narrows.likelihoods import DiscretizedLogisticMixture
from narrows.networks import Conv
from narrows.priors.quantized import QuantizedHistogram


@pytest.fixture(scope="session")
def digits():
    return nw.data.load("digits")


def trained(digits, bottleneck, likelihood=None, steps=40):
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(
        digits.shape, bottleneck, network=Conv(16), likelihood=likelihood
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(steps):
        x = digits.train.batch(torch.arange(64) + 64 * (step % 16))
        loss = model.loss(x)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        model.bottleneck.update([loss.latent])
        model.likelihood.update(x, loss.output.detach())
    return model.eval()


@pytest.fixture(scope="session")
def train_briefly(digits):
    """bottleneck, likelihood, steps -> model of digits."""
    return functools.partial(trained, digits)


@pytest.fixture(scope="session")
def models(digits):
    """Name -> (model, prior): every family, its prior fitted to training codes."""
    from narrows.training import latents

    torch.manual_seed(0)
    every = {
        "vq": VectorQuantizer(32, 8),
        "sparse": SparseDictionary(24, 8, coder=TopK(2)),
        "plain": Identity(4),
        "variational": Variational(4),
    }
    found = {}
    for name, bottleneck in every.items():
        model = trained(digits, bottleneck)
        prior = model.prior
        if name == "variational":
            prior = QuantizedHistogram(prior.sites, 4)
        found[name] = (model, prior.fit(latents(model, digits.train)))
    return found


@pytest.fixture(scope="session")
def variational(digits):
    """A variational model with a likelihood of 8-bit values."""
    return trained(digits, Variational(4), DiscretizedLogisticMixture(3), steps=100)
