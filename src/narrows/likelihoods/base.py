"""The one interface of p(x | decoder output)."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from narrows.following import Following
from narrows.functional.conditionals import Conditional, Walk
from narrows.recorded import Recorded

LEVELS = 256
"""Values of an 8-bit number."""


class Likelihood(Recorded, Following, ABC):
    """p(x | output) of data `[batch, channels, ...]`, normalised over all its dimensions.

    The decoder delivers `[batch, likelihood.channels(channels), ...]`; vectors `[batch, d]`
    count as d channels without sites. All is computed in float32 or better under autocast.

    Attributes:
        discrete: whether `log_prob` is that of 8-bit values, so that -log p / ln 2 is a number
            of bits; else it is a density, whose value depends on the unit of x.
        gives_levels: True if `level_conditionals` gives each of 256 levels a probability.
        any_unit: True if the output is E[x] for data in any unit; the networks of vectors then
            see them in units of the training set (`Autoencoder.learn_units`).
        whole_batch: whether log p of an example depends in training on the rest of its batch.
    """

    discrete: ClassVar[bool] = False
    gives_levels: ClassVar[bool] = False
    any_unit: ClassVar[bool] = False
    whole_batch: bool = False
    follows: bool = False

    def channels(self, data_channels: int) -> int:
        """Parameters per pixel that the decoder has to deliver (of the vector, for vectors)."""
        return data_channels

    @abstractmethod
    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Log p(x | output), `[batch]`, in nats per example: summed over the data's dimensions.

        Raises:
            ValueError: if the shapes do not fit, or x lies outside the range required.
        """

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """E[x | output], of the shape of x: the reconstruction."""

    @abstractmethod
    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws x given output, of the shape of x."""

    def level_conditionals(self, _output: Tensor, _levels: Tensor | None = None, /) -> Walk[Tensor]:
        """Walks over the 8-bit values of images (see `narrows.functional.conditionals`).

        Lossless files follow it. It returns the levels, int64, of the shape of x.

        Args:
            _output: of the decoder, `[n, channels, ...]`.
            _levels: the images in 0..255 if they are known; None to be told them.

        Raises:
            TypeError: if this likelihood says nothing about 256 levels.
        """
        raise TypeError(
            f"lossless coding needs a probability for each of 256 levels, which "
            f"{type(self).__name__} does not give; train with DiscretizedLogisticMixture, "
            "Categorical256 or Normal"
        )

    def learn_unit(self, _scale: float, /) -> None:
        """Takes the training set's standard deviation, which a variance may be relative to."""

    def update(self, x: Tensor, output: Tensor) -> None:
        """Running updates after one optimiser step; reduced over ranks where there are any.

        Args:
            x: the data of the step, of this rank.
            output: what the decoder gave for them.
        """

    def _check(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Refuses what does not fit, so that nothing broadcasts; float32 or better."""
        if not x.is_floating_point():
            raise ValueError(
                f"{type(self).__name__}: expected floating-point data, got {x.dtype}; divide "
                "8-bit values by 255"
            )
        wanted = (x.shape[0], self.channels(x.shape[1]), *x.shape[2:]) if x.dim() > 1 else None
        if wanted is None or tuple(output.shape) != wanted:
            raise ValueError(
                f"{type(self).__name__}: expected decoder output of shape {wanted} for data of "
                f"shape {tuple(x.shape)}, got {tuple(output.shape)}; build the decoder with "
                "likelihood.channels(data_channels) output channels"
            )
        return at_least_float32(x), at_least_float32(output)


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor, in float32 if it was in half precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def check_unit_range(owner: Likelihood, x: Tensor) -> None:
    """Refuses data outside [0, 1]; graph capture cannot branch on data.

    Raises:
        ValueError: names the range found.
    """
    if torch.compiler.is_compiling() or x.numel() == 0:
        return
    low, high = (value.item() for value in torch.aminmax(x.detach()))
    if not (low >= 0 and high <= 1):  # also where either is NaN
        raise ValueError(
            f"{type(owner).__name__}: expected data in [0, 1], got values from {low:g} to "
            f"{high:g}; rescale the data, or use narrows.likelihoods.Normal"
        )


def to_levels(x: Tensor) -> Tensor:
    """The nearest of the 256 levels, 0 to 255, of data in [0, 1]."""
    return (x * (LEVELS - 1)).round().long()


def inner_edges(like: Tensor) -> Tensor:
    """The 255 edges 0.5, 1.5, ... between neighbouring levels, in float64."""
    return torch.arange(1, LEVELS, dtype=torch.float64, device=like.device) - 0.5


def between(below: Tensor) -> Tensor:
    """Masses of the levels from the distribution function at their inner edges, `[..., 255]`."""
    ends = torch.cat([torch.zeros_like(below[..., :1]), below, torch.ones_like(below[..., :1])], -1)
    return ends.diff(dim=-1)


def levels_at_once(masses: Tensor, levels: Tensor | None) -> Walk[Tensor]:
    """Walks over all values in one step.

    Args:
        masses: probability of each level, `[..., 256]`.
        levels: the values `[...]` if they are known.
    """
    weights = masses.flatten(0, -2).clamp(min=0).cpu()
    known = None if levels is None else levels.flatten()
    found = yield Conditional(weights, len(weights), known)
    return found.to(masses.device).view(masses.shape[:-1])
