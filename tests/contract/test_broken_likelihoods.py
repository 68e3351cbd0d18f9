"""An honest likelihood passes the contract; each way of breaking it is caught by its rule."""

import math

import pytest
import torch
from torch import nn

import narrows as nw
from narrows.testing import ContractError, check_likelihood


class Honest(nw.Likelihood):
    """Laplace about the output; its scale is a running mean of the absolute error."""

    def __init__(self, scale: float = 0.3) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("running", torch.tensor(scale))

    def log_prob(self, x, output):
        x, output = self._check(x, output)
        scale = self.running.to(x)
        return -((x - output).abs() / scale + (2 * scale).log()).flatten(1).sum(1)

    def mean(self, output):
        return output

    def sample(self, output, generator=None):
        uniform = torch.empty_like(output).uniform_(-0.5, 0.5, generator=generator)
        return output - self.running * uniform.sign() * (1 - 2 * uniform.abs()).log()

    def update(self, x, output):
        if len(x):
            self.running.lerp_((x - output).abs().mean().to(self.running), 0.1)


class HonestLevels(nw.likelihoods.Categorical256):
    """The 256 levels, as the library has them."""


def test_honest_likelihoods_pass():
    check_likelihood(Honest())
    check_likelihood(Honest(), shape=(5,))
    check_likelihood(HonestLevels(), shape=(1, 2, 2))


class SumsOverTheBatch(Honest):
    def log_prob(self, x, output):
        return super().log_prob(x, output).sum(0, keepdim=True)


class Broadcasts(Honest):
    def _check(self, x, output):
        return x, output


class LearnsWhenAsked(Honest):
    def log_prob(self, x, output):
        if self.training:
            self.update(x, output)
        return super().log_prob(x, output)


class DividesByNoExamples(Honest):
    def update(self, x, output):
        self.running.lerp_((x - output).abs().mean(), 0.1)


class UsesTheBatch(Honest):
    def log_prob(self, x, output):
        if self.training:
            x = x - x.mean(0, keepdim=True)
        return super().log_prob(x, output)


class Unnormalised(Honest):
    """Squared error called a log-likelihood."""

    def log_prob(self, x, output):
        x, output = self._check(x, output)
        return -(x - output).square().flatten(1).sum(1)


class SamplesAnotherWidth(Honest):
    def sample(self, output, generator=None):
        return output + 1.1 * (super().sample(output, generator) - output)


class MedianForMean(HonestLevels):
    """The likeliest level in place of the expected one."""

    def mean(self, output):
        return self._logits(output).argmax(1).to(output) / 255


class DimensionsDrawnTogether(Honest):
    """The same noise in every dimension: right one by one, wrong together."""

    def sample(self, output, generator=None):
        first = output[:, :1] if output.dim() == 2 else output[:, :1, :1, :1]
        return output + (super().sample(first, generator) - first)


class Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx, output):
        return output.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class WrongGradient(Honest):
    def log_prob(self, x, output):
        return super().log_prob(x, Cut.apply(output))


class HalfPrecision(Honest):
    def _check(self, x, output):
        x, output = super()._check(x, output)
        if torch.is_autocast_enabled("cpu"):
            return x.bfloat16(), output.bfloat16()
        return x, output


class IgnoresTheGenerator(Honest):
    def sample(self, output, generator=None):
        return super().sample(output)


class ForgetsState(Honest):
    def __init__(self, scale: float = 0.3) -> None:
        super().__init__(scale)
        del self.running
        self.running = torch.tensor(scale)

    def update(self, x, output):
        self.running = self.running * 1.1


class TakesAnything(HonestLevels):
    def log_prob(self, x, output):
        return super().log_prob(x.clamp(0, 1), output)


@pytest.mark.parametrize(
    ("mutant", "rule"),
    [
        (SumsOverTheBatch, "shapes_agree"),
        (Broadcasts, "refuses_what_does_not_fit"),
        (TakesAnything, "refuses_what_does_not_fit"),
        (LearnsWhenAsked, "use_changes_no_state"),
        (DividesByNoExamples, "update_is_self_contained"),
        (UsesTheBatch, "examples_are_independent"),
        (Unnormalised, "probabilities_sum_to_one"),
        (SamplesAnotherWidth, "samples_follow_the_density"),
        (MedianForMean, "mean_is_the_expectation"),
        (DimensionsDrawnTogether, "samples_follow_the_joint_density"),
        (WrongGradient, "gradient_is_exact"),
        (HalfPrecision, "half_precision_is_computed_in_float32"),
        (IgnoresTheGenerator, "samples_repeat_with_the_generator"),
        (ForgetsState, "state_can_be_saved"),
    ],
)
def test_each_broken_likelihood_is_caught_by_its_rule(mutant, rule):
    with pytest.raises(ContractError, match=f"^{rule}:"):
        check_likelihood(mutant())


class Beta(nw.Likelihood):
    """A density on [0, 1] whose ends may be infinite: Beta(exp(output), 2)."""

    def log_prob(self, x, output):
        x, output = self._check(x, output)
        return self.at(output).log_prob(x.clamp(1e-30, 1 - 1e-15)).flatten(1).sum(1)

    def at(self, output):
        return torch.distributions.Beta(output.exp() + 0.5, torch.tensor(2.0), validate_args=False)

    def mean(self, output):
        return self.at(output).mean

    def sample(self, output, generator=None):
        if generator is None:
            return self.at(output).sample()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator.initial_seed())
            return self.at(output).sample()


class Exponential(Honest):
    """A density on [0, inf)."""

    def log_prob(self, x, output):
        x, output = self._check(x, output)
        return (output - output.exp() * x).flatten(1).sum(1)

    def mean(self, output):
        return (-output).exp()

    def sample(self, output, generator=None):
        return torch.empty_like(output).exponential_(generator=generator) * self.mean(output)


def test_a_density_on_an_interval_is_integrated_over_it():
    check_likelihood(Beta(), support=(0.0, 1.0))
    check_likelihood(Exponential(), support=(0.0, math.inf))


OURS = [
    (nw.Normal(0.2), None),
    (nw.Normal("learned"), None),
    (nw.Normal("optimal"), None),
    (nw.Bernoulli(binarize=True), torch.tensor([0.0, 1.0])),
    (nw.DiscretizedLogisticMixture(components=3), None),
    (nw.Categorical256(), None),
]


@pytest.mark.parametrize(("likelihood", "support"), OURS, ids=lambda part: repr(part)[:20])
@pytest.mark.parametrize("shape", [(3, 2, 2), (1, 2, 3), (3,)], ids=str)
def test_the_contract_holds(likelihood, support, shape):
    check_likelihood(likelihood, shape, support=support)


def test_the_check_leaves_the_likelihood_and_the_random_numbers_alone():
    likelihood = Honest()
    before = likelihood.running.clone()
    generator = torch.random.get_rng_state()
    check_likelihood(likelihood)
    assert torch.equal(generator, torch.random.get_rng_state())
    assert torch.equal(likelihood.running, before)
    assert isinstance(likelihood, nn.Module)
    assert likelihood.training
