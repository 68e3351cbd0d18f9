"""The contract of a prior."""

import copy
import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.bottlenecks.base import Bottleneck
from narrows.codes import Code, CodeSpace, Indices, Values, trimmed
from narrows.functional.conditionals import Conditional, follow, sampler
from narrows.latent import Latent
from narrows.priors import Prior
from narrows.testing.contract import (
    ContractError,
    apply,
    close,
    require,
    require_finite,
    require_per_example,
    require_unchanged,
    rules_below,
    same,
    state,
    twin_of,
)

EXAMPLES, DRAWS = 64, 500


@dataclass(frozen=True, eq=False)
class _Case:
    """A bottleneck whose codes the prior is for, in eval, and features for it."""

    bottleneck: Bottleneck
    features: Tensor

    def latent(self, n: int = EXAMPLES) -> Latent:
        """The latent of the first n examples."""
        return self.bottleneck(self.features[:n])

    def stored(self, prior: Prior, n: int = EXAMPLES) -> Latent:
        """The same, with the code as it would be stored."""
        latent = self.latent(n)
        return dataclasses.replace(latent, code=prior.quantize(latent.code))

    def check(self, code: Code, sites: tuple[int, ...]) -> None:
        """Requires that a code is one of the bottleneck's."""
        try:
            self.bottleneck.codes.check(code, sites)
        except ValueError as error:
            raise ContractError(f"it must stay a code of the bottleneck, but {error}") from error


def check_prior(prior: Prior, bottleneck: Bottleneck, *, seed: int = 0) -> None:
    """Proves the contract for a prior, the user's own included.

    A copy is fitted to codes that the bottleneck makes of random features; the objects passed in
    are left as they were.

    Args:
        prior: any instance.
        bottleneck: one whose codes the prior is for.
        seed: of the features and draws.

    Raises:
        ContractError: at the first broken rule, with the rule's name and the evidence.

    Example:
        >>> import narrows as nw
        >>> prior = nw.priors.CategoricalPrior((2, 3), size=8)
        >>> nw.testing.check_prior(prior, nw.VectorQuantizer(8, 4))
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        bottleneck = copy.deepcopy(bottleneck).eval()
        case = _Case(bottleneck, torch.randn(EXAMPLES, *prior.sites, bottleneck.in_features))
        subject = copy.deepcopy(prior).eval()
        declared, fits, *fitted = rules_below(check_prior)
        apply([declared, fits], subject, case)
        subject.fit([case.latent()])
        apply(fitted, subject, case)


# Each public function below is a rule, and gets its own copy of the prior and the case. The first
# two are applied before the prior is fitted, the others after that.


def codes_are_as_declared(prior: Prior, case: _Case) -> None:
    """check_fits accepts the bottleneck's codes, and codes of another kind are refused."""
    try:
        prior.check_fits(case.bottleneck.codes, prior.sites)
    except TypeError as error:
        raise ContractError(f"the bottleneck's codes must be accepted: {error}") from error
    if prior.space is CodeSpace:
        return
    other = Values(3) if isinstance(case.bottleneck.codes, Indices) else Indices(7)
    try:
        prior.check_suits(other, prior.sites)
    except TypeError:
        return
    raise ContractError(f"{other} must raise TypeError: say which codes it is for in `space`")


def fit_returns_itself(prior: Prior, case: _Case) -> None:
    """fit returns the prior, leaves finite state, and is repeatable."""
    require(prior.fit([case.latent()]) is prior, "fit must return the prior itself")
    require_finite(prior, "fit()")
    before = state(prior)
    prior.fit([case.latent()])
    require_unchanged(prior, before, "a second fit to the same latents")


def rate_is_finite_for_each_example(prior: Prior, case: _Case) -> None:
    """The rate of stored codes is finite and [batch], also of no example."""
    for n in (EXAMPLES, 0):
        require_per_example(prior.rate(case.stored(prior, n)), n, "the rate")


def use_changes_no_state(prior: Prior, case: _Case) -> None:
    """rate, quantize and sample leave the state bit-identical."""
    before = state(prior)
    prior.rate(case.stored(prior))
    prior.sample(3)
    require_unchanged(prior, before, "rate, quantize and sample")


def examples_are_independent(prior: Prior, case: _Case) -> None:
    """The rate of an example's stored code is the same alone and in a batch."""
    if prior.coding == "bits_back":
        return  # the rate may be an estimate from draws
    whole, alone = prior.rate(case.stored(prior)), prior.rate(case.stored(prior, 1))
    require(
        close(whole[:1], alone),
        f"an example's rate must not depend on its batch: {alone.item():.6g} alone, "
        f"{whole[0].item():.6g} in a batch",
    )


