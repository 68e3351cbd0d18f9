"""Symbol by symbol: the one walk from which drawing, writing and reading all follow.

A walk is a generator. It yields what the next symbols may be (`Conditional`), is sent the symbols,
and returns what they stand for. Whoever follows it chooses the symbols: at random (`sampler`), from
a file, or those that are known, which are then written to a file.
"""

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from narrows.codes import Code
from narrows.functional.fixed_point import FIXED, draw, masses, snap

Result = TypeVar("Result")
Step = TypeVar("Step")


class Conditional(NamedTuple):
    """p(next symbols | everything before).

    Attributes:
        weights: proportional to the probabilities of the symbols 0..K-1: `[m, K]`, a row for each
            of the next m symbols, or `[K]`, the same for all of them. Who reads a file must find
            the weights of who wrote it: exactly where they are whole numbers (`fixed_point` makes
            such), else to within 10^-13 of their sum, as elementwise float64 does.
        count: m.
        known: the symbols `[m]`, int64, where a given code is walked over; else None.
    """

    weights: Tensor
    count: int
    known: Tensor | None = None


Walk: TypeAlias = Generator[Conditional, Tensor, Result]
"""Yields conditionals, is sent symbols `[m]` on the device of the weights, returns a result."""

Conditionals: TypeAlias = Generator[Conditional, Tensor, Code]
"""A walk over codes: `Prior.conditionals`."""

Choose: TypeAlias = Callable[[Conditional], Tensor]
"""Returns the next symbols `[m]`."""


def from_logits(logits: Tensor, known: Tensor | None = None) -> Conditional:
    """One row of integer weights for each row of logits `[m, K]`; -inf for what cannot come."""
    return Conditional(masses(logits), len(logits), known)


def from_arrays(
    weights: Sequence[float] | np.ndarray, count: int, known: np.ndarray | None = None
) -> Conditional:
    """Weights `[m, K]` or `[K]`, computed in NumPy, of m symbols; `known` may be booleans."""
    symbols = None if known is None else torch.from_numpy(known.astype(np.int64))
    return Conditional(torch.as_tensor(weights, dtype=torch.float64), count, symbols)


def follow(walk: Generator[Step, Tensor, Result], choose: Callable[[Step], Tensor]) -> Result:
    """Walks to the end with symbols from `choose`; returns what the walk returns.

    Example:
        >>> def pair():
        ...     first = yield Conditional(torch.ones(2), 1)
        ...     second = yield Conditional(torch.tensor([[0, 1]]), 1)
        ...     return int(first), int(second)
        >>> follow(pair(), lambda step: step.weights.argmax(-1).expand(step.count))
        (0, 1)
    """
    try:
        step = next(walk)
        while True:
            step = walk.send(choose(step))
    except StopIteration as end:
        return end.value


def sampler(
    generator: torch.Generator | None = None, temperature: float = 1.0, top_k: int | None = None
) -> Choose:
    """Chooses symbols at random, exactly by their integer weights.

    Args:
        generator: source of randomness.
        temperature: weights are raised to the power of 1 / temperature.
        top_k: draw among the k likeliest symbols only.

    Raises:
        ValueError: if the temperature is not positive or top_k is below 1.
    """
    if not temperature > 0 or (top_k is not None and top_k < 1):
        raise ValueError(
            f"expected temperature > 0 and top_k >= 1, got temperature={temperature}, top_k={top_k}"
        )

    def choose(step: Conditional) -> Tensor:
        weights = step.weights
        if weights.is_floating_point():
            weights = (weights * (2.0**32 / weights.amax(-1, keepdim=True))).round().long()
        if temperature != 1:
            weights = masses(weights.double().log() / temperature)
        device = "cpu" if generator is None else generator.device
        uniform = torch.rand(step.count, generator=generator, dtype=torch.float64, device=device)
        return draw(_keep_top(weights, top_k), uniform.to(weights.device))

    return choose


def _keep_top(weights: Tensor, k: int | None) -> Tensor:
    if k is None or k >= weights.shape[-1]:
        return weights
    # Among equals the lower index stays: topk does not promise an order, a stable sort does.
    order = weights.argsort(dim=-1, descending=True, stable=True)
    return weights.scatter(-1, order[..., k:], 0)


