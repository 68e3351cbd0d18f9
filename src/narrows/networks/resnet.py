"""Convolutional networks with batch normalisation, free or bounded output."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from narrows.networks.base import Network, at_least, grid
from narrows.networks.images import ChannelsFirst, ChannelsLast, Crop, Pad


@dataclass(eq=False, repr=False)
class ResNet(Network):
    """Two strided convolutions and two residual blocks with batch normalisation, and back.

    Encoder: 4x4 convolution of stride 2, BatchNorm, ReLU, 4x4 convolution of stride 2, two
    residual blocks, a 1x1 to the features. Decoder: the same in reverse with transposed
    convolutions. A site covers 4x4 pixels; any image size of at least that.

    Batch normalisation keeps running statistics, which training moves; in eval the network is
    a fixed function of each example alone.

    Args:
        hidden: channels of all layers.
        bounded: end the decoder with a sigmoid, so that the output lies in (0, 1). That is the
            original's Tanh for images in [0, 1] instead of [-1, 1]. Only for likelihoods whose
            parameter is the mean (`Normal`), not for logits.

    Raises:
        TypeError: for vectors; for a bounded output where the likelihood wants more numbers
            per pixel than a mean.
        ValueError: for images smaller than 4x4, or a width below 1.

    Source: the encoder and decoder of github.com/ritheshkumar95/pytorch-vqvae, where the
        width of the features equals `hidden`; the 1x1 convolutions let them differ here.

    Example:
        >>> import torch
        >>> decoder = ResNet(hidden=8, bounded=True).decoder((1, 8, 8), features=3, channels=1)
        >>> images = decoder(torch.randn(5, 2, 2, 3))
        >>> bool((images > 0).all() and (images < 1).all()), images.shape
        (True, torch.Size([5, 1, 8, 8]))
    """

    hidden: int = 256
    bounded: bool = False

    stride: ClassVar[int] = 4

    def __post_init__(self) -> None:
        at_least(1, "ResNet", hidden=self.hidden)

    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width divided by 4, rounded up."""
        return grid("ResNet", shape, self.stride)

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Images `[batch, channels, height, width]` -> `[batch, *sites, features]`."""
        self.sites(shape)
        return nn.Sequential(
            Pad(shape, self.stride),
            nn.Conv2d(shape[0], self.hidden, 4, stride=2, padding=1),
            nn.BatchNorm2d(self.hidden),
            nn.ReLU(),
            nn.Conv2d(self.hidden, self.hidden, 4, stride=2, padding=1),
            ResidualBlock(self.hidden),
            ResidualBlock(self.hidden),
            nn.Conv2d(self.hidden, features, 1),
            ChannelsLast(),
        )

    def decoder(self, shape: tuple[int, ...], features: int, *, channels: int) -> nn.Module:
        """Z `[batch, *sites, features]` -> `[batch, channels, height, width]`."""
        if self.bounded and channels != shape[0]:
            raise TypeError(
                f"ResNet(bounded=True) gives one number in (0, 1) per value of the data "
                f"({shape[0]} channels), but the likelihood asks for {channels}; use "
                "bounded=False or narrows.likelihoods.Normal"
            )
        return nn.Sequential(
            ChannelsFirst(self.sites(shape), features),
            nn.Conv2d(features, self.hidden, 1),
            ResidualBlock(self.hidden),
            ResidualBlock(self.hidden),
            nn.ReLU(),
            nn.ConvTranspose2d(self.hidden, self.hidden, 4, stride=2, padding=1),
            nn.BatchNorm2d(self.hidden),
            nn.ReLU(),
            nn.ConvTranspose2d(self.hidden, channels, 4, stride=2, padding=1),
            nn.Sigmoid() if self.bounded else nn.Identity(),
            Crop(shape, self.stride),
        )


class ResidualBlock(nn.Module):
    """x + BN(W_1x1 relu(BN(W_3x3 relu(x)))).

    Args:
        hidden: channels of x.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.block: nn.Sequential = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.BatchNorm2d(hidden),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[batch, hidden, height, width]` to the same shape."""
        return x + self.block(x)
