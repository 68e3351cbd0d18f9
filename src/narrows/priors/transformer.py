"""A causal transformer over the indices of a code."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.codes import Code
from narrows.functional.conditionals import Conditionals, from_logits, over_known
from narrows.functional.fixed_point import FLOATING, Arithmetic, freeze
from narrows.networks.causal import CausalTransformer
from narrows.priors.base import AutoregressiveIndices


class AutoregressiveTransformer(AutoregressiveIndices):
    """p(code) = prod_t p(token_t | tokens before t): sites in raster order, stages innermost.

    Fits codes without a map too: one site with many stages, one site with many digits. On maps
    `PixelCNN` is cheaper to train, as it need not learn where neighbours are.

    Args:
        sites: grid of sites; `()` for one code an example.
        size: number of codes K, or the number of each channel; codes are integers in 0..K-1.
        channels: codes of each site, in a last axis; None for one code a site.
        hidden: width of a token's features.
        depth: blocks.
        heads: attention heads; a divisor of `hidden`.

    Raises:
        ValueError: if a number is out of range.

    Source: Esser, Rombach and Ommer 2021, Taming Transformers, arXiv:2012.09841, section 3.2.
    We have no sliding window: every token sees all before it.

    Example:
        >>> prior = AutoregressiveTransformer(sites=(), size=8, channels=4, hidden=16, depth=1)
        >>> prior.sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 4])
    """

    learning_rate: ClassVar[float | None] = 1e-3
    offsets: Tensor

    def __init__(
        self,
        sites: tuple[int, ...],
        size: int | Sequence[int],
        *,
        channels: int | None = None,
        hidden: int = 128,
        depth: int = 4,
        heads: int = 4,
    ) -> None:
        super().__init__(sites, size, channels=channels)
        size, self.length = self.size, math.prod(self.sites) * self.per_site
        # Each stage has its own meaning of code 7, so it has its own tokens.
        self.network: CausalTransformer = CausalTransformer(
            size * self.per_site, self.length, hidden, depth, heads
        )
        self.head: nn.Linear = nn.Linear(hidden, size * self.per_site)
        self.register_constant(
            "offsets", lambda: torch.arange(self.per_site).repeat(math.prod(self.sites)) * size
        )
        self.arithmetic: Arithmetic = FLOATING

    def logits(self, code: Tensor) -> Tensor:
        """Logits of every token given those before it, `[n, length, K]`."""
        tokens = self._tokens(code) + self.offsets
        every = self._scores(self.network(tokens)).unflatten(-1, (self.per_site, self.size))
        stage = self.offsets // self.size
        return every[:, torch.arange(self.length, device=stage.device), stage]

    def log_prob(self, code: Tensor) -> Tensor:
        """Log-probability, `[n]` in nats."""
        logits = self.logits(code).float()
        nats = F.cross_entropy(logits.flatten(0, 1), self._tokens(code).flatten(), reduction="none")
        return -nats.view(code.shape[0], self.length).sum(1)

    @torch.no_grad()
    def conditionals(self, n: int, code: Code | None = None) -> Conditionals:
        """Walks over n codes token by token; if they are known, all logits are found at once."""
        exact = freeze(self)
        if code is not None:
            index = self.codes.check(code, self.sites)
            return (yield from over_known(exact.logits(index), self._tokens(index), index))
        cache, last, tokens = exact.network.cache(n), None, []
        for t in range(self.length):
            offset = int(self.offsets[t])
            every = exact._scores(exact.network.step(last, cache))
            token = yield from_logits(every[:, offset : offset + self.size])
            tokens.append(token)
            last = token + offset
        return torch.stack(tokens, dim=1).view(n, *self.codes.shape(self.sites))

    def _scores(self, features: Tensor) -> Tensor:
        """Logits of all stages' tokens; -inf where a stage has fewer."""
        scores = self.arithmetic.round(self.head(features))
        return scores.masked_fill(~self.possible.flatten(), -math.inf)

    def _tokens(self, code: Code) -> Tensor:
        """The code as one sequence, `[n, length]`."""
        index = self.codes.check(code, self.sites).long()
        return index.view(len(index), self.length)
