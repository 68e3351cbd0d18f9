"""Pre-norm transformers over patches."""

from dataclasses import KW_ONLY, dataclass

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

    Args:
        patch: pixels per site along each side.
        dim: width of the tokens.
        depth: blocks in the encoder, and as many in the decoder.
        heads: attention heads; must divide `dim`.

    Raises:
        TypeError: for vectors.
        ValueError: for images smaller than a patch, sizes below 1, or heads not dividing dim.

    Source: Dosovitskiy et al. (2021), equations 1-4, without the class token.

    Example:
        >>> import torch
        >>> network = Transformer(patch=4, dim=16, depth=1, heads=2)
        >>> network.encoder((1, 20, 36), features=5)(torch.rand(2, 1, 20, 36)).shape
        torch.Size([2, 5, 9, 5])
    """

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
        """Height and width divided by the patch's side, rounded up."""
        return grid("Transformer", shape, self.patch)

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Images `[batch, channels, height, width]` -> `[batch, *sites, features]`."""
        height, width = self.sites(shape)
        return nn.Sequential(
            Pad(shape, self.patch),
            nn.Conv2d(shape[0], self.dim, self.patch, stride=self.patch),
            ChannelsLast(),
            nn.Flatten(1, 2),
            *self._blocks(height * width),
            nn.Linear(self.dim, features),
            nn.Unflatten(1, (height, width)),
        )

    def decoder(self, shape: tuple[int, ...], features: int, *, channels: int) -> nn.Module:
        """Z `[batch, *sites, features]` -> `[batch, channels, height, width]`."""
        height, width = self.sites(shape)
        return nn.Sequential(
            ChannelsFirst((height, width), features),
            ChannelsLast(),
            nn.Flatten(1, 2),
            nn.Linear(features, self.dim),
            *self._blocks(height * width),
            nn.Linear(self.dim, channels * self.patch**2),
            nn.Unflatten(1, (height, width)),
            ChannelsFirst((height, width), channels * self.patch**2),
            nn.PixelShuffle(self.patch),
            Crop(shape, self.patch),
        )

    def _blocks(self, tokens: int) -> list[nn.Module]:
        blocks = [Block(self.dim, self.heads) for _ in range(self.depth)]
        return [Positions(tokens, self.dim), *blocks, nn.LayerNorm(self.dim)]


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
