"""Categorical latents: each site holds some variables with K values each."""

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.distributions import Categorical as CategoricalDistribution
from torch.nn import functional as F

from narrows.bottlenecks.base import COUNTS, Bottleneck, Gradient, RateArgument
from narrows.bottlenecks.gradient_estimators import RLOO, Estimator
from narrows.codes import Code, Indices, tensors
from narrows.functional.usage import usage
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.priors.categorical import MovingHistogram, UniformCategorical


class Categorical(Bottleneck):
    """q(code | x) = softmax(features); z = the one-hot vectors side by side.

    The decoder's first linear layer makes of them an embedding. In eval the code is the most
    probable value of each variable; in training it is drawn, and the estimator says how the
    gradient passes the draw.

    Args:
        size: number K of values of a variable; the features are `channels * K` logits.
        channels: variables per site.
        estimator: `RLOO(4)` by default; also `ScoreFunction`, `NVIL`, `GumbelSoftmax` and
            `StraightThrough`. For the multi-sample bound (VIMCO) train a model with
            `objective=ImportanceWeighted(K)` and `ScoreFunction()`.

    Raises:
        ValueError: if there are fewer than 2 values or 1 variable.

    Example:
        >>> import torch
        >>> latent = Categorical(10, channels=2)(torch.randn(5, 20))
        >>> latent.code.shape, latent.z.shape
        (torch.Size([5, 2]), torch.Size([5, 20]))
    """

    rate_argument: RateArgument | None = RateArgument("bottleneck.channels", COUNTS)

    gradient: Gradient = "estimated"

    def __init__(self, size: int, channels: int = 1, *, estimator: Estimator | None = None) -> None:
        if size < 2:
            raise ValueError(f"Categorical: expected size of at least 2 values, got {size}")
        super().__init__(channels * size, channels * size)
        self.size: int = size
        self.channels: int = channels
        # A copy, so that one description can serve several bottlenecks.
        self.estimator: Estimator = copy.deepcopy(estimator) or RLOO()
        self.estimator.prepare(self.in_features)
        self.draws: int = self.estimator.draws
        self.whole_batch: bool = self.estimator.whole_batch
        self.follows: bool = self.estimator.follows

    @property
    def codes(self) -> Indices:
        """One index for each variable of a site."""
        return Indices(self.size, self.channels)

    def forward(self, features: Tensor) -> Latent:
        """Codes logits `[batch, *sites, channels * size]`; draws in training."""
        features = self._check(features)
        logits = features.unflatten(-1, (self.channels, self.size)).log_softmax(-1)
        posterior = CategoricalDistribution(logits=logits, validate_args=False)
        log_q = None
        if self.training:
            code, vectors = self.estimator.draw(logits)
            z = vectors.flatten(-2)
            if self.estimator.scores:
                log_q = posterior.log_prob(code).flatten(1).sum(1)
        else:
            code = logits.argmax(-1)
            z = self._one_hot(code)
        if not z.requires_grad:
            z = z + 0 * features  # a hard code is constant in the features: gradient zero
        return Latent(
            z=z,
            code=code,
            features=features.detach(),
            posterior=posterior,
            stats=self._stats(logits.detach()),
            log_q=log_q,
        )

    def embed(self, code: Code) -> Tensor:
        """One-hot vectors of indices `[..., channels]`; relaxed ones as they are."""
        first, *others = tensors(code)
        relaxed = first.is_floating_point() and first.shape[-2:] == (self.channels, self.size)
        if relaxed and not others:
            return first.flatten(-2)
        return self._one_hot(self.codes.check(code))

    def _one_hot(self, code: Tensor) -> Tensor:
        dtype = torch.promote_types(self.dtype, torch.float32)
        return F.one_hot(code, self.size).to(dtype).flatten(-2)

    def surrogate(self, cost: Tensor, latent: Latent) -> Tensor:
        """The estimator's."""
        return self.estimator.surrogate(cost, latent)

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """All values alike."""
        return UniformCategorical(sites, self.size, channels=self.channels)

    def moving_prior(self, sites: tuple[int, ...]) -> Prior:
        """A histogram of each variable's most probable values, which follows training."""
        return MovingHistogram(sites, self.size, channels=self.channels)

    def update(self, _latents: Sequence[Latent], /) -> None:
        """Lets the estimator's temperature fall."""
        self.estimator.update()

    def summary(self, totals: Mapping[str, Tensor], _examples: int, /) -> dict[str, float]:
        """Means over the variables: perplexity of use, and bits that a code says about x."""
        counts = totals["counts"].double()
        measures = [usage(row) for row in counts]
        positions = counts.sum(1).clamp(min=1)
        marginal = totals["probabilities"].double() / positions[:, None]
        entropy = -torch.xlogy(marginal, marginal).sum(1) - totals["entropy"].double() / positions
        return {
            "perplexity": sum(m["perplexity"] for m in measures) / len(measures),
            "usage": sum(m["usage"] for m in measures) / len(measures),
            "information_bits": float(entropy.sum()) / math.log(2),
        }

    def advice(self, summary: Mapping[str, float]) -> list[str]:
        """Says so when the code says nothing."""
        if summary["information_bits"] > 0.1:
            return []
        return [
            f"the code says {summary['information_bits']:.2g} bits about x (perplexity "
            f"{summary['perplexity']:.3g} of {self.size}): posterior collapse; try a beta "
            "warm-up, a smaller beta, or another estimator (RLOO with more draws)"
        ]

    def _stats(self, logits: Tensor) -> dict[str, Tensor]:
        """Totals by variable."""
        hot = F.one_hot(logits.argmax(-1), self.size).reshape(-1, self.channels, self.size)
        if self.training:
            return {"counts": hot.sum(0)}
        p = logits.exp()
        entropy = -(p * logits).sum(-1).reshape(-1, self.channels)
        return {
            "counts": hot.sum(0),
            "probabilities": p.reshape(-1, *p.shape[-2:]).sum(0, dtype=torch.float64),
            "entropy": entropy.sum(0, dtype=torch.float64),
        }
