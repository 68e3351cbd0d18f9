"""The contract of a likelihood."""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.likelihoods import Likelihood
from narrows.likelihoods.base import LEVELS
from narrows.testing.contract import (
    apply,
    close,
    must_refuse,
    random_numbers_untouched,
    require,
    require_finite,
    require_per_example,
    require_shape,
    require_unchanged,
    rules_below,
    state,
    twin_of,
)

DRAWS = 20_000
"""Of one dimension, held against the density: a distance of 0.014 is significant at 0.1 %."""

Support = Tensor | tuple[float, float]


@dataclass(frozen=True)
class _Case:
    """Data, decoder output for them, and the values that one dimension can take."""

    x: Tensor
    output: Tensor
    support: Support


def check_likelihood(
    likelihood: Likelihood,
    shape: tuple[int, ...] = (3, 2, 2),
    *,
    support: Support | None = None,
    seed: int = 0,
) -> None:
    """Proves the contract for a likelihood, the user's own included.

    A copy is exercised as constructed and again after a few updates; the object passed in is
    left as it was.

    Args:
        likelihood: any instance.
        shape: of one example, `(channels, height, width)` or `(d,)`.
        support: the values that one dimension of x can take: a tensor of finitely many, or the
            ends of an interval on which `log_prob` is a density. By default the 256 levels in
            [0, 1] where the likelihood is `discrete`, else the real line.
        seed: of the outputs and data that are drawn.

    Raises:
        ContractError: at the first broken rule, with the rule's name and the evidence.

    Example:
        >>> import narrows as nw
        >>> nw.testing.check_likelihood(nw.Normal(sigma=0.1))
    """
    if support is None:
        levels = torch.linspace(0, 1, LEVELS, dtype=torch.float64)
        support = levels if likelihood.discrete else (-math.inf, math.inf)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        subject = copy.deepcopy(likelihood).eval()
        output = torch.randn(6, subject.channels(shape[0]), *shape[1:])
        case = _Case(subject.sample(output).detach(), output, support)
        apply(rules_below(check_likelihood), subject, case)
        for _ in range(3):
            subject.train().update(case.x, output)
        apply(rules_below(check_likelihood), subject, case)


# Each public function below is a rule, and gets its own copy of the likelihood and the case.


def shapes_agree(likelihood: Likelihood, case: _Case) -> None:
    """log_prob is a finite [batch]; mean and sample have the shape of x; so for no examples."""
    for mode in (True, False):
        likelihood.train(mode)
        for x, output in ((case.x, case.output), (case.x[:0], case.output[:0])):
            require_per_example(likelihood.log_prob(x, output), len(x), "log_prob")
            require_shape(likelihood.mean(output), tuple(x.shape), "mean(output)")
            require_shape(likelihood.sample(output), tuple(x.shape), "sample(output)")


def refuses_what_does_not_fit(likelihood: Likelihood, case: _Case) -> None:
    """Other shapes, integers and, of 8-bit likelihoods, data outside [0, 1] raise ValueError."""
    x, output = case.x, case.output
    must_refuse(lambda: likelihood.log_prob(x[:1], output), "data for another number of outputs")
    wide = torch.cat([output, output], 1)
    must_refuse(lambda: likelihood.log_prob(x, wide), "output of twice the channels")
    must_refuse(lambda: likelihood.log_prob(x.long(), output), "integer data")
    if likelihood.discrete:
        must_refuse(lambda: likelihood.log_prob(255 * x + 2, output), "data outside [0, 1]")


def use_changes_no_state(likelihood: Likelihood, case: _Case) -> None:
    """log_prob, mean and sample leave the state bit-identical, in training and in eval."""
    before = state(likelihood)
    for mode in (True, False):
        likelihood.train(mode).log_prob(case.x, case.output)
        likelihood.mean(case.output)
        likelihood.sample(case.output)
        require_unchanged(likelihood, before, f"use in {'training' if mode else 'eval'}")


