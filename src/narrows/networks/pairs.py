"""No network: the bottleneck turns one part of an example into the other."""

from typing import ClassVar

from torch import nn

from narrows.networks.base import Network


class Pairs(Network):
    """Examples `(x, y)` side by side: x is what is coded, y what the decoder is to give.

    Encoder and decoder pass data on, as `Direct` does, to a `Transcoder`. In use x alone will do:
    `model.encode(x)`, and `model.reconstruct(x)` gives y.

    Args:
        inputs: width of x; the other numbers of an example are y.

    Raises:
        ValueError: if it is not positive.

    Example:
        >>> import torch, narrows as nw
        >>> coder = nw.Untied(nw.TopK(2, refit=False, nonnegative=True))
        >>> bottleneck = nw.Transcoder(32, inputs=8, outputs=5, coder=coder)
        >>> model = nw.Autoencoder.for_vectors(13, bottleneck, network=Pairs(inputs=8))
        >>> model.reconstruct(torch.randn(2, 8)).shape
        torch.Size([2, 5])
    """

    features_axis: ClassVar[int | None] = 1
    takes_vectors: ClassVar[bool] = True
    passes_on: ClassVar[bool] = True

    def __init__(self, inputs: int) -> None:
        if inputs < 1:
            raise ValueError(f"Pairs: expected inputs >= 1, got {inputs}")
        self.inputs: int = inputs

    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """None.

        Raises:
            TypeError: if examples are no vectors.
            ValueError: if nothing is left for the target.
        """
        if len(shape) != 1:
            raise TypeError(f"Pairs takes vectors (x, y), got examples of shape {tuple(shape)}")
        if shape[0] <= self.inputs:
            raise ValueError(
                f"Pairs(inputs={self.inputs}): examples of width {shape[0]} have no target behind "
                "the input; load data with pairs, or use Direct"
            )
        return ()

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Passes pairs on.

        Raises:
            ValueError: if the bottleneck takes another width.
        """
        if (features, *self.sites(shape)) != tuple(shape):
            raise ValueError(
                f"Pairs passes on pairs of width {shape[0]}, and the bottleneck takes {features}; "
                f"use Transcoder(inputs={self.inputs}, outputs={shape[0] - self.inputs})"
            )
        return nn.Identity()

    def decoder(self, shape: tuple[int, ...], features: int, *, channels: int) -> nn.Module:
        """Passes z on.

        Raises:
            ValueError: if z, or what the likelihood needs, has another width than the target.
        """
        width = shape[0] - self.inputs
        if (features, channels) != (width, width):
            raise ValueError(
                f"Pairs(inputs={self.inputs}) wants targets of width {width}, the bottleneck gives "
                f"{features} and the likelihood needs {channels}; use Transcoder(inputs="
                f"{self.inputs}, outputs={width}) and narrows.likelihoods.Normal"
            )
        return nn.Identity()
