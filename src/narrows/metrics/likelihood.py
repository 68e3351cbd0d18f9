"""Log-likelihood of held-out examples: bound, and importance estimate."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.data.dataset import Split
from narrows.modes import evaluating
from narrows.networks.base import at_least
from narrows.objectives import log_q


@contextmanager
def measuring(model: Autoencoder, seed: int) -> Iterator[None]:
    """Runs a block in eval and from a seed, then restores modes and the caller's random state."""
    device = next(model.parameters()).device
    with evaluating(model), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def batches(model: Autoencoder, examples: Split | Tensor, batch_size: int) -> Iterator[Tensor]:
    """Examples in their order, `[batch, *shape]`, on the model's device."""
    device = next(model.parameters()).device
    for index in torch.arange(len(examples)).split(batch_size):
        x = examples.batch(index) if isinstance(examples, Split) else examples[index]
        yield x.to(device)


@dataclass(frozen=True)
class Evidence:
    """ELBO = -nll - rate, each `[n]` in nats, of every example.

    Attributes:
        nll: -log p(x | z), the mean over draws z ~ q.
        rate: KL(q || p), or -log p(code) of a deterministic discrete code.
    """

    nll: Tensor
    rate: Tensor

    @property
    def elbo(self) -> Tensor:
        """A lower bound of log p(x) of each example in expectation, `[n]` nats."""
        return -self.nll - self.rate

    @property
    def rate_bits(self) -> float:
        """Mean rate, bits per example: what bits-back coding of the code costs."""
        return float(self.rate.mean()) / math.log(2)


@torch.no_grad()
def evidence(
    model: Autoencoder,
    examples: Split | Tensor,
    *,
    draws: int = 1,
    batch_size: int = 100,
    seed: int = 0,
) -> Evidence:
    """Estimates the evidence lower bound of every example.

    Args:
        model: its code has a rate; its mode is restored afterwards. Beta plays no part.
        examples: a split, or `[n, *shape]` as the model takes it.
        draws: over which -log p(x | z) is averaged; the rate is the prior's own.
        batch_size: examples at a time.
        seed: of the draws; the caller's random numbers are left alone.

    Raises:
        ValueError: if the code has no rate, or a number is below 1.

    Source: Kingma & Welling (2014), eq. 3.
    """
    at_least(1, "evidence", draws=draws, batch_size=batch_size)
    with measuring(model, seed):
        costs = [_costs(model, x, draws) for x in batches(model, examples, batch_size)]
    nll, rate = (torch.cat(parts).cpu() for parts in zip(*costs, strict=True))
    return Evidence(nll, rate)


def _costs(model: Autoencoder, x: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    """Mean -log p(x | z) and the rate of a batch, `[batch]` nats in float64."""
    latent = model.latent(x)
    rate = model.prior.rate(latent)
    total = torch.zeros_like(rate, dtype=torch.float64)
    if latent.posterior is None:
        draws = 1  # the code is certain
    for _ in range(draws):
        code = latent.code if latent.posterior is None else latent.posterior.sample()
        output = model.decoder(model.bottleneck.embed(code))
        total -= model.likelihood.log_prob(x, output)
    return total / draws, rate.double()


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
    *,
    draws: int = 5000,
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
    at_least(1, "importance_estimate", draws=draws, batch_size=batch_size, chunk=chunk)
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
    weights = log_p + model.prior.log_prob(code) - log_q(latent, code)
    return weights.unflatten(0, (draws, len(x)))
