"""No network: the bottleneck codes the data themselves."""

import math
from typing import ClassVar

from torch import nn

from narrows.networks.base import Network


class Direct(Network):
    """Encoder and decoder that pass data on, so that the bottleneck is the whole model.

    With a `SparseDictionary` that is a sparse autoencoder, with a `VectorQuantizer` a k-means.
    Vectors `(d,)` and images, as vectors of all their values, have one site; sequences `(t, d)`
    have t.

    Example:
        >>> import torch
        >>> Direct().encoder((3,), features=3)(torch.ones(1, 3))
        tensor([[1., 1., 1.]])
    """

    features_axis: ClassVar[int | None] = 1
    takes_vectors: ClassVar[bool] = True
    passes_on: ClassVar[bool] = True

    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """T for sequences `(t, d)`, else none."""
        return tuple(shape[:1]) if len(shape) == 2 else ()

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Data `[batch, *shape]` -> the same as `[batch, *sites, features]`.

        Raises:
            ValueError: if the bottleneck has another width than the data.
        """
        width = math.prod(shape) // math.prod(self.sites(shape))
        if features != width:
            raise ValueError(
                f"Direct passes on vectors of width {width}, and the bottleneck has width "
                f"{features}; give it dim={width}, or use narrows.networks.Mlp"
            )
        return nn.Identity() if len(shape) < 3 else nn.Flatten()

    def decoder(self, shape: tuple[int, ...], features: int, *, channels: int) -> nn.Module:
        """The inverse.

        Raises:
            ValueError: also if the likelihood needs more than one number for each value.
        """
        self.encoder(shape, features)
        if channels != shape[0]:
            raise ValueError(
                f"Direct gives {shape[0]} channels, and the likelihood needs {channels}; use "
                "narrows.likelihoods.Normal"
            )
        return nn.Identity() if len(shape) < 3 else nn.Unflatten(1, tuple(shape))
