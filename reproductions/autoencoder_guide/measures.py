"""What is measured of a dense model: its latent, noisy images, samples, what lies between two."""

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows import metrics
from narrows.autoencoder import Autoencoder
from narrows.data.dataset import Dataset
from narrows.priors import GaussianMixture
from narrows.training import latents
from reproductions.training import codes, copies, decoded, labels, subset, whole

NOISE = (0.25, 0.5, 0.75)
PICTURES = 10
READ = 2000
PASSES = 15
"""Images that classifiers are trained on, and how often they see them."""


@cache
def reader(data: str, examples: int) -> metrics.Classifier:
    """A classifier of the first so many training images."""
    known = subset(data, examples, 1).train
    return metrics.train_classifier(whole(known), labels(known), epochs=PASSES, seed=0)


def small(images: Tensor) -> NDArray[Any]:
    """Images as they are kept for pictures."""
    return images.clamp(0, 1).numpy().astype(np.float16)


def layout(z: Tensor, classes: Tensor) -> dict[str, float]:
    """How round the classes are in the principal plane, how normal the whole cloud.

    `roundness`: mean over classes of the ratio of the shorter to the longer axis, 1 for a
    circle. `abnormality`: Kolmogorov distance of the squared Mahalanobis radii to chi-square
    with two degrees of freedom, 0 for a normal cloud.
    """
    flat = (z.flatten(1) - z.flatten(1).mean(0)).double()
    plane = (flat @ torch.linalg.svd(flat, full_matrices=False).Vh[:2].T).numpy()
    ratios = []
    for name in np.unique(classes.numpy()):
        values = np.linalg.eigvalsh(np.cov(plane[classes.numpy() == name].T))
        ratios.append(float(np.sqrt(max(values[0], 0) / values[1])))
    radii = (plane * (plane @ np.linalg.inv(np.cov(plane.T)))).sum(1)
    ranks = np.arange(1, len(radii) + 1) / len(radii)
    gap = np.abs(1 - np.exp(-0.5 * np.sort(radii)) - ranks).max()
    return {"roundness": float(np.mean(ratios)), "abnormality": float(gap)}


def denoised(model: Autoencoder, clean: Tensor) -> dict[str, float]:
    """Squared error of what is made of noisy images by a model that was trained on clean ones."""
    rows = metrics.denoising(lambda x: copies(model, x), clean, weights=NOISE)
    return {f"denoised_{row['weight']:g}": 10 ** (-row["denoised"] / 10) for row in rows}


def sampled(
    model: Autoencoder, data: Dataset, judge: metrics.Classifier, seed: int
) -> dict[str, Any]:
    """Distance of samples to held-out images: standard normal codes, and a density fitted after.

    `kid_normal`: codes from N(0, I), whatever the model is; `kid_fitted`: from a mixture of ten
    Gaussians fitted to the training codes; `kid_floor`: real images against real ones.
    """
    y = whole(data.test)
    real, generator = metrics.extract(judge, y), torch.Generator().manual_seed(seed)
    count = min(1000, len(y) // 2)
    z = torch.randn(count, model.bottleneck.out_features, generator=generator)
    normal = decoded(model, z)
    density = GaussianMixture(
        model.sites, model.bottleneck.out_features, components=min(10, len(y) // 20)
    )
    density.fit(latents(model, data.train))
    fitted = decoded(model, model.bottleneck.embed(density.sample(count, generator)))
    found: dict[str, Any] = {"samples": small(normal[:PICTURES])}
    found["fitted_samples"] = small(fitted[:PICTURES])
    for name, drawn in (("normal", normal), ("fitted", fitted)):
        features = metrics.extract(judge, drawn)
        found[f"kid_{name}"], found["kid_floor"] = metrics.against_floor(
            metrics.kid, features, real=real
        )
    return found


def between(model: Autoencoder, data: Dataset, judge: metrics.Classifier) -> dict[str, Any]:
    """How far images half-way between two codes are from real ones, in features.

    `midpoint`: mean distance to the nearest real training image, over that of held-out images;
    `ends`: the same of the reconstructions at both ends.
    """
    y = whole(data.test)
    first, second = y[: len(y) // 2], y[len(y) // 2 : 2 * (len(y) // 2)]
    a, b = codes(model, first), codes(model, second)
    real = metrics.extract(judge, whole(data.train.head(2000)))

    def distance(images: Tensor) -> float:
        return float(torch.cdist(metrics.extract(judge, images), real).min(1).values.mean())

    usual = distance(y)
    steps = torch.linspace(0, 1, PICTURES)[:, None]
    path = (1 - steps) * a[:1].flatten(1) + steps * b[:1].flatten(1)
    return {
        "midpoint": distance(decoded(model, (a + b) / 2)) / usual,
        "ends": distance(decoded(model, torch.cat([a, b]))) / usual,
        "path": small(decoded(model, path.unflatten(1, tuple(a.shape[1:])))),
    }


def retained(model: Autoencoder, data: Dataset, judge: metrics.Classifier) -> dict[str, float]:
    """Accuracies of classifiers that are trained or tested on reconstructions."""
    head = data.train.head(READ)
    return metrics.retention(
        lambda x: copies(model, x),
        (whole(head), labels(head)),
        test=(whole(data.test), labels(data.test)),
        epochs=PASSES,
        seed=0,
        real=judge,
    )
