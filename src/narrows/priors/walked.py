"""Priors that walk over the symbols of a code, one after another."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from narrows.latent import Code, Latent
from narrows.priors.base import Prior
from narrows.priors.discrete import one_code
from narrows.priors.walk import Walk, follow, sampler


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
