"""What an image autoencoder's copies are worth: errors, bits, sharpness, pictures."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codes import atoms_of
from narrows.data.dataset import Dataset
from narrows.likelihoods import Likelihood, Normal
from narrows.metrics import at_rate, sharpness
from narrows.priors import SparseFactorial
from narrows.training import Run, evaluate, latents
from reproductions.claim import Scale
from reproductions.training import whole

STEPS = (16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
"""Quantisation steps tried, in units of the values' root mean square."""
_PRICED = 400  # images that a prior is fitted to, and that it prices


def colour_images(scale: Scale) -> str:
    """The data set asked for; else CIFAR-10, the documents' own, where it is; else what there is.

    The smallest size takes digits.
    """
    from narrows.data.loaders import cifar10
    from narrows.data.loading import data_root

    here = scale.data is None and scale.size != "tiny" and cifar10.present(data_root())
    return "cifar10" if here else scale.images()


def copies(run: Run, data: Dataset, shown: int = 8) -> dict[str, Any]:
    """Errors after each epoch and at the end, sharpness, and the first copies.

    `train_curve` is of the batches as they were trained on; `nmse_train` and `nmse` of the
    stored code, at the end.
    """
    model, x = run.model, whole(data.test.head(256))
    copied = torch.cat([model.reconstruct(part) for part in x.split(128)])
    trained = evaluate(model, data.train.head(len(data.test)), variance=data.variance)
    ratios = sharpness(copied, x) if min(data.shape[1:]) >= 3 else {}
    return {
        "nmse": run.test["nmse"],
        "nmse_train": trained["nmse"],
        "curve": np.array([row["validation_nmse"] for row in run.history]),
        "train_curve": np.array([training_nmse(row["nll"], model, data) for row in run.history]),
        "originals": x[:shown].numpy().astype(np.float16),
        "copies": copied[:shown].numpy().astype(np.float16),
        **ratios,
    }


def training_nmse(nll: float, model: Autoencoder, data: Dataset) -> float:
    """NMSE behind a normal likelihood's mean -log p; the geometric mean of steps for "optimal"."""
    dimensions, likelihood = math.prod(data.shape), model.likelihood
    if not isinstance(likelihood, Normal) or likelihood.sigma == "learned":
        raise TypeError(f"expected Normal with a fixed or optimal sigma, got {likelihood}")
    if likelihood.sigma == "optimal":
        mse = math.exp(2 * nll / dimensions - 1) / (2 * math.pi)
    else:
        square = float(likelihood.sigma) ** 2
        mse = 2 * square * (nll / dimensions - math.log(2 * math.pi * square) / 2)
    return mse / data.variance


def rate_points(model: Autoencoder, data: Dataset) -> NDArray[np.float64]:
    """(bits per image, NMSE) of the code as it would be stored, `[n, 2]`.

    One point for a code of whole numbers; one for each of `STEPS` for a sparse code. Priors are
    factorial and fitted to training codes.
    """
    before, points = model.prior, []
    fitted, priced = data.train.head(_PRICED), data.test.head(_PRICED)
    x = whole(priced)
    for prior in _priors(model, data):
        model.prior = prior
        prior.fit(latents(model, fitted))
        bits = torch.cat([model.bits(part) for part in x.split(128)]).mean().item()
        error = torch.cat([model.reconstruct(part) - part for part in x.split(128)])
        points.append((bits, error.square().mean().item() / data.variance))
    model.prior = before
    return np.array(points)


def _priors(model: Autoencoder, data: Dataset) -> list[Any]:
    bottleneck = model.bottleneck
    own = bottleneck.default_prior(model.sites)
    if not isinstance(own, SparseFactorial):
        return [own]
    (latent, *_) = latents(model, data.train.head(128), batch_size=128)
    values = atoms_of(latent.code).values
    scale = values[values != 0].square().mean().sqrt().item() if bool((values != 0).any()) else 1.0
    return [SparseFactorial(own.sites, own.size, step=step * scale) for step in STEPS]


def at_bits(points: NDArray[np.float64], bits: float) -> float:
    """NMSE at a rate, interpolated over log bits between the points that no other beats.

    Outside the measured rates that of the nearest end.
    """
    best: list[tuple[float, float]] = []
    for rate, error in sorted((float(r), float(e)) for r, e in points):
        if rate > 0 and (not best or (error < -best[-1][1] and rate > best[-1][0])):
            best.append((rate, -error))
    if not best:
        return float("nan")
    clamped = min(max(bits, best[0][0]), best[-1][0])
    return -at_rate(best, clamped) if len(best) > 1 else -best[0][1]


def epochs_to(curve: Sequence[float], level: float) -> float:
    """Epochs, in parts, until a curve first reaches a level; infinite if it never does.

    Linear between epochs; an untrained model has NMSE 1, that of the mean image's order.
    """
    before = 1.0
    for epoch, value in enumerate(curve, 1):
        if value <= level:
            part = (before - level) / (before - value) if before > level else 0.0
            return epoch - 1 + part
        before = value
    return math.inf


def normal(sigma: float | None) -> Likelihood:
    """The likelihood of that sigma; the optimal one for None."""
    return Normal() if sigma is None else Normal(sigma)


def samples(model: Autoencoder, n: int = 8, seed: int = 0) -> Tensor:
    """Mean images of codes from the model's own fitted prior."""
    return model.sample(n, torch.Generator().manual_seed(seed)).clamp(0, 1)
