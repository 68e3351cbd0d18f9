"""Bisection under a Gaussian mixture costs what the prior says."""

import math

import pytest
import torch

from narrows.codec.entropy import Reader, Writer
from narrows.functional.conditionals import follow
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


def priced(prior, code):
    """-log2 of the product of all probabilities that the walk over a code yields."""
    bits = 0.0

    def spend(step):
        nonlocal bits
        weights = step.weights.double().expand(step.count, -1)
        chosen = weights.gather(1, step.known[:, None])[:, 0]
        bits -= float((chosen / weights.sum(1)).log2().sum())
        return step.known

    follow(prior.conditionals(len(code), code), spend)
    return bits


def test_the_chain_of_halvings_multiplies_to_the_prior(mixture):
    prior, code = mixture
    bits = priced(prior, prior.quantize(code))
    expected = float(prior.rate(latent_of(code)).sum()) / math.log(2)
    assert bits == pytest.approx(expected, rel=1e-5)  # the escape costs 1e-7 bits a value


def test_values_anywhere_are_written_and_come_back(mixture):
    prior, code = mixture
    far = torch.tensor([[0.0, 1e3, -1e5], [1e6, 3.0, 3.0], [6.0, 0.1, 2e3], [-40.0, -40.0, 9.0]])
    code = prior.quantize(torch.cat([code[:50], far]))
    writer = Writer()
    follow(prior.conditionals(len(code), code), writer.put)
    read = follow(prior.conditionals(len(code)), Reader(writer.finish()).take)
    assert torch.equal(read, code)


def test_a_value_outside_the_interval_pays_for_nothing_inside_it(mixture):
    prior, _ = mixture
    far = prior.quantize(torch.tensor([[1e4, -1e4, 1e4]]))
    escape = 26 + 2 * 20  # a side of 2^25, and a distance below 2^20 cells
    assert priced(prior, far) < 3 * escape


def test_a_code_has_the_same_probabilities_whatever_else_is_there(mixture):
    prior, code = mixture
    code = prior.quantize(code[:200])
    writer = Writer()
    for start, stop in ((0, 1), (1, 8), (8, 120), (120, 200)):
        follow(prior.conditionals(stop - start, code[start:stop]), writer.put)
    reader = Reader(writer.finish())
    for start, stop in ((0, 1), (1, 8), (8, 120), (120, 200)):
        read = follow(prior.conditionals(stop - start), reader.take)
        assert torch.equal(read, code[start:stop])
    parts = sum(priced(prior, row[None]) for row in code)
    assert parts == pytest.approx(priced(prior, code), rel=1e-12)