def quantize_is_idempotent(prior: Prior, case: _Case) -> None:
    """quantize(quantize(code)) == quantize(code), and it stays a code of the bottleneck."""
    once = prior.quantize(case.latent().code)
    require(same(prior.quantize(once), once), "quantising a quantised code must change nothing")
    case.check(once, prior.sites)


def samples_are_codes(prior: Prior, case: _Case) -> None:
    """Draws are codes that the bottleneck can embed, and repeat with a generator's seed."""
    one, two = (prior.sample(5, torch.Generator().manual_seed(1)) for _ in range(2))
    require(same(one, two), "two draws with generators of the same seed must be equal")
    case.check(one, prior.sites)
    z = case.bottleneck.embed(one)
    require(z.shape[0] == 5 and bool(z.isfinite().all()), "embed(prior.sample(5)) must be finite")


def rate_is_that_of_the_conditionals(prior: Prior, case: _Case) -> None:
    """Walking over a known code, -log of its symbols' probabilities adds up to its rate."""
    if prior.coding != "conditionals":
        return
    for n in (1, EXAMPLES):
        latent, spent = case.stored(prior, n), 0.0

        def choose(step: Conditional) -> Tensor:
            nonlocal spent
            assert step.known is not None
            spent -= _log_probability(step, step.known).sum().item()
            return step.known

        walked = follow(prior.conditionals(n, latent.code), choose)
        given = trimmed(latent.code)
        require(same(trimmed(walked), given), "conditionals must return the code they are given")
        rate = prior.rate(latent).sum().item()
        require(
            abs(rate - spent) <= 0.005 * spent + 0.01,
            f"rate says {rate:.4f} nats, its conditionals {spent:.4f}",
        )


def a_reader_finds_the_writers_conditionals(prior: Prior, case: _Case) -> None:
    """Walking over a drawn code again yields bit for bit the same weights, and its symbols."""
    if prior.coding != "conditionals":
        return
    drawn: list[tuple[Tensor, Tensor]] = []
    choose = sampler(torch.Generator().manual_seed(2))

    def draw(step: Conditional) -> Tensor:
        symbols = choose(step)
        drawn.append((step.weights, symbols))
        return symbols

    def draw_known(step: Conditional) -> Tensor:
        assert step.known is not None
        drawn.append((step.weights, step.known))
        return step.known

    code = follow(prior.conditionals(4), draw)
    case.check(code, prior.sites)
    if prior.redundant:  # a draw is one way to write the code, a file holds another
        drawn.clear()
        follow(prior.conditionals(4, code), draw_known)
    left = iter(drawn)

    def compare(step: Conditional) -> Tensor:
        weights, symbols = next(left)
        require(
            prior.redundant or (step.known is not None and torch.equal(step.known, symbols)),
            "over a known code, conditionals must name the symbols that made it",
        )
        require(
            torch.equal(step.weights, weights),
            "the weights must be bit for bit the same whether the code is known or not; use whole "
            "numbers, or narrows.functional.conditionals.from_logits",
        )
        return symbols

    again = follow(prior.conditionals(4, None if prior.redundant else code), compare)
    require(same(again, code), "conditionals must return the code that they are given")


def samples_follow_the_conditionals(prior: Prior, case: _Case) -> None:
    """Each symbol comes among draws as often as the conditionals say."""
    if prior.coding != "conditionals" or prior.redundant:
        return
    code = prior.sample(DRAWS, torch.Generator().manual_seed(3))
    case.check(code, prior.sites)

    def count(step: Conditional) -> Tensor:
        assert step.known is not None
        p = step.weights.double() / step.weights.sum(-1, keepdim=True)
        p = p.expand(step.count, -1)
        seen = torch.nn.functional.one_hot(step.known, p.shape[1]).double()
        spread = (p * (1 - p)).sum(0).sqrt()
        surprise = ((seen - p).sum(0).abs() / (1 + spread)).max().item() if step.count else 0.0
        require(
            surprise <= 6,
            f"of {step.count} draws a symbol came {surprise:.1f} standard deviations more or less "
            "often than the conditionals say",
        )
        return step.known

    follow(prior.conditionals(DRAWS, code), count)


def state_can_be_saved(prior: Prior, case: _Case) -> None:
    """A twin made from the constructor's arguments and the state_dict has the same rates."""
    rates = []
    for one in (prior, twin_of(prior).eval()):
        torch.manual_seed(0)  # for rates that are estimates from draws
        rates.append(one.rate(case.stored(one)))
    require(
        torch.equal(*rates),
        "a twin with the same arguments and state_dict must have the same rates",
    )


def _log_probability(step: Conditional, symbols: Tensor) -> Tensor:
    p = step.weights.double() / step.weights.sum(-1, keepdim=True)
    return p.expand(step.count, -1).gather(1, symbols[:, None]).log()
