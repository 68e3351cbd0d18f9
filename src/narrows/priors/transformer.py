"""A causal transformer over the indices of a code."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.codes import Code
from narrows.functional.conditionals import Conditionals, from_logits, over_known
from narrows.functional.fixed_point import FLOATING, Floating, freeze
from narrows.priors.base import AutoregressiveIndices


@dataclass
class KeyValueCache:
    """Keys and values of all tokens so far, per layer `[n, heads, length, width / heads]`."""

    keys: list[Tensor]
    values: list[Tensor]
    length: int = 0

    def keep(self, rows: Tensor) -> "KeyValueCache":
        """The cache of some of the sequences: those whose index is in `rows`."""
        return KeyValueCache([k[rows] for k in self.keys], [v[rows] for v in self.values],
                             self.length)  # fmt: skip


class Normalize(nn.Module):
    """Layer normalisation that can run on the fixed-point grid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))
        self.arithmetic: Floating = FLOATING

    def forward(self, x: Tensor) -> Tensor:
        """(x - mean) / std over the last axis, then gain and shift."""
        centred = self.arithmetic.round(x - x.mean(-1, keepdim=True))
        # On the grid the squares' sum is exact; division and root are exactly rounded by IEEE.
        spread = (centred.square().sum(-1, keepdim=True) / x.shape[-1] + 1e-5).sqrt()
        return self.arithmetic.round(centred / spread * self.gain + self.shift)


class Block(nn.Module):
    """Pre-norm attention and a two-layer network, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = Normalize(width), Normalize(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.arithmetic: Floating = FLOATING

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys, values of x `[n, t, width]`, each `[n, heads, t, width / heads]`."""
        qkv = self.arithmetic.round(self.qkv(self.norm_attention(x)))
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def attend(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """The block's output for tokens x; `mask` `[t, s]` is True where token t may look at s."""
        a = self.arithmetic
        scores = a.round(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        heard = a.round(a.softmax(scores) @ v).transpose(1, 2).flatten(2)
        x = a.round(x + self.out(heard))
        return a.round(x + self.down(a.gelu(a.round(self.up(self.norm_mlp(x))))))


class CausalTransformer(nn.Module):
    """tokens `[n, t]` -> features `[n, t, width]`; position t has seen tokens before t only.

    The input is shifted by one, so position 0 has seen nothing but the context.

    Source: Vaswani et al. 2017, Attention Is All You Need, arXiv:1706.03762, with
    normalisation before each part (Radford et al. 2019). Exact under
    `narrows.functional.fixed_point.freeze`: whole and cached evaluation then agree bit for bit.
    """

    def __init__(self, vocabulary: int, length: int, width: int, depth: int, heads: int) -> None:
        """Makes an untrained transformer.

        Raises:
            ValueError: if the heads do not divide the width, or a number is below 1.
        """
        super().__init__()
        if min(length, width, depth, heads) < 1 or width % heads:
            raise ValueError(
                "expected positive length, width, depth and heads, and heads dividing width; got "
                f"length={length}, width={width}, depth={depth}, heads={heads}"
            )
        self.length, self.width = length, width
        self.tokens = nn.Parameter(0.02 * torch.randn(vocabulary, width))
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = Normalize(width)
        self.arithmetic: Floating = FLOATING

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """Features of every position, `[n, t, width]`.

        Args:
            tokens: `[n, t]`, t <= length; the last one is not looked at.
            context: `[n, width]`, added at every position.
        """
        n, t = tokens.shape
        before = torch.cat([self.start.expand(n, 1, -1), self.tokens[tokens[:, :-1]]], dim=1)
        x = self._place(before[:, :t], self.places[:t], context)
        mask = torch.ones(t, t, dtype=torch.bool, device=tokens.device).tril()
        for block in self.stack:
            x = block.attend(x, *block.split(x), mask)
        return self.norm(x)

    def cache(self, n: int) -> KeyValueCache:
        """An empty cache for n sequences."""
        heads = self.stack[0].heads
        shape = (n, heads, self.length, self.width // heads)
        return KeyValueCache(
            [self.start.new_zeros(shape) for _ in self.blocks],
            [self.start.new_zeros(shape) for _ in self.blocks],
        )

    def step(
        self, last: Tensor | None, cache: KeyValueCache, context: Tensor | None = None
    ) -> Tensor:
        """Features of the next position, `[n, width]`, from the last token `[n]` (None at first).

        Writes the new keys and values into the cache.
        """
        t, n = cache.length, cache.keys[0].shape[0]
        token = self.start.expand(n, 1, -1) if last is None else self.tokens[last][:, None]
        x = self._place(token, self.places[t : t + 1], context)
        for block, keys, values in zip(self.stack, cache.keys, cache.values, strict=True):
            q, keys[:, :, t : t + 1], values[:, :, t : t + 1] = block.split(x)
            x = block.attend(x, q, keys[:, :, : t + 1], values[:, :, : t + 1], None)
        cache.length = t + 1
        return self.norm(x)[:, 0]

    @property
    def stack(self) -> list[Block]:
        """The blocks, first to last."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def _place(self, tokens: Tensor, places: Tensor, context: Tensor | None) -> Tensor:
        x = tokens + places
        return self.arithmetic.round(x if context is None else x + context[:, None])


class AutoregressiveTransformer(AutoregressiveIndices):
    """p(code) = prod_t p(token_t | tokens before t): sites in raster order, stages innermost.

    Fits codes without a map too: one site with many stages, one site with many digits. On maps
    `PixelCNN` is cheaper to train, as it need not learn where neighbours are.

    Source: Esser, Rombach and Ommer 2021, Taming Transformers, arXiv:2012.09841, section 3.2.
    We have no sliding window: every token sees all before it.

    Example:
        >>> prior = AutoregressiveTransformer(sites=(), size=8, channels=4, hidden=16, depth=1)
        >>> prior.sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 4])
    """

    learning_rate = 1e-3

    def __init__(
        self,
        sites: tuple[int, ...],
        size: int,
        *,
        channels: int | None = None,
        hidden: int = 128,
        depth: int = 4,
        heads: int = 4,
    ) -> None:
        """Makes an untrained prior.

        Args:
            sites: grid of sites; `()` for one code an example.
            size: number of codes K; codes are integers in 0..K-1.
            channels: codes at each site for code `[batch, *sites, channels]`; None: `[batch,
                *sites]`.
            hidden: width of a token's features.
            depth: blocks.
            heads: attention heads; a divisor of `hidden`.

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
        self.network = CausalTransformer(size * self.per_site, self.length, hidden, depth, heads)
        self.head = nn.Linear(hidden, size * self.per_site)
        offsets = torch.arange(self.per_site).repeat(math.prod(self.sites)) * size
        self.register_buffer("offsets", offsets, persistent=False)
        self.arithmetic: Floating = FLOATING

    offsets: Tensor

    def logits(self, code: Tensor) -> Tensor:
        """Logits of every token given those before it, `[n, length, K]`."""
        tokens = self._tokens(code) + self.offsets
        every = self.arithmetic.round(self.head(self.network(tokens)))
        every = every.unflatten(-1, (self.per_site, self.size))
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
            every = exact.arithmetic.round(exact.head(exact.network.step(last, cache)))
            token = yield from_logits(every[:, offset : offset + self.size])
            tokens.append(token)
            last = token + offset
        return torch.stack(tokens, dim=1).view(n, *self.codes.shape(self.sites))

    def _tokens(self, code: Code) -> Tensor:
        """The code as one sequence, `[n, length]`."""
        index = self.codes.check(code, self.sites).long()
        return index.view(len(index), self.length)