def update_is_self_contained(likelihood: Likelihood, case: _Case) -> None:
    """update leaves finite state and the global random numbers alone, also for no examples."""
    with random_numbers_untouched("update()"):
        likelihood.train().update(case.x, case.output)
        likelihood.update(case.x[:0], case.output[:0])
    require_finite(likelihood, "update()")


def examples_are_independent(likelihood: Likelihood, case: _Case) -> None:
    """log p of an example depends on itself alone; in training, unless `whole_batch`."""
    for mode in (False, *([] if likelihood.whole_batch else [True])):
        whole = likelihood.train(mode).log_prob(case.x, case.output)
        alone = likelihood.log_prob(case.x[:1], case.output[:1])
        require(
            close(whole[:1], alone),
            f"log_prob of an example must not depend on its batch {'in training' if mode else ''}"
            f"; alone {alone.item():.6g}, in a batch {whole[0].item():.6g}; if it is meant to, "
            "say whole_batch = True",
        )


def probabilities_sum_to_one(likelihood: Likelihood, case: _Case) -> None:
    """Over the support of one dimension, exp(log_prob) sums or integrates to 1."""
    for _ in range(3):
        _, mass, _ = _one_dimension(likelihood, case)
        total = mass.sum().item()
        require(abs(total - 1) < 1e-4, f"exp(log_prob) must add up to 1, got {total:.6g}")


def samples_follow_the_density(likelihood: Likelihood, case: _Case) -> None:
    """Draws of one dimension and exp(log_prob) have the same distribution function."""
    values, mass, output = _one_dimension(likelihood, case)
    draws = likelihood.sample(output.expand(DRAWS, *output.shape[1:])).double().flatten()
    # Between two values of a finite support, so that rounding cannot move a draw past one.
    edges = torch.cat([(values[1:] + values[:-1]) / 2, values[-1:]])
    drawn = torch.searchsorted(draws.sort().values, edges[:-1]) / DRAWS
    distance = (drawn - mass.cumsum(0)[:-1]).abs().max().item()
    require(
        distance < 1.95 / math.sqrt(DRAWS),
        f"sample must draw from exp(log_prob), but the distribution functions of {DRAWS} draws "
        f"and of the density differ by {distance:.3f}",
    )


def mean_is_the_expectation(likelihood: Likelihood, case: _Case) -> None:
    """mean(output) is the sum or integral of x exp(log_prob), within half an 8-bit level."""
    values, mass, output = _one_dimension(likelihood, case)
    expected, mean = (values * mass).sum().item(), likelihood.mean(output).item()
    slack = 0.5 / (LEVELS - 1) * max(1.0, abs(expected))
    require(abs(expected - mean) <= slack, f"mean must be E[x] = {expected:.5g}, got {mean:.5g}")


def samples_follow_the_joint_density(likelihood: Likelihood, case: _Case) -> None:
    """E[p(x | output') / p(x | output)] = 1 over draws x from p(. | output), all dimensions."""
    likelihood.eval().double()
    output = case.output[:1].double()
    output = output.expand(1500, *output.shape[1:])
    x = likelihood.sample(output).double()
    for _ in range(4):
        way = torch.randn_like(output[:1]).expand_as(output)
        # As far as the log-ratio has a standard deviation of about 1/2.
        step = 0.5 / _slope(likelihood, x, output, way, 1e-4).std().clamp_min(0.1)
        ratio = (likelihood.log_prob(x, output + step * way) - likelihood.log_prob(x, output)).exp()
        mean, error = ratio.mean().item(), ratio.std().item() / math.sqrt(len(ratio))
        require(
            abs(mean - 1) <= 5 * error + 1e-6,
            "draws must come from exp(log_prob) in all dimensions together, but their mean "
            f"likelihood ratio to another output is {mean:.3f} +- {error:.3f} in place of 1",
        )


