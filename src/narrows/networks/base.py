"""What a network is: a description from which an encoder and its decoder are made."""

from abc import ABC, abstractmethod

from torch import nn

from narrows.recorded import Recorded, spec


class Network(Recorded, ABC):
    """Describes an encoder and the decoder that belongs to it; holds no weights.

    The same description serves every bottleneck, so that models differ there only. Data come
    as images `[batch, channels, height, width]` or vectors `[batch, d]`; `shape` is that of
    one example, `(channels, height, width)` or `(d,)`.
    """

    @abstractmethod
    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the grid of sites for examples of this shape; `()` for a single site.

        Raises:
            TypeError: if the network does not work on such data.
            ValueError: if the examples are too small for it.
        """

    @abstractmethod
    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Makes a module from data `[batch, *shape]` to features `[batch, *sites, features]`."""

    @abstractmethod
    def decoder(self, shape: tuple[int, ...], features: int, *, channels: int) -> nn.Module:
        """Makes a module from z `[batch, *sites, features]` to the likelihood's parameters.

        Args:
            shape: that of one example.
            features: width of z.
            channels: parameters per pixel, `[batch, channels, height, width]`; for vectors
                the whole width, `[batch, channels]`. `Likelihood.channels` says how many.
        """

    def __eq__(self, other: object) -> bool:
        """Whether both describe the same network."""
        return isinstance(other, Network) and spec(self) == spec(other)

    def __hash__(self) -> int:
        return hash(repr(spec(self)))


def at_least(minimum: int, owner: str, **values: int) -> None:
    """Raises ValueError if one of the named values is below the minimum."""
    for name, value in values.items():
        if value < minimum:
            raise ValueError(f"{owner}: {name} must be at least {minimum}, got {value}")


def grid(owner: str, shape: tuple[int, ...], stride: int) -> tuple[int, int]:
    """Height and width in sites of stride x stride pixels that cover an image.

    Raises:
        TypeError: if the data are not images.
        ValueError: if the image is smaller than one site.
    """
    if len(shape) != 3:
        raise TypeError(
            f"{owner}: expected images of shape (channels, height, width), got shape "
            f"{tuple(shape)}; use narrows.networks.Mlp for vectors"
        )
    _, height, width = shape
    if min(height, width) < stride:
        raise ValueError(
            f"{owner}: an image of {height} x {width} pixels is smaller than one site of "
            f"{stride} x {stride}; use fewer downsamplings, a smaller patch or "
            "narrows.networks.Mlp"
        )
    return -(-height // stride), -(-width // stride)
