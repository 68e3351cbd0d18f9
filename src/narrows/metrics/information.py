"""Which units of a random code are in use: those that vary, and the nats that each costs."""

from collections.abc import Iterable

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.latent import Latent


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


def _locations(latent: Latent) -> Tensor:
    """The deterministic code, `[positions, dim]` in float64."""
    if isinstance(latent.code, tuple) or not latent.code.is_floating_point():
        raise ValueError("units are dimensions of a continuous code; this one is discrete or joint")
    return latent.code.detach().double().flatten(0, -2)
