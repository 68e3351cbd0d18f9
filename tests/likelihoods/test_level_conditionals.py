"""The tables that pixels are coded under are the likelihood, factor by factor."""

import itertools
import math

import pytest
import torch

from narrows.functional.conditionals import follow
from narrows.likelihoods import Categorical256, DiscretizedLogisticMixture


def nats(likelihood, output, levels):
    """-log of the product of the tables' probabilities at the levels, in all."""
    total = 0.0

    def note(step):
        nonlocal total
        chosen = step.weights.gather(1, step.known[:, None])[:, 0]
        total -= float((chosen / step.weights.sum(1)).log().sum())
        return step.known

    assert torch.equal(follow(likelihood.level_conditionals(output, levels), note), levels)
    return total


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("components", [1, 4])
def test_the_tables_of_a_logistic_mixture_multiply_to_its_likelihood(channels, components):
    """With three channels this is the belief about the component, updated colour by colour."""
    likelihood = DiscretizedLogisticMixture(components)
    generator = torch.Generator().manual_seed(0)
    shape = (4, likelihood.channels(channels), 5, 3)
    # Wide logistics: a level below 2^-32 would cost 32 bits in place of its due.
    output = 0.3 * torch.randn(shape, generator=generator)
    levels = torch.randint(256, (4, channels, 5, 3), generator=generator)
    levels[0, :, 0] = 0
    levels[1, :, 0] = 255
    expected = -likelihood.log_prob(levels.double() / 255, output.double()).sum()
    assert nats(likelihood, output.double(), levels) == pytest.approx(float(expected), rel=1e-6)


def test_the_belief_about_a_colour_follows_bayes_rule():
    """Enumeration of p(green | red) from the joint of two colours, both sides from log_prob."""
    likelihood = DiscretizedLogisticMixture(3)
    output = torch.randn(1, 30, 1, 1, generator=torch.Generator().manual_seed(1)).double()
    grid = torch.arange(256)
    # p(red, green, blue) with blue summed out by the tables: its table sums to 1 by itself.
    pairs = torch.tensor([*itertools.product([40, 200], range(256))])
    joint = []
    for red, green in pairs.tolist():
        colours = torch.stack([torch.full((256,), red), torch.full((256,), green), grid], dim=1)
        x = colours.view(256, 3, 1, 1).double() / 255
        log_prob = likelihood.log_prob(x, output.expand(256, -1, -1, -1))
        joint.append(float(log_prob.logsumexp(0)))
    joint = torch.tensor(joint).view(2, 256)
    expected = joint - joint.logsumexp(1, keepdim=True)
    for row, red in enumerate((40, 200)):
        tables = []

        def note(step, tables=tables):
            tables.append(step.weights / step.weights.sum(1, keepdim=True))
            return step.known

        levels = torch.tensor([red, 7, 9]).view(1, 3, 1, 1)
        follow(likelihood.level_conditionals(output, levels), note)
        green = tables[1][0]
        assert torch.allclose(green, expected[row].exp().double(), rtol=1e-4, atol=1e-8)


def test_the_tables_of_256_classes_are_the_likelihood():
    likelihood = Categorical256()
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(2, likelihood.channels(3), 2, 2, generator=generator).double()
    levels = torch.randint(256, (2, 3, 2, 2), generator=generator)
    expected = -likelihood.log_prob(levels.double() / 255, output).sum()
    assert nats(likelihood, output, levels) == pytest.approx(float(expected), rel=1e-6)
    assert math.isfinite(float(expected))


@pytest.mark.parametrize("log_scale", [-4.0, -2.0, -1.0, 0.5])
def test_the_mean_of_a_colour_is_that_of_all_colours_weighed(log_scale):
    """Enumeration of red and green, and blue's table given both."""
    likelihood = DiscretizedLogisticMixture(1)
    generator = torch.Generator().manual_seed(2)
    output = torch.randn(6, 10, 1, 1, generator=generator)
    output[:, 4:7] = log_scale
    output[:, 7:] *= 2
    for one in output.double():
        means, scales, slopes = one[1:4, 0, 0], one[4:7, 0, 0].exp(), one[7:, 0, 0].tanh()
        levels = torch.arange(256).double()
        value, edges = levels / 127.5 - 1, (levels[1:] - 0.5) / 127.5 - 1

        def table(mean, scale, edges=edges):
            below = torch.nn.functional.pad(((edges - mean[..., None]) / scale).sigmoid(), (1, 0))
            return torch.nn.functional.pad(below, (0, 1), value=1.0).diff(dim=-1)

        red = table(means[0], scales[0])
        green = red[:, None] * table(means[1] + slopes[0] * value, scales[1])
        centre = means[2] + slopes[1] * value[:, None] + slopes[2] * value
        # The mean of whole numbers from 0 is the sum of the chances to reach each next one.
        reached = ((centre[..., None] - edges) / scales[2]).sigmoid_().sum(-1)
        blue = green * reached
        expected = torch.stack([(red * levels).sum(), (green * levels).sum(), blue.sum()]) / 255
        found = likelihood.mean(one[None].float())[0, :, 0, 0]
        assert (found - expected).abs().max() < 0.8 / 255
