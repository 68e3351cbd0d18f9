"""The models of the sparse VAE report: VQ-VAE and sparse VAE as written, and without faults."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import OMP, CodebookLearning, Identity, SparseDictionary, VectorQuantizer
from narrows.bottlenecks.base import Bottleneck
from narrows.data.dataset import Dataset
from narrows.networks import ResNet
from narrows.tasks import Call, Result
from narrows.training import Constant, Optimization, evaluate
from reproductions.claim import Plain, Scale
from reproductions.copying import colour_images, copies, normal, rate_points, samples
from reproductions.in_place import InPlace
from reproductions.sparse_vae_report.as_written import AthaydeSparse, StepsTwice
from reproductions.training import Setting, train, whole

KINDS = ("VQ as written", "sparse as written", "VQ", "sparse", "plain")
"""As written: the report's two. Without that: moving averages from data; four atoms a site by
orthogonal matching pursuit, unit norms; and the same network with no bottleneck at all."""
WITH_PRIOR = "sparse with p(z) as written"
"""The report's loss has lambda log p(z), its code has not; lambda, which it does not give, is .01
for sums over pixels and features."""


def bottleneck(kind: str, shape: Sequence[int], hidden: int, codes: int, atoms: int) -> Bottleneck:
    """The latent of one of `KINDS`; features are as wide as the report's network."""
    _, height, width = shape
    sites = (math.ceil(height / 4), math.ceil(width / 4))
    pixels, features = math.prod(shape), math.prod(sites) * hidden
    if kind == "VQ as written":
        return VectorQuantizer(
            codes,
            hidden,
            learning=CodebookLearning(method="gradient", init="uniform", revive_after=None),
            commitment=pixels / (4 * features),
        )
    if kind == "sparse as written":
        return AthaydeSparse(atoms, (*sites, hidden), commitment=pixels / (4 * features))
    if kind == WITH_PRIOR:  # our squared error is twice -log p(x | z)
        unit = pixels / (4 * features)
        return AthaydeSparse(atoms, (*sites, hidden), commitment=unit, prior=2 * 0.01)
    if kind == "VQ":
        return VectorQuantizer(codes, hidden)
    return SparseDictionary(codes, hidden, coder=OMP(4)) if kind == "sparse" else Identity(hidden)


def copier(folder: Path, *, kind: str, hidden: int, codes: int, atoms: int, **rest: Any) -> Result:
    """Trains one model and measures its copies, its code and its bits."""
    setting = Setting(**rest)
    images = setting.images()
    torch.manual_seed(setting.seed)
    latent = bottleneck(kind, images.shape, hidden, codes, atoms)
    rule = StepsTwice if kind in ("sparse as written", WITH_PRIOR) else Optimization
    run = train(
        folder, images, latent, InPlace(ResNet(hidden, bounded=True)), setting,
        likelihood=normal(math.sqrt(0.5) if kind.endswith("written") else None),
        optimization=rule(learning_rate=setting.learning_rate, schedule=Constant()),
    )  # fmt: skip
    found: dict[str, Any] = copies(run, images)
    if kind == "plain":
        return found
    found |= {"points": rate_points(run.model, images)}
    found |= {"samples": samples(run.model).numpy().astype(np.float16)}
    if kind.startswith("sparse"):
        found |= sparsity(run.model, images)
        rows = [row["validation_l0"] for row in run.history]
        found["active_curve"] = np.array(rows) / cast(Any, run.model.bottleneck).size
    if kind.endswith("written"):  # figure 3: the squared distance, a mean over features
        width = hidden * math.prod(run.model.sites)
        found["loss_curve"] = np.array([row["commitment"] for row in run.history]) / width
    return found


def sparsity(model: Autoencoder, images: Dataset) -> dict[str, float]:
    """Active atoms in train and test as shares, what is left of the features, and lambda."""
    parts = {"train": images.train.head(len(images.test)), "test": images.test}
    found: dict[str, float] = {}
    for name, split in parts.items():
        measured = evaluate(model, split, variance=images.variance)
        found[f"active_{name}"] = measured["l0"] / cast(Any, model.bottleneck).size
    found["feature_nmse"] = measured["feature_nmse"]
    found["quantization_nmse"] = measured.get("quantization_nmse", measured["feature_nmse"])
    if isinstance(model.bottleneck, AthaydeSparse):
        found["lambda_share"] = lambda_share(model, images)
    return found


@torch.no_grad()
def lambda_share(model: Autoencoder, images: Dataset) -> float:
    """Median of lambda / lambda_max, lambda_max = max_j |<d_j, x>|: at 1 no atom is active."""
    signals = model.encoder(whole(images.test.head(256))).flatten(1)
    largest = (signals @ model.bottleneck.dictionary.T).abs().amax(1)
    return float((model.bottleneck.weight / largest).median())


def trial(scale: Scale, kind: str, seed: int) -> Call:
    """The training and measuring of one model."""
    arguments: dict[str, Plain] = {
        "data": colour_images(scale),
        "kind": kind,
        "hidden": scale.pick(4, 16, 256),
        "codes": scale.pick(16, 128, 512),
        "atoms": scale.pick(16, 512, 512),  # numbers an image, whatever the width of the network
        "train_examples": scale.pick(32, 1000, 50_000),
        "test_examples": scale.pick(16, 300, 10_000),
        "epochs": scale.pick(2, 40, 50),
        "batch_size": scale.pick(16, 32, 128),
        "learning_rate": scale.pick(1e-3, 1e-3, 2e-4),
        "seed": seed,
    }
    return Call(copier, arguments)


def trials(scale: Scale, *kinds: str) -> list[Call]:
    """These kinds, or all, with every seed."""
    return [trial(scale, kind, seed) for kind in kinds or KINDS for seed in range(scale.seeds)]
