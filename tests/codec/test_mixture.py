"""Bisection under a Gaussian mixture costs what the prior says."""

import numpy as np
import pytest
import torch

from narrows.codec.codes import transfer
from narrows.codec.entropy import Reader, Writer
from narrows.codec.mixture import transfer_mixture
from narrows.latent import Latent
from narrows.priors import GaussianMixture


def latent_of(code):
    return Latent(z=code, code=code, features=code)


@pytest.fixture(scope="module")
def mixture():
    """Three clusters far apart in three correlated dimensions."""
    generator = torch.Generator().manual_seed(0)
    shear = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.3, 0.0], [-0.5, 0.4, 0.2]])
    cluster = torch.randint(3, (4000, 1), generator=generator)
    code = torch.randn(4000, 3, generator=generator) @ shear.T + 6 * cluster
    return GaussianMixture((), 3, components=3).fit([latent_of(code)]), code


class Priced:
    """A channel that adds up -log2 of the probabilities it is shown."""

    writing = True

    def __init__(self):
        self.bits = 0.0

    def each(self, symbols, weights):
        chosen = np.take_along_axis(weights, symbols[:, None], 1)[:, 0]
        self.bits -= np.log2(chosen / weights.sum(1)).sum()
        return symbols

    def alike(self, symbols, weights, m):
        return self.each(symbols, np.broadcast_to(weights, (m, len(weights))))


def test_the_chain_of_halvings_multiplies_to_the_prior(mixture):
    prior, code = mixture
    channel = Priced()
    index = (prior.quantize(code).double() / prior.steps).round().long().numpy()
    transfer_mixture(prior, channel, len(code), index)
    expected = float(prior.rate(latent_of(code)).sum()) / np.log(2)
    assert channel.bits == pytest.approx(expected, rel=1e-5)  # the escape costs 1e-7 bits a value


def test_values_anywhere_are_written_and_come_back(mixture):
    prior, code = mixture
    far = torch.tensor([[0.0, 1e3, -1e5], [1e6, 3.0, 3.0], [6.0, 0.1, 2e3], [-40.0, -40.0, 9.0]])
    code = prior.quantize(torch.cat([code[:50], far]))
    writer = Writer()
    transfer(prior, writer, len(code), code)
    assert torch.equal(transfer(prior, Reader(writer.finish()), len(code), None), code)


def test_a_code_has_the_same_probabilities_whatever_else_is_there(mixture):
    prior, code = mixture
    code = prior.quantize(code[:200])
    writer = Writer()
    for start, stop in ((0, 1), (1, 8), (8, 120), (120, 200)):
        transfer(prior, writer, stop - start, code[start:stop])
    reader = Reader(writer.finish())
    for start, stop in ((0, 1), (1, 8), (8, 120), (120, 200)):
        assert torch.equal(transfer(prior, reader, stop - start, None), code[start:stop])
    whole = Priced()
    index = (code.double() / prior.steps).round().long().numpy()
    transfer_mixture(prior, whole, 200, index)
    parts = [Priced() for _ in range(200)]
    for row, channel in enumerate(parts):
        transfer_mixture(prior, channel, 1, index[row : row + 1])
    assert sum(channel.bits for channel in parts) == pytest.approx(whole.bits, rel=1e-12)
