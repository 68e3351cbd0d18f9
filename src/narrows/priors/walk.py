"""Walking over the symbols of a code, one after another: the form that drawing and coding share."""

from abc import abstractmethod
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor

from narrows.codes import Code, Indices, one_tensor
from narrows.functional.fixed_point import FIXED, draw, masses, snap
from narrows.latent import Latent
from narrows.priors.base import Prior

Walk = Generator[tuple[Tensor, Tensor | None], Tensor, Code]
"""Yields (logits `[m, K]` of the next m symbols given all before, the symbols if known), is sent
the symbols `[m]`, and returns the code. -inf marks symbols that cannot come. Logits lie on the
fixed-point grid, so that whoever walks the same way finds the same ones."""

Choose = Callable[[Tensor, Tensor | None], Tensor]


def follow(walk: Walk, choose: Choose) -> Code:
    """Walks to the end; `choose(logits, known)` returns the symbols. Returns the code."""
    try:
        logits, known = next(walk)
        while True:
            logits, known = walk.send(choose(logits, known))
    except StopIteration as end:
        return end.value


def marginal(walk: Walk, classes: int) -> Walk:
    """Walks over n codes of unknown class, given a walk over each with every class in turn.

    p(symbol | before) = sum_k p(k | before) p(symbol | before, k), the classes being equally
    likely at first; so the code costs -log of the mean over classes of p(code | class).

    Args:
        walk: over `n * classes` codes, example by example, the classes of one side by side.
        classes: their number.
    """
    try:
        logits, known = next(walk)
        log_odds = torch.zeros(len(logits) // classes, classes, dtype=torch.float64)
        log_odds = log_odds.to(logits.device)
        while True:
            weights = masses(logits).double().unflatten(0, (-1, classes))
            each = weights / weights.sum(-1, keepdim=True)  # of whole numbers: exactly rounded
            belief = FIXED.softmax(log_odds)
            mixed = torch.zeros_like(each[:, 0])
            for k in range(classes):  # one by one: a sum has one value in one order only
                mixed = mixed + belief[:, k, None] * each[:, k]
            symbols = yield snap(mixed.clamp_min(2.0**-40).log()), _first_of(known, classes)
            place = symbols[:, None, None].expand(-1, classes, 1)
            log_odds = snap(log_odds + each.gather(2, place)[..., 0].log(), 16)
            log_odds = log_odds - log_odds.amax(1, keepdim=True)
            logits, known = walk.send(symbols.repeat_interleave(classes))
    except StopIteration as end:
        return end.value[::classes]


def _first_of(known: Tensor | None, classes: int) -> Tensor | None:
    return None if known is None else known[::classes]


def sampler(generator: torch.Generator | None, temperature: float, top_k: int | None) -> Choose:
    """Chooses symbols at random, exactly by the integer weights of their logits.

    Raises:
        ValueError: if the temperature is not positive or top_k is below 1.
    """
    if not temperature > 0 or (top_k is not None and top_k < 1):
        raise ValueError(
            f"expected temperature > 0 and top_k >= 1, got temperature={temperature}, top_k={top_k}"
        )

    def choose(logits: Tensor, known: Tensor | None) -> Tensor:
        del known
        weights = masses(_keep_top(logits / temperature, top_k))
        uniform = torch.rand(logits.shape[0], generator=generator, dtype=torch.float64)
        return draw(weights, uniform.to(weights.device))

    return choose


def _keep_top(logits: Tensor, k: int | None) -> Tensor:
    if k is None or k >= logits.shape[-1]:
        return logits
    # Among equals the lower index stays: topk does not promise an order, a stable sort does.
    order = logits.argsort(dim=-1, descending=True, stable=True)
    return logits.scatter(-1, order[..., k:], -torch.inf)


class Walked(Prior):
    """p(code) = product over symbols of p(symbol | symbols before), found by walking.

    Drawing and coding are the same walk: one chooses symbols at random, the other writes or
    reads them.
    """

    @abstractmethod
    def walk(self, n: int, code: Any = None) -> Walk:
        """Walks over n codes (see `narrows.priors.walk`); over those given if they are known."""

    @torch.no_grad()
    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> Code:
        """Draws n codes.

        Args:
            n: number of codes.
            generator: source of randomness (CPU).
            temperature: logits are divided by it; 1 samples the prior itself.
            top_k: draw among the k likeliest symbols only.
        """
        return follow(self.walk(n), sampler(generator, temperature, top_k))


class WalkedIndices(Walked):
    """A walked prior over one tensor of integer codes."""

    space = Indices
    size: int
    channels: int | None

    @property
    def codes(self) -> Indices:
        """Indices below `size`."""
        return Indices(self.size, self.channels)

    @abstractmethod
    def log_prob(self, code: Tensor) -> Tensor:
        """Log-probability of codes, `[n]` in nats."""

    def rate(self, latent: Latent) -> Tensor:
        """-log p(code), `[batch]` in nats.

        Raises:
            ValueError: if the code is not of integers below `size` on these sites.
        """
        return -self.log_prob(one_code(self, latent.code))


def over_known(logits: Tensor, known: Tensor, code: Code) -> Walk:
    """The walk over a code whose logits are all there.

    Args:
        logits: `[n, steps, K]`.
        known: the symbols, `[n, steps]`.
        code: what the walk returns.
    """
    # No `yield from`: a zip cannot be sent anything.
    for step in zip(logits.unbind(1), known.unbind(1), strict=True):  # noqa: UP028
        yield step
    return code


def one_code(prior: Prior, code: Code) -> Tensor:
    """The single integer tensor that a code consists of.

    Raises:
        ValueError: if the code has several parts or is continuous.
    """
    index = one_tensor(code)
    if index.is_floating_point():
        raise ValueError(
            f"{type(prior).__name__}: expected one tensor of integer codes, got {index.dtype}; "
            "this prior is for vector-quantised and other discrete latents"
        )
    return index


def check_codes(prior: Prior, code: Tensor, size: int, channels: int | None) -> None:
    """Refuses codes of another shape or outside 0..size-1.

    Raises:
        ValueError: with what was expected and what came.
    """
    expected = (*prior.sites, *((channels,) if channels else ()))
    if tuple(code.shape[1:]) != expected:
        raise ValueError(
            f"{type(prior).__name__}: expected codes [batch, {', '.join(map(str, expected))}], "
            f"got shape {tuple(code.shape)}; build the prior for the sites of this model"
        )
    if code.numel() and (int(code.min()) < 0 or int(code.max()) >= size):
        raise ValueError(
            f"{type(prior).__name__}: expected codes in 0..{size - 1}, got "
            f"{int(code.min())}..{int(code.max())}; set size to the number of codes"
        )