def gradient_is_exact(likelihood: Likelihood, case: _Case) -> None:
    """The gradient of log_prob equals finite differences, in training and in eval."""
    likelihood.double()
    x, output = case.x.double(), case.output.double().requires_grad_()
    for mode in (True, False):
        likelihood.train(mode)
        direction = torch.randn_like(output)
        (gradient,) = torch.autograd.grad(likelihood.log_prob(x, output).sum(), output)
        slope = _slope(likelihood, x, output.detach(), direction, 1e-6).sum()
        require(
            torch.allclose((gradient * direction).sum(), slope, rtol=1e-3, atol=1e-4),
            f"the gradient along a direction is {(gradient * direction).sum():.5g}, by finite "
            f"differences {slope:.5g}",
        )


def half_precision_is_computed_in_float32(likelihood: Likelihood, case: _Case) -> None:
    """Outputs in bfloat16, and autocast, give the log_prob of the same values in float32."""
    half = case.output.bfloat16()
    expected = likelihood.log_prob(case.x, half.float())
    with torch.autocast("cpu", torch.bfloat16):
        value = likelihood.log_prob(case.x, half)
    require(
        value.dtype is torch.float32 and close(value, expected),
        f"log_prob must be computed in float32 under autocast, got {value.dtype}",
    )


def samples_repeat_with_the_generator(likelihood: Likelihood, case: _Case) -> None:
    """The same seed of a given generator draws the same, and global numbers are not used."""
    with random_numbers_untouched("sample, given a generator,"):
        one, two = (
            likelihood.sample(case.output, generator=torch.Generator().manual_seed(1))
            for _ in range(2)
        )
    require(torch.equal(one, two), "two draws with generators of the same seed must be equal")


def state_can_be_saved(likelihood: Likelihood, case: _Case) -> None:
    """A twin made from the constructor's arguments and the state_dict gives the same log_prob."""
    one, two = (
        part.eval().log_prob(case.x, case.output) for part in (likelihood, twin_of(likelihood))
    )
    require(
        torch.equal(one, two),
        "a twin with the same arguments and state_dict must give the same log_prob",
    )


def _slope(likelihood: Likelihood, x: Tensor, output: Tensor, way: Tensor, step: float) -> Tensor:
    """Derivative of each example's log_prob along a direction, by central differences."""
    with torch.no_grad():
        ahead = likelihood.log_prob(x, output + step * way)
        behind = likelihood.log_prob(x, output - step * way)
    return (ahead - behind) / (2 * step)


def _one_dimension(likelihood: Likelihood, case: _Case) -> tuple[Tensor, Tensor, Tensor]:
    """Ascending values of a single number x, the probability of each, and a random output."""
    likelihood.eval().double()
    single = (1,) * (case.x.dim() - 1)
    output = torch.randn(1, likelihood.channels(1), *single[1:], dtype=torch.float64)
    if isinstance(case.support, Tensor):
        values, widths = case.support.double(), 1.0
    else:
        draws = likelihood.sample(output.expand(1000, *output.shape[1:])).double()
        values, widths = _quadrature(case.support, draws)
    x = values.view(-1, *single)
    density = likelihood.log_prob(x, output.expand(len(x), *output.shape[1:])).exp()
    return values, density.detach() * widths, output


def _quadrature(support: tuple[float, float], draws: Tensor) -> tuple[Tensor, Tensor]:
    """Points of an interval and their widths, dense about the draws and near the ends."""
    low, high = support
    t = torch.linspace(-1, 1, 40_001, dtype=torch.float64)
    if math.isfinite(low) and math.isfinite(high):
        points = low + (high - low) * (30 * t).sigmoid()
    elif math.isfinite(low):
        points = low + draws.sub(low).median() * (30 * t).exp()
    else:
        centre = draws.median()
        points = centre + draws.sub(centre).abs().median().clamp_min(1e-12) * (20 * t).sinh()
    return points, torch.gradient(points)[0]