def over_known(logits: Tensor, known: Tensor, result: Result) -> Walk[Result]:
    """The walk over known symbols `[n, steps]` whose logits `[n, steps, K]` are all there."""
    for step, symbols in zip(logits.unbind(1), known.unbind(1), strict=True):
        yield from_logits(step, symbols)
    return result


def marginal(walk: Conditionals, classes: int) -> Conditionals:
    """Walks over n codes of unknown class, given a walk over each with every class in turn.

    p(symbol | before) = sum_k p(k | before) p(symbol | before, k), the classes being equally
    likely at first; so the code costs -log of the mean over classes of p(code | class). The given
    walk is over `n * classes` codes, example by example, the classes of one side by side.
    """
    try:
        step = next(walk)
        log_odds = torch.zeros(step.count // classes, classes, dtype=torch.float64)
        log_odds = log_odds.to(step.weights.device)
        while True:
            weights = step.weights.double().unflatten(0, (-1, classes))
            each = weights / weights.sum(-1, keepdim=True)  # of whole numbers: exactly rounded
            belief = FIXED.softmax(log_odds)
            mixed = torch.zeros_like(each[:, 0])
            for k in range(classes):  # one by one: a sum has one value in one order only
                mixed = mixed + belief[:, k, None] * each[:, k]
            known = None if step.known is None else step.known[::classes]
            symbols = yield from_logits(snap(mixed.clamp_min(2.0**-40).log()), known)
            place = symbols[:, None, None].expand(-1, classes, 1)
            log_odds = snap(log_odds + each.gather(2, place)[..., 0].log(), 16)
            log_odds = log_odds - log_odds.amax(1, keepdim=True)
            step = walk.send(symbols.repeat_interleave(classes))
    except StopIteration as end:
        return end.value[::classes]


def distances(count: int, known: Tensor | None = None, *, digits: int = 0) -> Walk[Tensor]:
    """Walks over m whole numbers d = D, D + 1, ... with p(d) = D / d (d + 1), D = 2^digits.

    First the length of d in binary, p = 2^-length, then its digits: after those that make v, p(0)
    = (v + 1) / (2 v + 1).

    Args:
        count: m.
        known: the numbers `[m]`.
        digits: of the smallest number in binary, after the leading 1.
    """
    length = None
    if known is not None:
        length = torch.frexp(known.double()).exponent.long() - 1 - digits
    lengths = 0.5 ** torch.arange(1, 54 - digits, dtype=torch.float64)
    length = digits + (yield Conditional(lengths, count, length))
    found = torch.ones(count, dtype=torch.long)
    for place in range(int(length.max()) if count else 0):
        more = (length > place).nonzero().flatten()
        bits = None if known is None else (known[more] >> (length[more] - 1 - place)) & 1
        prefix = found[more]
        digit = yield Conditional(torch.stack([prefix + 1, prefix], 1), len(more), bits)
        found[more] = 2 * prefix + digit
    return found


def within(
    weights: Tensor, count: int, known: Tensor | None = None, *, digits: int = 0
) -> Walk[Tensor]:
    """Walks over whole numbers: 0..bins-1 by a table, others by an escape and their distance.

    Args:
        weights: of the bins, then of the escapes below and above them, `[bins + 2]`.
        count: m.
        known: the numbers `[m]`.
        digits: distances from the bins begin at 2^digits: the larger, the slower they decay.
    """
    bins, symbols, beyond = len(weights) - 2, None, None
    nearer = 2**digits - 1
    if known is not None:
        symbols = torch.where(known < 0, bins, torch.where(known >= bins, bins + 1, known))
        beyond = torch.maximum(-known, known - (bins - 1)) + nearer
    found = (yield Conditional(weights, count, symbols)).clone()
    far = (found >= bins).nonzero().flatten()
    if len(far):
        told = None if beyond is None else beyond[far]
        away = (yield from distances(len(far), told, digits=digits)) - nearer
        found[far] = torch.where(found[far] == bins, -away, bins - 1 + away)
    return found
