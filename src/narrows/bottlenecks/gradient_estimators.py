"""How a gradient passes a discrete draw."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from narrows.following import Following
from narrows.functional.ranks import ranks, sum_over_ranks
from narrows.functional.score_function import (
    gumbel_softmax,
    leave_one_out,
    score_function_surrogate,
)
from narrows.functional.straight_through import straight_through
from narrows.latent import Latent
from narrows.recorded import Recorded
from narrows.saving.arguments import check_draws


class Estimator(Recorded, Following, ABC):
    """Draws one-hot vectors in training and says how their gradient comes about.

    Attributes:
        draws: draws per example and optimiser step.
        scores: True if the gradient comes from log q (score function) and not through z.
        whole_batch: True if the surrogate uses batch statistics.
    """

    draws: int = 1
    scores: bool = False
    whole_batch: bool = False
    follows: bool = False

    @abstractmethod
    def draw(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The training code and z for normalised logits `[..., K]`; z is `[..., K]`."""

    def prepare(self, _features: int, /) -> None:
        """Makes what depends on the width of the features."""

    def surrogate(self, cost: Tensor, latent: Latent) -> Tensor:
        """Zeros `[draws * batch]` whose gradient is the score-function part."""
        assert latent.log_q is not None
        return score_function_surrogate(cost, latent.log_q)

    def update(self) -> None:
        """Called once per optimiser step."""


class ScoreFunction(Estimator):
    """grad E_q f(z) = E_q f(z) grad log q(z): the plain estimator, right and noisy.

    Source: Williams (1992).
    """

    scores: bool = True

    def draw(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """An exact draw, and its one-hot vector."""
        code = _sample(logits)
        return code, F.one_hot(code, logits.shape[-1]).to(logits.dtype)


class RLOO(ScoreFunction):
    """Score function with several draws, each compared with the mean of the others.

    Args:
        draws: per example, at least 2; the decoder runs once for each.

    Raises:
        ValueError: if there are fewer than 2 draws.

    Source: Kool, van Hoof & Welling (2019).
    """

    def __init__(self, draws: int = 4) -> None:
        super().__init__()
        check_draws("RLOO", draws, least=2)
        self.draws: int = draws

    def surrogate(self, cost: Tensor, latent: Latent) -> Tensor:
        """Zeros `[draws * batch]`, the draws of an example standing a batch apart."""
        assert latent.log_q is not None
        return score_function_surrogate(
            leave_one_out(cost.unflatten(0, (self.draws, -1))).flatten(), latent.log_q
        )


class NVIL(ScoreFunction):
    """Score function less a learned baseline: signal = cost - c - b(features).

    The constant c and the small network b learn the cost by least squares, in units of the
    standard deviation over the batch of all ranks; they do not touch the encoder.

    Args:
        hidden: width of b's hidden layer.

    Source: Mnih & Gregor (2014), section 2.3, without its variance normalisation (which makes
        the learning rate depend on the cost's scale, as Adam already prevents).
    """

    whole_batch: bool = True
    constant: nn.Parameter
    network: nn.Sequential

    def __init__(self, hidden: int = 100) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"NVIL: hidden must be at least 1, got {hidden}")
        self.hidden: int = hidden

    def prepare(self, features: int, /) -> None:
        """Makes c and b."""
        self.constant = nn.Parameter(torch.zeros(()))
        layers = nn.Linear(features, self.hidden), nn.Tanh(), nn.Linear(self.hidden, 1)
        self.network = nn.Sequential(*layers)

    def surrogate(self, cost: Tensor, latent: Latent) -> Tensor:
        """Zeros `[batch]`; their gradient also trains the baseline."""
        assert latent.log_q is not None
        cost = cost.detach()
        features = latent.features.to(self.constant.dtype)
        guess = self.network(features).flatten(1).sum(1) + self.constant
        scale = _deviation(cost).clamp(min=1e-3)
        error = 0.5 * ((cost - guess) / scale).square()
        return score_function_surrogate(cost - guess, latent.log_q) + error - error.detach()


class StraightThrough(Estimator):
    """A hard draw whose gradient is taken as if z were the probabilities. Biased.

    Source: Bengio, Leonard & Courville (2013).
    """

    def draw(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """An exact draw, and its one-hot vector with the probabilities' gradient."""
        code = _sample(logits)
        hard = F.one_hot(code, logits.shape[-1]).to(logits.dtype)
        return code, straight_through(logits.exp(), hard)


class GumbelSoftmax(Estimator):
    """Relaxed draws at a temperature that falls; hard ones in eval, always.

    temperature = max(smallest, start * exp(-decay * steps)), steps being the optimiser's.
    In training the code is the relaxed vector itself, which is what the decoder gets.

    Args:
        start: temperature at the first step.
        smallest: where it stops.
        decay: per optimiser step.
        hard: whether z is the corner nearest to the relaxed point, with that point's gradient.

    Raises:
        ValueError: if a temperature is not above 0, or decay is negative.

    Source: Jang, Gu & Poole (2017), eq. 2 and section 4 (their start 1, smallest 0.5, decay
        1e-5 to 1e-4; `hard` is their straight-through variant).
    """

    steps: Tensor

    def __init__(
        self, start: float = 1.0, smallest: float = 0.5, *, decay: float = 1e-4, hard: bool = False
    ) -> None:
        super().__init__()
        if not 0 < smallest <= start:
            raise ValueError(
                f"GumbelSoftmax: expected 0 < smallest <= start, got {smallest} and {start}"
            )
        if decay < 0:
            raise ValueError(f"GumbelSoftmax: decay must be at least 0, got {decay}")
        self.start: float = start
        self.smallest: float = smallest
        self.decay: float = decay
        self.hard: bool = hard
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @property
    def temperature(self) -> Tensor:
        """The present temperature, a scalar."""
        return (self.start * torch.exp(-self.decay * self.steps)).clamp(min=self.smallest)

    def draw(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The relaxed draw as code and as z; or its corner's index and vector."""
        soft = gumbel_softmax(logits, self.temperature.to(logits.dtype))
        if not self.hard:
            return soft, soft
        code = soft.argmax(-1)
        hard = F.one_hot(code, logits.shape[-1]).to(logits.dtype)
        return code, straight_through(soft, hard)

    def update(self) -> None:
        """Counts a step."""
        self.steps += 1


def _deviation(values: Tensor) -> Tensor:
    """The standard deviation over the values of all ranks."""
    if ranks() == 1:
        return values.std(correction=0)
    total = sum_over_ranks(torch.stack([values.sum(), values.new_tensor(float(len(values)))]))
    squares = sum_over_ranks((values - total[0] / total[1]).square().sum())
    return (squares / total[1]).sqrt()


def _sample(logits: Tensor) -> Tensor:
    """Draws indices `[...]` from normalised logits `[..., K]`."""
    if not logits.numel():
        return logits.new_zeros(logits.shape[:-1], dtype=torch.long)
    flat = logits.detach().exp().flatten(0, -2)
    return torch.multinomial(flat, 1).reshape(logits.shape[:-1])
