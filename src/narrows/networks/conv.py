"""The convolutional networks of the VQ-VAE."""

import itertools
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from narrows.networks.base import Network, at_least, grid
from narrows.networks.images import ChannelsFirst, ChannelsLast, Crop, Pad

_MOST = 30  # halvings: a site of 10^9 pixels


@dataclass(eq=False, repr=False)
class Conv(Network):
    """Strided convolutions and a residual stack, mirrored in the decoder.

    Encoder: one 4x4 convolution of stride 2 per downsampling, a 3x3, the residual stack, a 1x1
    to the features. Decoder: a 3x3, the residual stack, 4x4 transposed convolutions. With two
    downsamplings a site covers 4x4 pixels. Images of any size of at least one site: the border
    is repeated up to whole sites in the encoder and cut off in the decoder.

    Sequences `(channels, t)`, such as sound, take the same layers along their one axis: kernels
    of 4, 3 and 1 steps, and sites of `2**downsamplings` steps.

    Args:
        hidden: channels of the layers; those at half resolution have half as many when there
            are several downsamplings.
        residual_layers: residual blocks in each stack.
        residual_hidden: channels inside a residual block.
        downsamplings: how often the resolution is halved.

    Raises:
        TypeError: for vectors.
        ValueError: for images or sequences smaller than a site, or sizes below 1.

    Source: van den Oord, Vinyals & Kavukcuoglu (2017), section 4.1, as built in Sonnet's
        `vqvae_example.ipynb`. The 1x1 to the features is its `pre_vq_conv`.

    Example:
        >>> import torch
        >>> network = Conv(hidden=16, residual_hidden=8)
        >>> network.encoder((3, 27, 27), features=5)(torch.rand(2, 3, 27, 27)).shape
        torch.Size([2, 7, 7, 5])
        >>> network.decoder((3, 27, 27), features=5, channels=3)(torch.rand(2, 7, 7, 5)).shape
        torch.Size([2, 3, 27, 27])
        >>> network.encoder((1, 500), features=5)(torch.rand(2, 1, 500)).shape
        torch.Size([2, 125, 5])
    """

    features_axis: ClassVar[int | None] = 0

    hidden: int = 128
    residual_layers: int = 2
    _: KW_ONLY
    residual_hidden: int = 32
    downsamplings: int = 2

    def __post_init__(self) -> None:
        at_least(1, "Conv", hidden=self.hidden, residual_hidden=self.residual_hidden)
        counts = {"residual_layers": self.residual_layers, "downsamplings": self.downsamplings}
        at_least(0, "Conv", **counts)
        if self.downsamplings > _MOST:
            raise ValueError(
                f"Conv: downsamplings must be at most {_MOST}, got {self.downsamplings}"
            )

    @property
    def stride(self) -> int:
        """Pixels or steps per site along each axis."""
        return 2**self.downsamplings

    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The axes after the channels divided by the stride, rounded up."""
        return grid("Conv", shape, self.stride, sequences=True)

    def _widths(self, data_channels: int) -> list[int]:
        """Channels at each resolution, from the data's to that of the sites."""
        halves = [max(1, self.hidden // 2)] if self.downsamplings > 1 else []
        return [data_channels, *halves, *[self.hidden] * (self.downsamplings - len(halves))]

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Data `[batch, *shape]` -> `[batch, *sites, features]`."""
        axes = len(self.sites(shape))
        conv = _CONV[axes]
        widths = self._widths(shape[0])
        layers: list[nn.Module] = [Pad(shape, self.stride)]
        for before, after in itertools.pairwise(widths):
            layers += [conv(before, after, 4, stride=2, padding=1), nn.ReLU()]
        return nn.Sequential(
            *layers,
            conv(widths[-1], self.hidden, 3, padding=1),
            self._stack(axes),
            conv(self.hidden, features, 1),
            ChannelsLast(),
        )

    def decoder(self, shape: tuple[int, ...], features: int, *, channels: int) -> nn.Module:
        """Z `[batch, *sites, features]` -> `[batch, channels, *shape[1:]]`."""
        sites = self.sites(shape)
        conv, transposed = _CONV[len(sites)], _TRANSPOSED[len(sites)]
        layers: list[nn.Module] = [
            ChannelsFirst(sites, features),
            conv(features, self.hidden, 3, padding=1),
            self._stack(len(sites)),
        ]
        if not self.downsamplings:
            return nn.Sequential(*layers, conv(self.hidden, channels, 3, padding=1))
        widths = self._widths(channels)[::-1]
        for before, after in itertools.pairwise(widths):
            layers += [transposed(before, after, 4, stride=2, padding=1), nn.ReLU()]
        return nn.Sequential(*layers[:-1], Crop(shape, self.stride))

    def _stack(self, axes: int) -> "ResidualStack":
        return ResidualStack(self.hidden, self.residual_layers, self.residual_hidden, axes=axes)


_CONV: Mapping[int, type[nn.Conv1d | nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}
_TRANSPOSED: Mapping[int, type[nn.ConvTranspose1d | nn.ConvTranspose2d]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
}
"""Layers by the number of axes along which they go."""


class ResidualStack(nn.Module):
    """relu(x_n), x_{i+1} = x_i + W_1x1 relu(W_3x3 relu(x_i)).

    Args:
        hidden: channels of x.
        layers: number of residual blocks.
        inner: channels between the two convolutions of a block.
        axes: 2 for images, 1 for sequences.
    """

    def __init__(self, hidden: int, layers: int, inner: int, *, axes: int = 2) -> None:
        super().__init__()
        conv = _CONV[axes]
        self.blocks: nn.ModuleList = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                conv(hidden, inner, 3, padding=1, bias=False),
                nn.ReLU(),
                conv(inner, hidden, 1, bias=False),
            )
            for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[batch, hidden, ...]` to the same shape."""
        for block in self.blocks:
            x = x + block(x)
        return F.relu(x)
