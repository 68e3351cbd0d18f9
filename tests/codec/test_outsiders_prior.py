"""A prior written outside the package draws, compresses and decompresses by its `conditionals`."""

import math

import pytest
import torch

from narrows.bottlenecks import VectorQuantizer
from narrows.codec import Codec
from narrows.codec.container import overhead
from narrows.codes import Indices
from narrows.functional.conditionals import Conditional
from narrows.priors.base import Prior


class Neighbour(Prior):
    """p(index | index to its left): the same with probability 3/4, else any other."""

    space = Indices

    def __init__(self, sites, size):
        super().__init__(sites)
        self.size = size

    @property
    def codes(self):
        return Indices(self.size)

    def rate(self, latent):
        rows = latent.code.flatten(1)
        same = (rows[:, 1:] == rows[:, :-1]).double()
        nats = -(same * math.log(0.75) + (1 - same) * math.log(0.25 / (self.size - 1)))
        return math.log(self.size) + nats.sum(1)

    def conditionals(self, n, code=None):
        known = [None] * math.prod(self.sites) if code is None else code.flatten(1).unbind(1)
        symbols = [(yield Conditional(torch.ones(self.size), n, known[0]))]
        for place in known[1:]:
            weights = torch.ones(n, self.size, dtype=torch.long)
            weights.scatter_(1, symbols[-1][:, None], 3 * (self.size - 1))
            symbols.append((yield Conditional(weights, n, place)))
        return torch.stack(symbols, 1).view(n, *self.sites)


class Priceless(Prior):
    """Has a rate and draws, and says nothing of how its codes are written."""

    def rate(self, latent):
        return torch.zeros(latent.batch)

    def sample(self, n, generator=None):
        return torch.zeros(n, *self.sites, dtype=torch.long)


@pytest.fixture(scope="module")
def model(train_briefly):
    return train_briefly(VectorQuantizer(6, 4), steps=20)


@pytest.mark.parametrize("lossless", [False, True])
def test_files_hold_the_codes_and_are_as_large_as_the_rate(model, digits, lossless):
    prior = Neighbour(model.sites, 6)
    codec = Codec(model, prior, lossless=lossless)
    x = digits.train.images[:400]
    blob = codec.compress(x)
    if lossless:
        assert torch.equal(codec.decompress(blob), x)
        return
    with torch.no_grad():
        latent = model.latent(x.float() / 255)
    assert torch.equal(codec.codes(blob), latent.code)
    assert codec.decompress(blob).shape == x.shape
    expected = float(prior.rate(latent).sum()) / math.log(2)
    assert abs(8 * (len(blob) - overhead(3)) - expected) <= 0.01 * expected + 64


def test_draws_follow_the_same_walk(model):
    drawn = Neighbour((1, 200), 6).sample(50, torch.Generator().manual_seed(0)).flatten(1)
    same = (drawn[:, 1:] == drawn[:, :-1]).double().mean().item()
    assert same == pytest.approx(0.75, abs=0.02)
    model.prior = Neighbour(model.sites, 6)
    assert model.sample(3).shape == (3, *model.shape)


def test_a_prior_that_does_not_fit_is_refused_before_work_begins_naming_both_sides(model):
    with pytest.raises(TypeError, match=r"0\.\.4\).*the bottleneck makes integer indices \(0\.\.5"):
        Codec(model, Neighbour(model.sites, 5))
    with pytest.raises(TypeError, match=r"on sites \(3, 3\), and the bottleneck makes"):
        Codec(model, Neighbour((3, 3), 6))
    with pytest.raises(TypeError, match="Priceless: it has no `conditionals`"):
        Codec(model, Priceless(model.sites))
