"""What the code says about the data: units that vary, nats per unit, mutual information."""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.latent import Code, Latent
from narrows.metrics.measuring import measuring
from narrows.objectives import log_q


def unit_variances(latents: Iterable[Latent]) -> Tensor:
    """Variance over examples and sites of the posterior's location in each dimension, `[dim]`.

    Args:
        latents: in eval, of a whole set.

    Raises:
        ValueError: if there are none.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    mean = None
    for latent in latents:
        rows = _locations(latent)
        # About the first batch's mean, so that nothing cancels where the mean is large.
        mean = rows.mean(0) if mean is None else mean
        total = total + (rows - mean).sum(0)
        squares = squares + (rows - mean).square().sum(0)
        count += len(rows)
    if mean is None or not count:
        raise ValueError("unit_variances: expected at least one latent, got none")
    return squares / count - (total / count).square()


def active_units(latents: Iterable[Latent], threshold: float = 0.01) -> int:
    """Number of dimensions whose posterior location has a variance above the threshold.

    Args:
        latents: in eval, of a whole set.
        threshold: in the code's squared units; 0.01 for a prior of scale 1.

    Source: Burda, Grosse & Salakhutdinov (2016), section 5.
    """
    return int((unit_variances(latents) > threshold).sum())


def divergence_per_unit(model: Autoencoder, latents: Iterable[Latent]) -> Tensor:
    """Mean KL(q || p) of each dimension, summed over sites, `[dim]` nats per example.

    Args:
        model: its prior gives `divergence(posterior)` by dimension (`Factorial`, say).
        latents: in eval, of a whole set.

    Raises:
        TypeError: if the prior does not.
        ValueError: if there are no latents.
    """
    divergence = getattr(model.prior, "divergence", None)
    if divergence is None:
        raise TypeError(
            f"{type(model.prior).__name__} gives no divergence by dimension; use the prior that "
            "comes with the bottleneck (bottleneck.default_prior)"
        )
    total, count = None, 0
    for latent in latents:
        if latent.posterior is None:
            raise ValueError("a deterministic code has no divergence; see Prior.quantize")
        rows = divergence(latent.posterior).detach().double().flatten(0, -2).sum(0)
        total = rows if total is None else total + rows
        count += latent.batch
    if total is None or not count:
        raise ValueError("divergence_per_unit: expected at least one latent, got none")
    return total / count


@torch.no_grad()
def mutual_information(
    model: Autoencoder, x: Tensor, draws: int = 1, *, chunk: int = 4096, seed: int = 0
) -> float:
    """I(x; code) under q, in nats per example, over the examples given.

    I = mean_i E_{z ~ q(z | x_i)} [log q(z | x_i) - log 1/n sum_j q(z | x_j)], exact up to the
    draws for the n examples as the whole population, and at most log n: take n far above e^I.

    Args:
        model: with a random code.
        x: `[n, *shape]`.
        draws: codes per example.
        chunk: pairs of examples at a time.
        seed: of the draws, another than the data's; the caller's random numbers are left alone.

    Raises:
        ValueError: if the code is not random.

    Source: Hoffman & Johnson (2016), "ELBO surgery", the index-code mutual information.
    """
    with measuring(model, seed):
        features = model.encoder(x)
        total = sum(_surprise(model, features, chunk) for _ in range(draws))
    return float(total / draws)


def _surprise(model: Autoencoder, features: Tensor, chunk: int) -> Tensor:
    """Mean over examples of log q(z_i | x_i) - log mean_j q(z_i | x_j), a fresh z_i each."""
    n = len(features)
    latent = model.bottleneck(features)
    log_q(latent, latent.code)  # refuses a deterministic code
    assert latent.posterior is not None
    code = cast("Callable[[], Code]", latent.posterior.sample)()
    own = log_q(latent, code).double()
    total = torch.zeros((), dtype=torch.float64, device=features.device)
    for rows in torch.arange(n, device=features.device).split(max(1, chunk // n)):
        # Every chosen code under every example's posterior.
        repeated = model.bottleneck(features.repeat(len(rows), *[1] * (features.dim() - 1)))
        pairs = log_q(repeated, _repeat(code, rows, n)).double().unflatten(0, (len(rows), n))
        total += (own[rows] - pairs.logsumexp(1) + torch.tensor(n).double().log()).sum()
    return total / n


def _repeat(code: Code, rows: Tensor, n: int) -> Code:
    if isinstance(code, tuple):
        return tuple(part[rows].repeat_interleave(n, 0) for part in code)
    return code[rows].repeat_interleave(n, 0)


def _locations(latent: Latent) -> Tensor:
    """The deterministic code, `[positions, dim]` in float64."""
    if isinstance(latent.code, tuple) or not latent.code.is_floating_point():
        raise ValueError("units are dimensions of a continuous code; this one is discrete or joint")
    return latent.code.detach().double().flatten(0, -2)
