"""The likelihood of data under a model, by importance sampling from the posterior."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.data.base import Split
from narrows.metrics.measuring import batches, measuring
from narrows.objectives import log_prior, log_q


@dataclass(frozen=True)
class ImportanceEstimate:
    """What `importance_estimate` found.

    Attributes:
        nll: -log 1/K sum_k w_k of each example, `[n]` nats; in the mean an upper bound of
            -log p(x) that tightens with K.
        effective_sample_size: of each example's weights, `[n]`, between 1 and K; a few of them
            mean that the bound is loose or left to chance.
        draws: K.
    """

    nll: Tensor
    effective_sample_size: Tensor
    draws: int

    @property
    def mean(self) -> float:
        """Mean nll, nats per example."""
        return float(self.nll.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean over examples, nats."""
        return float(self.nll.std() / len(self.nll) ** 0.5)


@torch.no_grad()
def importance_estimate(
    model: Autoencoder,
    examples: Split | Tensor,
    draws: int = 5000,
    *,
    batch_size: int = 50,
    chunk: int = 100,
    seed: int = 0,
) -> ImportanceEstimate:
    """Estimates -log p(x) of every example with K draws from q(z | x).

    log w_k = log p(x | z_k) + log p(z_k) - log q(z_k | x). Exactly K draws are taken, `chunk` at
    a time: memory grows with batch_size * chunk, not with K.

    Args:
        model: with a random code; its mode is restored afterwards.
        examples: a split, or `[n, *shape]` as the model takes it.
        draws: K; 1 gives the evidence lower bound.
        batch_size: examples at a time.
        chunk: draws at a time.
        seed: of the draws; the caller's random numbers are left alone.

    Raises:
        ValueError: if the code is not random, or a number is below 1.

    Source: Burda, Grosse & Salakhutdinov (2016), eq. 8, who report K = 5000.
    """
    for name, value in (("draws", draws), ("batch_size", batch_size), ("chunk", chunk)):
        if value < 1:
            raise ValueError(f"importance_estimate: {name} must be at least 1, got {value}")
    nll, sizes = [], []
    with measuring(model, seed):
        for x in batches(model, examples, batch_size):
            first, second = _log_sums(model, x, draws, chunk)
            nll.append(math.log(draws) - first)
            sizes.append((2 * first - second).exp())
    return ImportanceEstimate(torch.cat(nll).cpu(), torch.cat(sizes).cpu(), draws)


def _log_sums(model: Autoencoder, x: Tensor, draws: int, chunk: int) -> tuple[Tensor, Tensor]:
    """Log sum_k w_k and log sum_k w_k^2 of each example, `[batch]` in float64."""
    features = model.encoder(x)
    first = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
    second = first.clone()
    while draws > 0:
        count = min(chunk, draws)
        weights = _log_weights(model, x, features, count).double()
        first = torch.logaddexp(first, weights.logsumexp(0))
        second = torch.logaddexp(second, (2 * weights).logsumexp(0))
        draws -= count
    return first, second


def _log_weights(model: Autoencoder, x: Tensor, features: Tensor, draws: int) -> Tensor:
    """Log w of fresh draws, `[draws, batch]`."""
    latent = model.bottleneck(features.repeat(draws, *[1] * (features.dim() - 1)))
    if latent.posterior is None:
        log_q(latent, latent.code)  # says why this cannot be
        raise AssertionError
    code = latent.posterior.sample()
    output = model.decoder(model.bottleneck.embed(code))
    log_p = model.likelihood.log_prob(x.repeat(draws, *[1] * (x.dim() - 1)), output)
    weights = log_p + log_prior(model.prior, code) - log_q(latent, code)
    return weights.unflatten(0, (draws, len(x)))
