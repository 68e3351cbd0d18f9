"""What a network is: a description from which an encoder and its decoder are made."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from narrows.recorded import Recorded, spec


class Network(Recorded, ABC):
    """Describes an encoder and the decoder that belongs to it; holds no weights.

    The same description serves every bottleneck, so that models differ there only. Data come
    as images `[batch, channels, height, width]`, vectors `[batch, d]` or sequences; `shape` is
    that of one example, such as `(channels, height, width)` or `(d,)`.

    Attributes:
        features_axis: of sequences, 0 if an example is `(channels, t)`, 1 if it is `(t, d)`; None
            if the network takes either.
        takes_vectors: True if an example may be `(d,)`.
        passes_on: True if features are the examples themselves, so that the bottleneck has to have
            their width.
        inputs: leading numbers of an example that are coded and not to be given back; 0 where the
            decoder is to give the example itself.
    """

    features_axis: ClassVar[int | None] = None
    takes_vectors: ClassVar[bool] = False
    passes_on: ClassVar[bool] = False
    inputs: int = 0

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


def grid(
    owner: str, shape: tuple[int, ...], stride: int, *, sequences: bool = False
) -> tuple[int, ...]:
    """Height and width in sites of stride x stride pixels, or the number of sites of a sequence.

    Args:
        owner: who asks.
        shape: `(channels, height, width)`, or with `sequences` also `(channels, t)`.
        stride: pixels or steps per site along each axis.
        sequences: whether the owner takes sequences.

    Raises:
        TypeError: if the data are neither.
        ValueError: if an example is smaller than one site.
    """
    if len(shape) not in ((2, 3) if sequences else (3,)):
        also = " or sequences of shape (channels, t)" * sequences
        raise TypeError(
            f"{owner}: expected images of shape (channels, height, width){also}, got shape "
            f"{tuple(shape)}; use narrows.networks.Mlp for vectors"
        )
    sizes = shape[1:]
    if min(sizes) < stride:
        what = f"an image of {sizes[0]} x {sizes[1]} pixels" if len(sizes) == 2 else (
            f"a sequence of {sizes[0]} steps"
        )  # fmt: skip
        raise ValueError(
            f"{owner}: {what} is smaller than one site of {' x '.join([str(stride)] * len(sizes))}"
            "; use fewer downsamplings, a smaller patch or narrows.networks.Mlp"
        )
    return tuple(-(-size // stride) for size in sizes)
