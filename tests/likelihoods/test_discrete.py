"""The likelihoods of 8-bit and binary data are probabilities: they sum to one."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from narrows.likelihoods import Bernoulli, Categorical256, DiscretizedLogisticMixture

LEVELS = torch.linspace(0, 1, 256, dtype=torch.float64)


def probabilities(likelihood, output):
    """Of all values of a pixel with one channel."""
    return likelihood.log_prob(LEVELS[:, None], output.expand(256, -1)).exp()


@pytest.mark.parametrize("likelihood", [Categorical256(), DiscretizedLogisticMixture(4)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_one_channel_sums_to_one(likelihood, scale):
    torch.manual_seed(0)
    for _ in range(10):
        output = scale * torch.randn(1, likelihood.channels(1), dtype=torch.float64)
        assert probabilities(likelihood, output).sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("likelihood", [Categorical256(), DiscretizedLogisticMixture(4)])
def test_two_channels_sum_to_one(likelihood):
    torch.manual_seed(0)
    output = torch.randn(1, likelihood.channels(2), dtype=torch.float64)
    pairs = torch.cartesian_prod(LEVELS, LEVELS)
    total = likelihood.log_prob(pairs, output.expand(len(pairs), -1)).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-10)


def test_all_colours_of_the_logistic_mixture_sum_to_one():
    # 256^3 colours are too many for a fast test; with narrow logistics the rest holds nothing.
    torch.manual_seed(0)
    likelihood = DiscretizedLogisticMixture(2)
    output = torch.randn(1, 2, 10, dtype=torch.float64)
    output[:, :, 1:4] *= 0.02
    output[:, :, 4:7] = -5 + 0.2 * output[:, :, 4:7]
    near = LEVELS[96:160]
    colours = torch.cartesian_prod(near, near, near)
    total = likelihood.log_prob(colours, output.flatten(1).expand(len(colours), -1)).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-6)


def test_blue_given_red_and_green_sums_to_their_marginal():
    # Over all blues the joint is p(red, green), which over all greens is p(red), a mixture.
    torch.manual_seed(0)
    likelihood = DiscretizedLogisticMixture(3)
    output = torch.randn(1, 3, 10, dtype=torch.float64)
    pairs = torch.cartesian_prod(LEVELS, LEVELS)
    for red in (0, 100, 255):
        colours = torch.cat([LEVELS[red].expand(len(pairs), 1), pairs], 1)
        joint = likelihood.log_prob(colours, output.flatten(1).expand(len(pairs), -1)).exp()
        alone = output[:, :, [0, 1, 4]]  # weights, means and scales of red
        expected = probabilities(likelihood, alone.flatten(1))[red]
        assert joint.sum().item() == pytest.approx(expected.item(), abs=1e-12)


def test_green_depends_on_red_as_in_pixelcnn_plus_plus():
    # One component, no noise to speak of: the mode of green is mean + tanh(slope) * red.
    output = torch.zeros(1, 10, dtype=torch.float64)
    output[:, 4:7] = -7
    output[:, 2], output[:, 7] = 0.25, 0.5
    red = 200
    values = torch.stack([LEVELS[red].expand(256), LEVELS, LEVELS[127].expand(256)], 1)
    best = DiscretizedLogisticMixture(1).log_prob(values, output.expand(256, -1)).argmax().item()
    green = 0.25 + np.tanh(0.5) * (2 * red / 255 - 1)
    assert best == round((green + 1) * 127.5)


@pytest.mark.parametrize("bins", [(0, 0), (1, 128), (255, 255)])
def test_the_mass_of_a_level_is_a_difference_of_logistic_distribution_functions(bins):
    level = bins[1]
    mean, log_scale = 0.3, -1.5
    output = torch.tensor([[0.0, mean, log_scale]], dtype=torch.float64)
    ours = probabilities(DiscretizedLogisticMixture(1), output)[level].item()
    logistic = stats.logistic(mean, np.exp(log_scale))
    lower = -np.inf if level == 0 else (2 * level - 1) / 255 - 1
    upper = np.inf if level == 255 else (2 * level + 1) / 255 - 1
    assert ours == pytest.approx(logistic.cdf(upper) - logistic.cdf(lower), rel=1e-9)


@pytest.mark.parametrize("likelihood", [Categorical256(), DiscretizedLogisticMixture(3)])
def test_samples_of_one_channel_follow_the_probabilities(likelihood):
    torch.manual_seed(0)
    output = 1.5 * torch.randn(1, likelihood.channels(1), dtype=torch.float64)
    n = 20000
    draws = likelihood.sample(output.expand(n, -1), generator=torch.Generator().manual_seed(0))
    counts = np.bincount((draws * 255).round().long().flatten().numpy(), minlength=256)
    expected = n * probabilities(likelihood, output).numpy()
    few = expected < 5
    counts = np.append(counts[~few], counts[few].sum())
    expected = np.append(expected[~few], expected[few].sum())
    assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3


def test_colours_drawn_have_the_entropy_of_the_density():
    # E[-log p(x)] over draws equals the entropy found by enumeration of the narrow support.
    torch.manual_seed(1)
    likelihood = DiscretizedLogisticMixture(2)
    output = torch.randn(1, 2, 10, dtype=torch.float64)
    output[:, :, 1:4] *= 0.02
    output[:, :, 4:7] = -5 + 0.2 * output[:, :, 4:7]
    output[:, :, 7:] *= 3
    output = output.flatten(1)
    near = LEVELS[96:160]
    colours = torch.cartesian_prod(near, near, near)
    log_p = likelihood.log_prob(colours, output.expand(len(colours), -1))
    entropy = -(log_p.exp() * log_p).sum().item()
    n = 20000
    draws = likelihood.sample(output.expand(n, -1), generator=torch.Generator().manual_seed(0))
    costs = -likelihood.log_prob(draws, output.expand(n, -1))
    assert costs.mean().item() == pytest.approx(entropy, abs=5 * costs.std().item() / n**0.5)
    mean = (log_p.exp()[:, None] * colours).sum(0)
    torch.testing.assert_close(likelihood.mean(output)[0], mean, atol=0.5 / 255, rtol=0)


def test_draws_of_discrete_likelihoods_are_levels():
    torch.manual_seed(0)
    for likelihood in (Categorical256(), DiscretizedLogisticMixture(3)):
        draws = likelihood.sample(torch.randn(4, likelihood.channels(3), 5, 5))
        torch.testing.assert_close(draws * 255, (draws * 255).round(), atol=1e-4, rtol=0)
        assert 0 <= draws.min() <= draws.max() <= 1


def test_a_uniform_categorical_costs_eight_bits_a_dimension():
    nats = -Categorical256().log_prob(torch.rand(1, 3, 4, 4), torch.zeros(1, 768, 4, 4))
    assert nats.item() / np.log(2) == pytest.approx(8 * 48, rel=1e-6)


def test_the_channels_of_the_categorical_are_grouped_by_colour():
    output = torch.zeros(1, 2, 256)
    output[0, 1, 7] = 100.0
    mean = Categorical256().mean(output.flatten(1))
    torch.testing.assert_close(mean, torch.tensor([[0.5, 7 / 255]]))


def test_bernoulli_sums_to_one_over_all_binary_images():
    torch.manual_seed(0)
    output = torch.randn(1, 1, 3, 3, dtype=torch.float64)
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9)), dtype=torch.float64)
    log_p = Bernoulli().log_prob(images.reshape(-1, 1, 3, 3), output.expand(512, -1, -1, -1))
    assert log_p.exp().sum().item() == pytest.approx(1)


def test_bernoulli_is_not_normalised_over_grey_values_unless_it_binarises_them():
    output = torch.full((256, 1), 0.7, dtype=torch.float64)
    grey = Bernoulli().log_prob(LEVELS[:, None], output).exp()
    assert grey.sum().item() > 100  # far from 1, as the docstring warns
    binary = Bernoulli(binarize=True).log_prob(LEVELS[:, None], output).exp()
    one = torch.tensor(0.7, dtype=torch.float64).sigmoid()
    torch.testing.assert_close(binary[:128], (1 - one).expand(128))
    torch.testing.assert_close(binary[128:], one.expand(128))  # 128/255 is above one half
