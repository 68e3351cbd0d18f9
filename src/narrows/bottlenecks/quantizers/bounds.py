"""How real features are brought into the range that a finite scalar quantiser rounds."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.recorded import Recorded


class Bound(Recorded, ABC):
    """u = b(x), which is rounded to the nearest of L levels that are spread over [-1, 1]."""

    @abstractmethod
    def __call__(self, x: Tensor, levels: Tensor, /) -> Tensor:
        """Maps features `[..., dim]` to u of the same shape.

        Args:
            x: features.
            levels: L of each dimension, `[dim]`.
        """


@dataclass(frozen=True)
class Tanh(Bound):
    """u = tanh(gain x) = 2 sigmoid(2 gain x) - 1.

    With gain = 0.8 (iFSQ) features from N(0, 1) are spread almost evenly over [-1, 1]. The cells of
    the two end levels are half as wide as others, and then used half as often; see `NormalCdf`.

    Args:
        gain: slope at 0.

    Raises:
        ValueError: if gain is not positive.

    Source: Mentzer et al. 2023 (FSQ), section 3.1, with gain 1; Lin et al. 2026, "iFSQ: Improving
        FSQ for Image Generation with 1 Line of Code", 2 sigmoid(1.6 x) - 1.

    Example:
        >>> from narrows.bottlenecks import FiniteScalarQuantizer
        >>> quantizer = FiniteScalarQuantizer([5, 5, 5], Tanh(0.8))
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.gain < math.inf:
            raise ValueError(f"Tanh: expected a gain above 0, got {self.gain}")

    def __call__(self, x: Tensor, _levels: Tensor, /) -> Tensor:
        """Tanh of gain x."""
        return torch.tanh(self.gain * x)


@dataclass(frozen=True)
class NormalCdf(Bound):
    """u = L / (L - 1) (2 Phi(x) - 1): all L levels are equally probable for x from N(0, 1).

    Here u goes half a cell beyond the end levels, so that all cells are equally wide.
    """

    def __call__(self, x: Tensor, levels: Tensor, /) -> Tensor:
        """The error function of x / sqrt 2, stretched."""
        return torch.erf(x * math.sqrt(0.5)) * (levels / (levels - 1)).to(x.dtype)


@dataclass(frozen=True)
class Clamp(Bound):
    """u = x, cut off half a cell beyond the end levels: a uniform quantiser.

    Features that are cut off get no gradient. For the later stages of a residual quantiser, whose
    residuals are within reach; stage s of L levels resolves them with scale=(L - 1)^-s.

    Source: residual stages of these scales, Parker et al. 2024, "Scaling Transformers for
        Low-Bitrate High-Quality Speech Coding".

    Example:
        >>> from narrows.bottlenecks import FiniteScalarQuantizer, ResidualQuantizer
        >>> stages = [FiniteScalarQuantizer([5] * 3, Clamp(), scale=4.0**-s) for s in range(3)]
        >>> quantizer = ResidualQuantizer(stages)
    """

    def __call__(self, x: Tensor, levels: Tensor, /) -> Tensor:
        """Features within the reach of the levels."""
        reach = (levels / (levels - 1)).to(x.dtype)
        return torch.minimum(torch.maximum(x, -reach), reach)
