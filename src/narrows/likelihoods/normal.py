"""Normal with one standard deviation for all dimensions: given, learned or optimal."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from narrows.functional.conditionals import Walk
from narrows.functional.ranks import ranks, sum_over_ranks, total_over_ranks
from narrows.likelihoods.base import (
    LEVELS,
    Likelihood,
    at_least_float32,
    between,
    inner_edges,
    levels_at_once,
)

MIN_VARIANCE = 1e-6
"""Keeps the density finite on data that are reconstructed perfectly, in squared `unit`; for 8-bit
images in [0, 1] it is below the variance of their rounding, (1/255)^2 / 12 = 1.3e-6."""

DECAY = 0.99
"""Of the running mean square error, once 100 steps have been averaged."""


class Normal(Likelihood):
    """N(x; output, sigma^2), one sigma for all dimensions of all examples.

    log p = -D/2 log(2 pi sigma^2) - |x - output|^2 / (2 sigma^2), a density in the unit of x:
    not a number of bits, and with a made-up sigma not even a statement about the data.

    With "optimal" the variance in training is the batch's mean squared error, the maximum-
    likelihood value, through which gradients flow; `update` keeps a running mean of it, which
    eval and sampling use (1 before the first update). The batch is that of all ranks of
    torch.distributed together. Learned and optimal values count in squares of `unit`: 1 for
    images, the training set's standard deviation for vectors (`Autoencoder.learn_units`).

    Args:
        sigma: a standard deviation in the unit of x; "learned" for a parameter, started at 1;
            "optimal" for the one that fits best.

    Raises:
        ValueError: if sigma is not positive, or another word.

    Source: Rybkin, Daniilidis & Levine (2021), "Simple and effective VAE training with
        calibrated decoders", equation 5 for "optimal", which they evaluate per batch too.

    Example:
        >>> x = torch.tensor([[0.0, 1.0]])
        >>> Normal(sigma=1.0).log_prob(x, x)  # -log(2 pi)
        tensor([-1.8379])
    """

    unit: Tensor
    given: Tensor
    mean_square: Tensor
    updates: Tensor

    gives_levels = True
    any_unit = True

    def __init__(self, sigma: float | Literal["learned", "optimal"] = "optimal") -> None:
        super().__init__()
        self.sigma = sigma
        self.follows: bool = sigma == "optimal"
        self.whole_batch: bool = sigma == "optimal"
        self.register_buffer("unit", torch.ones(()))
        if sigma == "learned":
            self.log_sigma: nn.Parameter = nn.Parameter(torch.zeros(()))
        elif sigma == "optimal":
            self.register_buffer("mean_square", torch.ones(()))
            self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        elif isinstance(sigma, str) or not (0 < sigma < math.inf):
            raise ValueError(
                f'Normal: sigma must be a positive number, "learned" or "optimal", got {sigma!r}'
            )
        else:
            self.register_constant("given", lambda: torch.tensor(float(sigma) ** 2))

    def variance(self) -> Tensor:
        """sigma^2 as eval uses it, a scalar in the squared unit of x."""
        return self._relative() * self.unit.square()

    def _relative(self) -> Tensor:
        """sigma^2 in squares of `unit`."""
        if self.sigma == "learned":
            return (2 * self.log_sigma).exp()
        if self.sigma == "optimal":
            return self.mean_square.clamp(min=MIN_VARIANCE)
        return self.given / self.unit.square()

    def learn_unit(self, scale: float, /) -> None:
        """Counts learned and optimal variances in squares of this standard deviation."""
        self.unit.fill_(scale)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Log density in nats per example, `[batch]`; x in any unit."""
        x, output = self._check(x, output)
        squares = ((x - output) / self.unit).square().flatten(1)
        variance = self._relative().to(squares)
        if self.training and self.sigma == "optimal" and squares.numel():
            variance = _batch_mean(squares).clamp(min=MIN_VARIANCE)
        dimensions = squares.shape[1]
        nats = -0.5 * (dimensions * (2 * math.pi * variance).log() + squares.sum(1) / variance)
        return nats - dimensions * self.unit.log()

    def level_conditionals(self, output: Tensor, levels: Tensor | None = None) -> Walk[Tensor]:
        """The mass of the normal between the levels' edges; the ends take the tails."""
        mean, sigma = output.double().cpu(), self.variance().double().sqrt().cpu()
        below = torch.special.ndtr((inner_edges(mean) / (LEVELS - 1) - mean[..., None]) / sigma)
        return levels_at_once(between(below), levels)

    def mean(self, output: Tensor) -> Tensor:
        """The output itself."""
        return output

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Output + sigma * noise; it may leave the data's range, as the density does."""
        output = at_least_float32(output)
        noise = torch.empty_like(output).normal_(generator=generator)
        return output + self.unit * self._relative().to(output).sqrt() * noise

    @torch.no_grad()
    def update(self, x: Tensor, output: Tensor) -> None:
        """Moves the running mean square towards this step's, over all ranks."""
        if self.sigma != "optimal":
            return
        x, output = self._check(x, output)
        squares = ((x - output) / self.unit).square()
        total = torch.stack([squares.sum(), squares.new_tensor(float(squares.numel()))])
        sum_over_ranks(total)
        self.updates += (total[1] > 0).long()
        # The plain mean of the first steps, then an exponential one: no start-up bias.
        weight = (1 / self.updates.clamp(min=1)).clamp(min=1 - DECAY)
        weight = torch.where(total[1] > 0, weight, 0)
        self.mean_square.lerp_((total[0] / total[1].clamp(min=1)).to(self.mean_square), weight)


def _batch_mean(squares: Tensor) -> Tensor:
    """The mean over the batch of all ranks."""
    if ranks() == 1:
        return squares.mean()
    total = torch.stack([squares.sum(), squares.new_tensor(float(squares.numel()))])
    total = total_over_ranks(total)
    return total[0] / total[1]
