"""The plain and the variational model of document 002: one trial gives all its claims ask."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows import metrics
from narrows.autoencoder import Autoencoder, Objective
from narrows.bottlenecks import Bottleneck, Identity, Variational
from narrows.data.base import Dataset
from narrows.experiments.claims.claim import Claim, Scale
from narrows.experiments.claims.training import (
    codes,
    copies,
    decoded,
    labels,
    subset,
    train,
    whole,
)
from narrows.experiments.claims.trial import Plain, Result, Trial
from narrows.likelihoods import Normal
from narrows.networks import Mlp
from narrows.priors import GaussianMixture
from narrows.training import Run, latents

NOISE = (0.25, 0.5, 0.75)
SIZES = (128, 256, 512)
WEIGHTS = (0.0001, 0.001, 0.01)
BASE = {"dim": 128, "weight": 0.001}
"""The middle weight and the smallest size: what claims that vary neither use."""

PICTURES = 10
READ = 1500
"""Images that the classifier is trained on."""


def trial(scale: Scale, kind: str, seed: int, dim: int = 128, weight: float = 0.001) -> Trial:
    """The training and measuring of one model."""
    arguments: dict[str, Plain] = {
        **sizes(scale),
        "kind": kind,
        "dim": scale.pick(8 + dim // 64, dim, dim),
        "weight": weight,
        "epochs": scale.pick(1, 6, 25),
        "seed": seed,
    }
    return Trial(dense, arguments)


def sizes(scale: Scale) -> dict[str, Plain]:
    """The images that a trial sees."""
    return {
        "data": scale.images(),
        "train_examples": scale.pick(80, 4000, 60_000),
        "test_examples": scale.pick(60, 2000, 10_000),
    }


def pairs(scale: Scale) -> list[Trial]:
    """Plain and variational at the base setting, with every seed."""
    return [trial(scale, kind, seed) for kind in ("ae", "vae") for seed in range(scale.seeds)]


def averaged_pairs(scale: Scale) -> list[Trial]:
    """The same with the divergence averaged over the code's 128 numbers, too."""
    weights = {"ae": BASE["weight"], "vae": BASE["weight"] / 128}
    return [trial(scale, k, s, weight=w) for k, w in weights.items() for s in range(scale.seeds)]


def averaged(claim: Claim) -> Claim:
    """A claim about `pairs` in the other reading of the document's loss."""
    return replace(
        claim,
        name=f"{claim.name}-averaged",
        says=f"{claim.says} (Divergence averaged over the code.)",
        trials=averaged_pairs,
        notes=(
            *claim.notes,
            "The other reading of the loss: public code often averages the divergence over the "
            "code's numbers, too, which makes its weight 128 times smaller.",
        ),
    )


def bottleneck(kind: str, dim: int) -> Bottleneck:
    """The latent of a kind."""
    return Variational(dim) if kind == "vae" else Identity(dim)


def likelihood(data: Dataset, weight: float) -> Normal:
    """Makes narrows' loss the document's: mean squared error + weight * KL, up to a factor.

    |x - f|^2 / (2 s^2) + KL, times 2 s^2 / D, is the mean over D values plus 2 s^2 / D KL.
    """
    return Normal((data.dimensions * weight / 2) ** 0.5)


def fitted(  # noqa: PLR0913 (the configuration of a run)
    folder: Path,
    *,
    data: str,
    train_examples: int,
    test_examples: int,
    kind: str,
    dim: int,
    weight: float,
    epochs: int,
    seed: int,
    objective: Objective | None = None,
) -> tuple[Dataset, Run]:
    """The data, and a fully connected model trained on them."""
    examples = subset(data, train_examples, test_examples)
    run = train(
        folder, examples, bottleneck(kind, dim), Mlp((512,)), epochs=epochs, seed=seed,
        likelihood=likelihood(examples, weight), objective=objective,
    )  # fmt: skip
    return examples, run


def dense(folder: Path, **setting: Any) -> Result:
    """Trains a fully connected model and measures all that the claims compare."""
    examples, run = fitted(folder, **setting)
    judge = reader(*(setting[name] for name in ("data", "train_examples", "test_examples")))
    model, y = run.model, whole(examples.test)
    again, z = copies(model, y), codes(model, y)
    found: dict[str, Any] = {
        "mse": float((again - y).square().mean()),
        "parameters": sum(p.numel() for p in model.parameters()),
        "copies": small(again[:PICTURES]),
        "originals": small(y[:PICTURES]),
        "codes": z[:1000].numpy().astype(np.float16),
        "code_labels": labels(examples.test)[:1000].numpy(),
        **layout(z, labels(examples.test)),
        **denoised(model, y),
        **sampled(model, examples, judge, setting["seed"]),
        **between(model, examples, judge),
    }
    if setting["kind"] == "vae":
        found |= {"kl": run.test["kl_nats"], "bits": run.test["bits_per_example"]}
        found["loss"] = run.test["mse"] + setting["weight"] * run.test["kl_nats"]
    else:
        found["loss"] = found["mse"]
    return found


@cache
def reader(data: str, train_examples: int, test_examples: int) -> metrics.Classifier:
    """A classifier of these images, whose features are used to compare them."""
    examples = subset(data, train_examples, test_examples).train.head(READ)
    return metrics.train_classifier(whole(examples), labels(examples), epochs=5, seed=0)


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
    rows = metrics.denoising(lambda x: copies(model, x), clean, NOISE)
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
    density = GaussianMixture(model.sites, model.bottleneck.out_features, min(10, len(y) // 20))
    density.fit(latents(model, data.train))
    fitted = decoded(model, model.bottleneck.embed(density.sample(count, generator)))
    found: dict[str, Any] = {"samples": small(normal[:PICTURES])}
    found["fitted_samples"] = small(fitted[:PICTURES])
    for name, drawn in (("normal", normal), ("fitted", fitted)):
        features = metrics.extract(judge, drawn)
        found[f"kid_{name}"], found["kid_floor"] = metrics.against_floor(
            metrics.kid, features, real
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
