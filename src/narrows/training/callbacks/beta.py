"""How beta, the weight of the rate, runs over training."""

import math

from narrows.autoencoder import Autoencoder, Loss
from narrows.functional.ranks import ranks, sum_over_ranks
from narrows.training.callbacks.base import Callback
from narrows.training.pack import State


class LinearBeta(Callback):
    """Warm-up: beta rises along a line and stays.

    beta(t) = start + (end - start) min(1, t / until), t being the fraction of training done.

    Args:
        start: beta at first.
        end: beta from `until` on; set it to the model's own.
        until: fraction of training.

    Raises:
        ValueError: if a beta is negative, or `until` not in (0, 1].

    Source: Bowman et al. (2016); Sonderby et al. (2016).

    Example:
        >>> LinearBeta(until=0.5).beta(0.25)
        0.5
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, *, until: float = 0.25) -> None:
        _check(start=start, end=end)
        if not 0 < until <= 1:
            raise ValueError(f"LinearBeta: until is a fraction of training in (0, 1], got {until}")
        self.start: float = start
        self.end: float = end
        self.until: float = until

    def beta(self, progress: float) -> float:
        """Beta at this fraction of training."""
        return self.start + (self.end - self.start) * min(1.0, progress / self.until)

    def before_step(self, model: Autoencoder, progress: float) -> None:
        """Sets the model's beta."""
        model.beta = self.beta(progress)


class CyclicalBeta(Callback):
    """Beta rises from 0 and stays, several times over.

    Within a cycle, t in [0, 1): beta = largest * min(1, t / rise).

    Args:
        cycles: how often.
        rise: fraction of a cycle spent rising.
        largest: beta for the rest of it.

    Raises:
        ValueError: if a number is out of range.

    Source: Fu et al. (2019), "Cyclical annealing schedule", eq. 6 and 7 (their M = 4, R = 0.5).

    Example:
        >>> CyclicalBeta(cycles=4, rise=0.5).beta(0.25)
        0.0
    """

    def __init__(self, cycles: int = 4, rise: float = 0.5, *, largest: float = 1.0) -> None:
        _check(largest=largest)
        if cycles < 1 or not 0 < rise <= 1:
            raise ValueError(
                f"CyclicalBeta: expected cycles >= 1 and rise in (0, 1], got {cycles} and {rise}"
            )
        self.cycles: int = cycles
        self.rise: float = rise
        self.largest: float = largest

    def beta(self, progress: float) -> float:
        """Beta at this fraction of training; `largest` at its end."""
        if progress >= 1:
            return self.largest
        return self.largest * min(1.0, math.fmod(progress * self.cycles, 1.0) / self.rise)

    def before_step(self, model: Autoencoder, progress: float) -> None:
        """Sets the model's beta."""
        model.beta = self.beta(progress)


class Geco(Callback):
    """Beta follows from the distortion that is wanted: the smallest rate that achieves it.

    Minimises rate subject to nll <= target by its Lagrangian rate + lambda (nll - target), which
    is lambda times narrows' loss with beta = 1/lambda. After each step, with C the running mean
    of (nll - target) per value of the example,

        lambda <- lambda exp(speed * C).

    Args:
        target: -log p(x | z) wanted, nats per example. It needs a likelihood whose scale does not
            move: Bernoulli, categorical, or Normal with a given sigma.
        speed: of lambda; larger for small data.
        decay: of the running mean.
        bounds: of beta.

    Raises:
        ValueError: if a number is out of range.

    Source: Rezende & Viola (2018), "Taming VAEs", algorithm 1; per value, so that the speed does
        not depend on the size of the example.
    """

    def __init__(
        self,
        target: float,
        speed: float = 0.1,
        *,
        decay: float = 0.99,
        bounds: tuple[float, float] = (1e-4, 1e4),
    ) -> None:
        if not math.isfinite(target) or not speed > 0 or not 0 <= decay < 1:
            raise ValueError(
                "Geco: expected a finite target, speed > 0 and decay in [0, 1), got "
                f"{target}, {speed} and {decay}"
            )
        if not 0 < bounds[0] <= bounds[1]:
            raise ValueError(f"Geco: expected 0 < lowest <= highest beta, got {bounds}")
        self.target: float = target
        self.speed: float = speed
        self.decay: float = decay
        self.bounds: tuple[float, float] = (float(bounds[0]), float(bounds[1]))
        self._mean: float | None = None
        self._beta: float | None = None

    def before_step(self, model: Autoencoder, _progress: float, /) -> None:
        """Sets the model's beta; it starts at the model's own."""
        if self._beta is None:
            self._beta = min(max(model.beta, self.bounds[0]), self.bounds[1])
        model.beta = self._beta

    def after_step(self, model: Autoencoder, loss: Loss) -> None:
        """Moves beta by the step's mean over all ranks."""
        mean = sum_over_ranks(loss.nll.detach().double().mean().reshape(1)) / ranks()
        gap = (float(mean) - self.target) / math.prod(model.shape)
        self._mean = gap if self._mean is None else self.decay * self._mean + (1 - self.decay) * gap
        beta = model.beta * math.exp(-self.speed * self._mean)
        self._beta = min(max(beta, self.bounds[0]), self.bounds[1])
        model.beta = self._beta

    def state(self) -> State:
        """The running mean and beta."""
        return {"mean": self._mean, "beta": self._beta}

    def restore(self, state: State) -> None:
        """Takes them back."""
        self._mean, self._beta = state["mean"], state["beta"]


def _check(**betas: float) -> None:
    for name, beta in betas.items():
        if not (math.isfinite(beta) and beta >= 0):
            raise ValueError(f"{name} is a weight of the rate, finite and at least 0; got {beta}")
