"""A causal transformer over tokens, exact where it has to be: the network of learned priors."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from narrows.functional.fixed_point import FLOATING, Arithmetic


@dataclass
class KeyValueCache:
    """Keys and values of all tokens so far, per layer `[n, heads, length, width / heads]`."""

    keys: list[Tensor]
    values: list[Tensor]
    length: int = 0

    def keep(self, rows: Tensor) -> "KeyValueCache":
        """The cache of some of the sequences: those whose index is in `rows`."""
        keys, values = ([part[rows] for part in parts] for parts in (self.keys, self.values))
        return KeyValueCache(keys, values, self.length)


class Normalize(nn.Module):
    """Layer normalisation that can run on the fixed-point grid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain: nn.Parameter = nn.Parameter(torch.ones(width))
        self.shift: nn.Parameter = nn.Parameter(torch.zeros(width))
        self.arithmetic: Arithmetic = FLOATING

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
        self.norm_attention: Normalize = Normalize(width)
        self.norm_mlp: Normalize = Normalize(width)
        self.qkv: nn.Linear = nn.Linear(width, 3 * width)
        self.out: nn.Linear = nn.Linear(width, width)
        self.up: nn.Linear = nn.Linear(width, 4 * width)
        self.down: nn.Linear = nn.Linear(4 * width, width)
        self.arithmetic: Arithmetic = FLOATING

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
        self.length: int = length
        self.width: int = width
        self.tokens: nn.Parameter = nn.Parameter(0.02 * torch.randn(vocabulary, width))
        self.places: nn.Parameter = nn.Parameter(0.02 * torch.randn(length, width))
        self.start: nn.Parameter = nn.Parameter(0.02 * torch.randn(width))
        self.blocks: nn.ModuleList = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm: Normalize = Normalize(width)
        self.arithmetic: Arithmetic = FLOATING

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
        keys, values = self.start.new_zeros(2, len(self.blocks), *shape)
        return KeyValueCache([*keys], [*values])

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
