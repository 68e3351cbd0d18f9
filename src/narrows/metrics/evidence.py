"""The evidence lower bound of data under a model, and the two costs it is made of."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.data.base import Split
from narrows.metrics.measuring import batches, measuring


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
    draws: int = 1,
    *,
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
    for name, value in (("draws", draws), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"evidence: {name} must be at least 1, got {value}")
    nll, rate = [], []
    with measuring(model, seed):
        for x in batches(model, examples, batch_size):
            one, two = _costs(model, x, draws)
            nll.append(one)
            rate.append(two)
    return Evidence(torch.cat(nll).cpu(), torch.cat(rate).cpu())


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
