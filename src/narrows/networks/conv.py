"""The convolutional networks of the VQ-VAE."""

import itertools
from dataclasses import KW_ONLY, dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from narrows.networks.base import Network, at_least, grid
from narrows.networks.images import ChannelsFirst, ChannelsLast, Crop, Pad


@dataclass(eq=False, repr=False)
class Conv(Network):
    """Strided convolutions and a residual stack, mirrored in the decoder.

    Encoder: one 4x4 convolution of stride 2 per downsampling, a 3x3, the residual stack, a 1x1
    to the features. Decoder: a 3x3, the residual stack, 4x4 transposed convolutions. With two
    downsamplings a site covers 4x4 pixels. Images of any size of at least one site: the border
    is repeated up to whole sites in the encoder and cut off in the decoder.

    Args:
        hidden: channels of the layers; those at half resolution have half as many when there
            are several downsamplings.
        residual_layers: residual blocks in each stack.
        residual_hidden: channels inside a residual block.
        downsamplings: how often the resolution is halved.

    Raises:
        TypeError: for vectors.
        ValueError: for images smaller than a site, or sizes below 1.

    Source: van den Oord, Vinyals & Kavukcuoglu (2017), section 4.1, as built in Sonnet's
        `vqvae_example.ipynb`. The 1x1 to the features is its `pre_vq_conv`.

    Example:
        >>> import torch
        >>> network = Conv(hidden=16, residual_hidden=8)
        >>> network.encoder((3, 27, 27), features=5)(torch.rand(2, 3, 27, 27)).shape
        torch.Size([2, 7, 7, 5])
        >>> network.decoder((3, 27, 27), features=5, channels=3)(torch.rand(2, 7, 7, 5)).shape
        torch.Size([2, 3, 27, 27])
    """

    hidden: int = 128
    residual_layers: int = 2
    _: KW_ONLY
    residual_hidden: int = 32
    downsamplings: int = 2

    def __post_init__(self) -> None:
        at_least(1, "Conv", hidden=self.hidden, residual_hidden=self.residual_hidden)
        counts = {"residual_layers": self.residual_layers, "downsamplings": self.downsamplings}
        at_least(0, "Conv", **counts)

    @property
    def stride(self) -> int:
        """Pixels per site along each side."""
        return 2**self.downsamplings

    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width divided by the stride, rounded up."""
        return grid("Conv", shape, self.stride)

    def _widths(self, data_channels: int) -> list[int]:
        """Channels at each resolution, from the data's to that of the sites."""
        halves = [max(1, self.hidden // 2)] if self.downsamplings > 1 else []
        return [data_channels, *halves, *[self.hidden] * (self.downsamplings - len(halves))]

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Images `[batch, channels, height, width]` -> `[batch, *sites, features]`."""
        self.sites(shape)
        widths = self._widths(shape[0])
        layers: list[nn.Module] = [Pad(shape, self.stride)]
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        return nn.Sequential(
            *layers,
            nn.Conv2d(widths[-1], self.hidden, 3, padding=1),
            ResidualStack(self.hidden, self.residual_layers, self.residual_hidden),
            nn.Conv2d(self.hidden, features, 1),
            ChannelsLast(),
        )

    def decoder(self, shape: tuple[int, ...], features: int, *, channels: int) -> nn.Module:
        """Z `[batch, *sites, features]` -> `[batch, channels, height, width]`."""
        layers: list[nn.Module] = [
            ChannelsFirst(self.sites(shape), features),
            nn.Conv2d(features, self.hidden, 3, padding=1),
            ResidualStack(self.hidden, self.residual_layers, self.residual_hidden),
        ]
        if not self.downsamplings:
            return nn.Sequential(*layers, nn.Conv2d(self.hidden, channels, 3, padding=1))
        widths = self._widths(channels)[::-1]
        for before, after in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        return nn.Sequential(*layers[:-1], Crop(shape, self.stride))


class ResidualStack(nn.Module):
    """relu(x_n), x_{i+1} = x_i + W_1x1 relu(W_3x3 relu(x_i)).

    Args:
        hidden: channels of x.
        layers: number of residual blocks.
        inner: channels between the two convolutions of a block.
    """

    def __init__(self, hidden: int, layers: int, inner: int) -> None:
        super().__init__()
        self.blocks: nn.ModuleList = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(hidden, inner, 3, padding=1, bias=False),
                nn.ReLU(),
                nn.Conv2d(inner, hidden, 1, bias=False),
            )
            for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[batch, hidden, height, width]` to the same shape."""
        for block in self.blocks:
            x = x + block(x)
        return F.relu(x)
