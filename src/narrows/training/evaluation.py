"""Measures of a model over a whole split."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.data.dataset import Split
from narrows.functional.examples import refuse_range
from narrows.functional.ranks import from_all_ranks, in_turn, rank, ranks
from narrows.latent import Latent
from narrows.metrics.distortion import log_spectral_distance
from narrows.modes import evaluating
from narrows.priors.base import NoRateError
from narrows.saving.arguments import check_arguments
from narrows.tasks.shown import examples
from narrows.training.seeding import mix


def latents(
    model: Autoencoder, split: Split, *, batch_size: int = 256, shared: bool = False
) -> Iterator[Latent]:
    """The eval latents of a split, batch by batch, without gradients.

    Args:
        model: the model; its mode is restored afterwards.
        split: on any device; batches are moved to the model's, and to its precision.
        batch_size: examples at a time.
        shared: give every `ranks()`-th batch only, from this rank's first on.
    """
    like = next(model.parameters())
    with evaluating(model):
        for index in _batches(len(split), batch_size, shared):
            with torch.no_grad():
                latent = model.latent(split.batch(index).to(like.device, like.dtype))
            yield latent
            examples(len(index))


def all_latents(model: Autoencoder, split: Split, *, batch_size: int = 256) -> Iterator[Latent]:
    """All latents of a split on every rank, of which each computes its share."""
    mine = latents(model, split, batch_size=batch_size, shared=True)
    return in_turn(mine, -(-len(split) // batch_size))


def _batches(n: int, size: int, shared: bool) -> Iterator[Tensor]:
    first, step = (rank(), ranks()) if shared else (0, 1)
    for start in range(first * size, n, step * size):
        yield torch.arange(start, min(start + size, n))


@torch.no_grad()
def evaluate(
    model: Autoencoder,
    split: Split,
    *,
    variance: float,
    batch_size: int = 256,
    seed: int = 0,
    shared: bool = False,
) -> dict[str, float]:
    """Distortion, rate and code measures of a whole split.

    A code is decoded as it would be stored: rounded to the prior's step where it has one, and
    drawn from the posterior where the prior prices draws, because the rate KL(q || p) (bits-back)
    buys a draw and not its mean; the mean's distortion is `mse_mean`.

    Args:
        model: the model, put in eval for the duration.
        split: the examples.
        variance: of the training data, which NMSE divides by (`Dataset.variance`).
        batch_size: examples at a time; no figure depends on it but through rounding.
        seed: of posterior draws; the caller's random numbers are left alone.
        shared: measure a share of the batches on each rank; all give the figures of the whole,
            which are those of one process but for the order of sums.

    Returns:
        `mse` (squared unit of the data, per value), `nmse` (mse / variance), `psnr` (dB) of
        images in [0, 1] or `snr` (variance / mse, dB) of other data, `lsd` (log-spectral distance,
        dB) of sequences `[n, channels, t]`, `nll` (nats per example),
        `bits_per_example` and `bits_per_dimension` (over all values of an
        example) where the code has a rate, `loss` (nats per example), and the bottleneck's own
        summary.

    Raises:
        ValueError: if the split is empty, or its images lie outside [0, 1].
    """
    check_arguments("evaluate", evaluate, given=locals())
    if len(split) == 0:
        raise ValueError("expected at least one example to evaluate, got an empty split")
    sums: dict[str, float] = {}
    totals: dict[str, Tensor] = {}
    device = next(model.parameters()).device
    sound = len(split.shape) == 2 and split.features == 0
    deviation = variance**0.5 if sound else None
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        found = latents(model, split, batch_size=batch_size, shared=shared)
        for index in _batches(len(split), batch_size, shared):
            # A stream for each batch, so that it makes no difference which rank measures it.
            start = int(index[0])
            torch.manual_seed(mix(seed + start) >> 1 if start else seed)
            latent = next(found)  # the model is in eval meanwhile
            x = split.batch(index).to(device)
            if not split.own_units:
                refuse_range(x)
            for name, value in _measure(model, x, latent, spectral=deviation).items():
                sums[name] = sums.get(name, 0.0) + value.double().sum().item()
            for name, value in latent.stats.items():
                value = value.double()  # float32 totals of a large set would drift
                totals[name] = totals[name] + value if name in totals else value
    if shared:
        sums, totals = (_added(part) for part in zip(*from_all_ranks((sums, totals)), strict=True))
    means = {name: value / len(split) for name, value in sums.items()}
    peak = not split.own_units
    return _report(means, math.prod(model.target_shape), variance, peak) | model.bottleneck.summary(
        totals, len(split)
    )


def _added(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums by name over what ranks have; one that had no batch has none."""
    found: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = found[name] + value if name in found else value
    return found


def _measure(
    model: Autoencoder, x: Tensor, latent: Latent, *, spectral: float | None
) -> dict[str, Tensor]:
    """Per-example figures of one batch: squared errors, nats; of sequences distances of spectra."""
    figures: dict[str, Tensor] = {}
    stored = model.prior.stored(latent)
    if stored.posterior is not None:
        z = model.bottleneck.embed(stored.posterior.sample())
        figures["mse_mean"] = _squared_error(model, x, latent.z)
    else:
        z = model.bottleneck.embed(stored.code)
    output = model.decoder(z)
    mean, target = model.likelihood.mean(output), model.target(x)
    figures["mse"] = (mean - target).square().flatten(1).mean(1)
    if spectral is not None:
        figures["lsd"] = log_spectral_distance(target, mean, deviation=spectral)
    figures["nll"] = -model.likelihood.log_prob(target, output)
    with contextlib.suppress(NoRateError):  # a plain code before its prior is fitted
        figures["rate"] = model.prior.rate(stored)
    rate = figures["rate"] if latent.has_rate else None
    figures["loss"] = model.combine(figures["nll"], rate, terms=latent.terms)
    return figures | {name: latent.terms[name] for name in model.bottleneck.weights}


def _squared_error(model: Autoencoder, x: Tensor, z: Tensor) -> Tensor:
    mean = model.likelihood.mean(model.decoder(z))
    return (mean - model.target(x)).square().flatten(1).mean(1)


def quality(mse: float, variance: float, *, peak: bool) -> dict[str, float]:
    """`mse`, `nmse`, and in dB `psnr` of data in [0, 1] (peak 1) or `snr` of other data.

    Args:
        mse: mean squared error of a set.
        variance: of the training data.
        peak: True for images in [0, 1].
    """
    decibel = 10 * math.log10((1.0 if peak else variance) / mse) if mse > 0 else math.inf
    return {"mse": mse, "nmse": mse / variance, "psnr" if peak else "snr": decibel}


def quality_advice(figures: Mapping[str, float]) -> list[str]:
    """A sentence where the reconstructions explain nothing."""
    if figures["nmse"] < 1:
        return []
    return [
        f"NMSE is {figures['nmse']:.3g}: the mean of the training data would be as good a "
        "reconstruction, so this model explains nothing; train longer, try another learning rate, "
        "or a code that holds more (a smaller beta where there is one)"
    ]


def _report(
    means: dict[str, float], dimensions: int, variance: float, peak: bool
) -> dict[str, float]:
    report = quality(means["mse"], variance, peak=peak)
    if "rate" in means:
        report["bits_per_example"] = means.pop("rate") / math.log(2)
        report["bits_per_dimension"] = report["bits_per_example"] / dimensions
    return report | {name: value for name, value in means.items() if name != "mse"}
