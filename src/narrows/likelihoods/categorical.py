"""A probability for each of the 256 values of every dimension."""

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.functional.conditionals import Walk
from narrows.likelihoods.base import (
    LEVELS,
    Likelihood,
    at_least_float32,
    check_unit_range,
    levels_at_once,
    to_levels,
)


class Categorical256(Likelihood):
    """p(x = l/255) = softmax(output)_l over the 256 levels, independently in every dimension.

    x in [0, 1] is rounded to the nearest level. The most flexible choice per pixel, at 256
    output channels per channel of the data; neighbouring levels know nothing of each other.

    Source: van den Oord, Kalchbrenner & Kavukcuoglu (2016), section 2.2, without the
        autoregression over pixels and colours.

    Example:
        >>> Categorical256().log_prob(torch.rand(1, 2), torch.zeros(1, 512))  # -2 log 256
        tensor([-11.0904])
    """

    discrete = True
    gives_levels = True

    def channels(self, data_channels: int) -> int:
        """256 logits per channel of the data."""
        return LEVELS * data_channels

    def _logits(self, output: Tensor) -> Tensor:
        """Logits `[batch, 256, channels, ...]`."""
        return at_least_float32(output).unflatten(1, (-1, LEVELS)).transpose(1, 2)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Nats per example, `[batch]`; x in [0, 1]."""
        x, output = self._check(x, output)
        check_unit_range(self, x)
        losses = F.cross_entropy(self._logits(output), to_levels(x), reduction="none")
        return -losses.flatten(1).sum(1)

    def level_conditionals(self, output: Tensor, levels: Tensor | None = None) -> Walk[Tensor]:
        """All values at once."""
        masses = self._logits(output).movedim(1, -1).double().softmax(-1)
        return levels_at_once(masses, levels)

    def mean(self, output: Tensor) -> Tensor:
        """Sum over the levels of l/255 times its probability."""
        probabilities = self._logits(output).softmax(1)
        levels = torch.linspace(0, 1, LEVELS, device=output.device).to(probabilities)
        return probabilities.movedim(1, -1) @ levels

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws levels and returns them in [0, 1]."""
        logits = self._logits(output)
        # The largest of logits plus Gumbel noise is a draw from the softmax.
        noise = torch.empty_like(logits).exponential_(generator=generator).log()
        return (logits - noise).argmax(1).to(logits) / (LEVELS - 1)
