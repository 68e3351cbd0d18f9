"""An autoregressive transformer over discrete codes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.functional.fixed_point import FLOATING, Floating, freeze
from narrows.priors.causal_transformer import CausalTransformer
from narrows.priors.discrete import check_codes
from narrows.priors.walk import Walk
from narrows.priors.walked import WalkedIndices, over_known


class AutoregressiveTransformer(WalkedIndices):
    """p(code) = prod_t p(token_t | tokens before t): sites in raster order, stages innermost.

    Fits codes without a map too: one site with many stages, one site with many digits. On maps
    `PixelCNN` is cheaper to train, as it need not learn where neighbours are.

    Source: Esser, Rombach and Ommer 2021, Taming Transformers, arXiv:2012.09841, section 3.2.
    We have no sliding window: every token sees all before it.

    Example:
        >>> prior = AutoregressiveTransformer(sites=(), size=8, channels=4, width=16, depth=1)
        >>> prior.sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        sites: tuple[int, ...],
        size: int,
        channels: int | None = None,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
    ) -> None:
        """Makes an untrained prior.

        Args:
            sites: grid of sites; `()` for one code an example.
            size: number of codes K; codes are integers in 0..K-1.
            channels: codes at each site for code `[batch, *sites, channels]`; None: `[batch,
                *sites]`.
            width: features of a token.
            depth: blocks.
            heads: attention heads; a divisor of the width.

        Raises:
            ValueError: if a number is out of range.
        """
        super().__init__(sites)
        if size < 2:
            raise ValueError(f"AutoregressiveTransformer: size must be at least 2, got {size}")
        self.size, self.channels = size, channels
        self.per_site = channels or 1
        self.length = math.prod(self.sites) * self.per_site
        # Each stage has its own meaning of code 7, so it has its own tokens.
        self.network = CausalTransformer(size * self.per_site, self.length, width, depth, heads)
        self.head = nn.Linear(width, size * self.per_site)
        offsets = torch.arange(self.per_site).repeat(math.prod(self.sites)) * size
        self.register_buffer("offsets", offsets, persistent=False)
        self.arithmetic: Floating = FLOATING

    offsets: Tensor

    def logits(self, code: Tensor) -> Tensor:
        """Logits of every token given those before it, `[n, length, K]`."""
        check_codes(self, code, self.size, self.channels)
        tokens = code.long().view(code.shape[0], self.length) + self.offsets
        every = self.arithmetic.round(self.head(self.network(tokens)))
        every = every.unflatten(-1, (self.per_site, self.size))
        stage = self.offsets // self.size
        return every[:, torch.arange(self.length, device=stage.device), stage]

    def log_prob(self, code: Tensor) -> Tensor:
        """Log-probability, `[n]` in nats."""
        logits = self.logits(code).float()
        nats = F.cross_entropy(logits.flatten(0, 1), code.long().flatten(), reduction="none")
        return -nats.view(code.shape[0], self.length).sum(1)

    @torch.no_grad()
    def walk(self, n: int, code: Tensor | None = None) -> Walk:
        """Walks over n codes token by token (see `narrows.priors.walk`)."""
        exact = freeze(self)
        if code is not None:
            known = code.long().view(n, self.length)
            return (yield from over_known(exact.logits(code), known, code))
        cache, last, tokens = exact.network.cache(n), None, []
        for t in range(self.length):
            offset = int(self.offsets[t])
            every = exact.arithmetic.round(exact.head(exact.network.step(last, cache)))
            token = yield every[:, offset : offset + self.size], None
            tokens.append(token)
            last = token + offset
        shape = (*self.sites, *((self.channels,) if self.channels else ()))
        return torch.stack(tokens, dim=1).view(n, *shape)
