"""Pre-norm transformers over patches."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.networks.base import Network, at_least, grid
from narrows.networks.images import ChannelsFirst, ChannelsLast, Crop, Pad


@dataclass(eq=False, repr=False)
class Transformer(Network):
    """Patches as tokens, learned positions, pre-norm blocks; one site per patch.

    Encoder: x_0 = patches W + p; x_{i+1} = x_i + A(LN(x_i)), then + M(LN(.)); features =
    W' LN(x_n). The decoder has its own blocks and turns every token into a patch of output.
    Every site sees the whole image.

    Of a sequence `(t, d)` a patch is `patch` successive steps with all their d features.

    Args:
        patch: pixels per site along each side, or steps per site.
        dim: width of the tokens.
        depth: blocks in the encoder, and as many in the decoder.
        heads: attention heads; must divide `dim`.

    Raises:
        TypeError: for vectors.
        ValueError: for images or sequences smaller than a patch, sizes below 1, or heads not
            dividing dim.

    Source: Dosovitskiy et al. (2021), equations 1-4, without the class token.

    Example:
        >>> import torch
        >>> network = Transformer(patch=4, dim=16, depth=1, heads=2)
        >>> network.encoder((1, 20, 36), features=5)(torch.rand(2, 1, 20, 36)).shape
        torch.Size([2, 5, 9, 5])
        >>> network.encoder((20, 7), features=5)(torch.rand(2, 20, 7)).shape
        torch.Size([2, 5, 5])
    """

    features_axis: ClassVar[int | None] = 1

    patch: int = 4
    dim: int = 128
    _: KW_ONLY
    depth: int = 4
    heads: int = 4

    def __post_init__(self) -> None:
        sizes = {"patch": self.patch, "dim": self.dim, "depth": self.depth, "heads": self.heads}
        at_least(1, "Transformer", **sizes)
        if self.dim % self.heads:
            raise ValueError(
                f"Transformer: heads must divide dim, got {self.heads} heads for {self.dim}"
            )

    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width, or steps, divided by the patch's side, rounded up."""
        return grid("Transformer", _channels_first(shape), self.patch, sequences=True)

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Data `[batch, *shape]` -> `[batch, *sites, features]`."""
        sites, inner = self.sites(shape), _channels_first(shape)
        conv = nn.Conv2d if len(sites) == 2 else nn.Conv1d
        turned = [] if inner == shape else [ChannelsFirst(shape[:1], shape[1], "data")]
        return nn.Sequential(
            *turned,
            Pad(inner, self.patch),
            conv(inner[0], self.dim, self.patch, stride=self.patch),
            ChannelsLast(),
            nn.Flatten(1, len(sites)),
            *self._blocks(math.prod(sites)),
            nn.Linear(self.dim, features),
            nn.Unflatten(1, sites),
        )

    def decoder(self, shape: tuple[int, ...], features: int, *, channels: int) -> nn.Module:
        """Z `[batch, *sites, features]` -> `[batch, channels, *shape[1:]]`."""
        sites = self.sites(shape)
        numbers = (channels if len(sites) == 2 else shape[1]) * self.patch ** len(sites)
        body = [
            ChannelsFirst(sites, features),
            ChannelsLast(),
            nn.Flatten(1, len(sites)),
            nn.Linear(features, self.dim),
            *self._blocks(math.prod(sites)),
            nn.Linear(self.dim, numbers),
        ]
        if len(sites) == 2:
            return nn.Sequential(
                *body,
                nn.Unflatten(1, sites),
                ChannelsFirst(sites, numbers),
                nn.PixelShuffle(self.patch),
                Crop(shape, self.patch),
            )
        steps, width = shape
        if channels != steps:
            raise TypeError(
                f"Transformer gives one number per value of a sequence {shape}, but the "
                f"likelihood asks for {channels} x {width}; use narrows.likelihoods.Normal"
            )
        return nn.Sequential(
            *body,
            nn.Unflatten(2, (self.patch, width)),
            nn.Flatten(1, 2),
            ChannelsFirst((sites[0] * self.patch,), width),
            Crop((width, steps), self.patch),
            ChannelsLast(),
        )

    def _blocks(self, tokens: int) -> list[nn.Module]:
        blocks = [Block(self.dim, self.heads) for _ in range(self.depth)]
        return [Positions(tokens, self.dim), *blocks, nn.LayerNorm(self.dim)]


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`(t, d)` as `(d, t)`; images have their channels first."""
    return shape[::-1] if len(shape) == 2 else shape


class Positions(nn.Module):
    """Adds a learned vector to each token.

    Args:
        tokens: number of tokens.
        dim: their width.
    """

    def __init__(self, tokens: int, dim: int) -> None:
        super().__init__()
        self.positions: nn.Parameter = nn.Parameter(torch.randn(tokens, dim) * 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps `[batch, tokens, dim]` to the same shape."""
        return tokens + self.positions


class Block(nn.Module):
    """x + attention(LN(x)), then x + mlp(LN(x)).

    Args:
        dim: width of the tokens; the mlp is four times as wide.
        heads: attention heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads: int = heads
        self.attention_norm: nn.LayerNorm = nn.LayerNorm(dim)
        self.qkv: nn.Linear = nn.Linear(dim, 3 * dim)
        self.out: nn.Linear = nn.Linear(dim, dim)
        self.mlp: nn.Sequential = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
        )

    def attention(self, x: Tensor) -> Tensor:
        """Multi-head self-attention over `[batch, tokens, dim]`."""
        heads = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*heads.unbind(0))
        return self.out(mixed.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[batch, tokens, dim]` to the same shape."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(x)
