"""Fully connected networks; linear maps without hidden layers."""

import itertools
import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from narrows.networks.base import Network, at_least
from narrows.networks.images import check_batch


class Mlp(Network):
    """Fully connected encoder and decoder for vectors and small images.

    features = W_n relu(... relu(W_1 x + b_1) ...) + b_n; the decoder has the same hidden
    widths in reverse. Without hidden layers both are affine, as in PCA.

    Args:
        hidden: widths of the encoder's hidden layers; `()` for an affine map.
        sites: grid of sites into which the encoder's output is divided; `()` codes the whole
            example as one site. A vector quantiser wants several, such as `(8,)`.

    Raises:
        ValueError: if a width or a number of sites is below 1.

    Example:
        >>> import torch
        >>> network = Mlp(hidden=(32,), sites=(4,))
        >>> network.encoder((1, 8, 8), features=5)(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 4, 5])
        >>> network.decoder((1, 8, 8), features=5, channels=1)(torch.rand(2, 4, 5)).shape
        torch.Size([2, 1, 8, 8])
    """

    takes_vectors: ClassVar[bool] = True

    def __init__(self, hidden: Sequence[int] = (256, 256), sites: tuple[int, ...] = ()) -> None:
        for width in hidden:
            at_least(1, "Mlp", hidden=width)
        for size in sites:
            at_least(1, "Mlp", sites=size)
        self.hidden: tuple[int, ...] = tuple(hidden)
        self._sites = tuple(sites)

    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The grid given at construction, whatever the data's shape."""
        at_least(1, "Mlp", **{f"axis {axis} of the shape": size for axis, size in enumerate(shape)})
        return self._sites

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Data `[batch, *shape]` -> features `[batch, *sites, features]`."""
        code = (*self.sites(shape), features)
        return _Dense(tuple(shape), self.hidden, code, "data")

    def decoder(self, shape: tuple[int, ...], features: int, *, channels: int) -> nn.Module:
        """Z `[batch, *sites, features]` -> `[batch, channels, *shape[1:]]`."""
        code = (*self.sites(shape), features)
        return _Dense(code, self.hidden[::-1], (channels, *shape[1:]), "z")


class _Dense(nn.Sequential):
    """Fully connected layers with ReLU between them, from one shape to another."""

    def __init__(
        self, source: tuple[int, ...], hidden: tuple[int, ...], target: tuple[int, ...], name: str
    ) -> None:
        widths = (math.prod(source), *hidden, math.prod(target))
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.ReLU(), nn.Linear(before, after)]
        super().__init__(*layers[1:])
        self.source, self.target, self.name = source, target, name

    def forward(self, input: Tensor) -> Tensor:
        check_batch(input, self.source, self.name)
        return super().forward(input.flatten(1)).unflatten(1, self.target)
