"""The models of the VQ notebook, as written and without their faults."""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import CodebookLearning, Identity, SoftmaxDictionary, VectorQuantizer
from narrows.bottlenecks.base import Bottleneck
from narrows.codes import atoms_of
from narrows.data.dataset import Dataset, Split
from narrows.functional.nearest import nearest
from narrows.networks import Conv
from narrows.tasks import Call, Result
from narrows.training import Constant, Optimization, latents
from reproductions.claim import Plain, Scale
from reproductions.copying import colour_images, copies, normal, rate_points
from reproductions.in_place import InPlace
from reproductions.training import Setting, train
from reproductions.vq_notebook.as_written import (
    FarthestCode,
    FarthestCodeEma,
    NotebookDictionaryAsWritten,
)

KINDS = (
    "farthest",
    "farthest EMA",
    "VQ",
    "VQ-EMA",
    "VQ from data",
    "VQ-EMA from data",
    "dictionary as written",
    "dictionary",
    "dense",
)
"""Farthest and farthest EMA: the notebook's two as written. VQ and VQ-EMA: its two, nearest code,
its random starts; from data: codes that start on features. Dictionary: as written, and
`SoftmaxDictionary`. Dense: the same network without a bottleneck."""


def bottleneck(kind: str, data: Dataset, dim: int, size: int, seed: int) -> Bottleneck:
    """The latent of one of `KINDS`, its losses weighted as in the notebook.

    The notebook adds a mean over features to a mean over pixels divided by their variance.
    """
    _, height, width = data.shape
    features = math.ceil(height / 4) * math.ceil(width / 4) * dim
    unit = math.prod(data.shape) * data.variance / features
    k = round(size * 100 / 512)
    if kind == "farthest":
        return FarthestCode(size, dim, commitment=unit / 4)
    if kind == "farthest EMA":
        return FarthestCodeEma(size, dim, commitment=unit / 4, seed=seed)
    if kind.startswith("VQ"):
        return VectorQuantizer(
            size,
            dim,
            learning=CodebookLearning(
                method="ema" if "EMA" in kind else "gradient",
                init="data" if "data" in kind else "uniform",
                revive_after=None,
            ),
            commitment=unit / 4,
            seed=seed,
        )
    if kind == "dictionary as written":
        return NotebookDictionaryAsWritten(size, dim, k, weight=unit)
    return SoftmaxDictionary(size, dim, k=k) if kind == "dictionary" else Identity(dim)


def notebook(folder: Path, *, kind: str, hidden: int, dim: int, size: int, **rest: Any) -> Result:
    """Trains one model and measures copies, codes and what the decoder is given besides them."""
    setting = Setting(**rest)
    images = setting.images()
    torch.manual_seed(setting.seed)
    latent = bottleneck(kind, images, dim, size, setting.seed)
    free = kind in ("dictionary", "dense")
    run = train(
        folder, images, latent, InPlace(Conv(hidden, 2, residual_hidden=max(1, hidden // 4))),
        setting,
        likelihood=normal(None if free else math.sqrt(0.5)),
        optimization=Optimization(learning_rate=setting.learning_rate, schedule=Constant()),
    )  # fmt: skip
    found: dict[str, Any] = copies(run, images, shown=32)
    found["nmse_given"] = nmse_given(run.model, images.test, images.variance)
    if kind != "dense":
        found["points"] = rate_points(run.model, images)
    if kind.startswith(("VQ", "farthest")):
        found["nearest_share"] = nearest_share(run.model, images.test)
        found["used"] = run.test["usage"]
    if kind.startswith("dictionary"):
        found |= dictionary(run.model, images.test)
    return found


@torch.no_grad()
def nmse_given(model: Autoencoder, split: Split, variance: float) -> float:
    """NMSE of what the decoder makes of all that it is given in training, code or not."""
    error = total = 0.0
    for start, latent in zip(range(0, len(split), 256), latents(model, split), strict=True):
        x = split.batch(torch.arange(start, start + latent.batch))
        error += (model.likelihood.mean(model.decoder(latent.z)) - x).square().sum().item()
        total += x.numel()
    return error / total / variance


def nearest_share(model: Autoencoder, split: Split) -> float:
    """Share of sites whose code is the nearest one."""
    codes = cast(Any, model.bottleneck).codebook.codes
    hits = [
        torch.eq(nearest(latent.features, codes), torch.as_tensor(latent.code)).flatten()
        for latent in latents(model, split)
    ]
    return torch.cat(hits).double().mean().item()


@torch.no_grad()
def dictionary(model: Autoencoder, split: Split) -> dict[str, Any]:
    """Atoms, maps of codes, sparsity, and how well 2 q - z gives the features back."""
    (latent, *_) = latents(model, split.head(32))
    q = model.bottleneck.embed(latent.code)
    energy = latent.features.square().sum()
    unread = (2 * q - latent.z - latent.features).square().sum() / energy
    return {
        "features_unread": float(unread),
        "sparsity_level": float((atoms_of(latent.code).values != 0).double().sum(-1).mean())
        / cast(Any, model.bottleneck).size,
        "atoms": cast(Any, model.bottleneck).dictionary.detach().numpy().astype(np.float32),
        "maps": q.numpy().astype(np.float32),
        "masked": masked(model, q).numpy().astype(np.float16),
        **mask_reach(model, q),
    }


@torch.no_grad()
def masked(model: Autoencoder, maps: Tensor) -> Tensor:
    """Copies of images whose code lacks one site each, the i-th image the i-th site."""
    holed = maps.clone()
    sites = maps.shape[1] * maps.shape[2]
    for i, one in enumerate(holed.flatten(1, 2)):
        one[i % sites] = 0
    return model.likelihood.mean(model.decoder(holed))


@torch.no_grad()
def mask_reach(model: Autoencoder, maps: Tensor) -> dict[str, float]:
    """Share of the change that a masked site makes within its own and the eight sites around."""
    change = (masked(model, maps) - model.likelihood.mean(model.decoder(maps))).square().sum(1)
    _, height, width, _ = maps.shape
    near = 0.0
    for i, one in enumerate(change):
        row, column = divmod(i % (height * width), width)
        rows = slice(max(0, 4 * row - 4), 4 * row + 8)
        columns = slice(max(0, 4 * column - 4), 4 * column + 8)
        near += float(one[rows, columns].sum())
    return {"mask_near": near / max(float(change.sum()), 1e-30)}


def trial(scale: Scale, kind: str, seed: int) -> Call:
    """The training and measuring of one model."""
    return Call(notebook, {"kind": kind, **sizes(scale), "seed": seed})


def sizes(scale: Scale) -> dict[str, Plain]:
    """What all models share; the document's own in full: 200,000 updates at 1e-4."""
    return {
        "data": colour_images(scale),
        "hidden": scale.pick(4, 16, 128),
        "dim": scale.pick(4, 16, 256),
        "size": scale.pick(16, 128, 512),
        "train_examples": scale.pick(32, 1000, 50_000),
        "test_examples": scale.pick(32, 300, 10_000),
        "epochs": scale.pick(2, 8, 1021),
        "batch_size": scale.pick(16, 32, 256),
        "learning_rate": scale.pick(1e-3, 1e-3, 1e-4),
    }


def trials(scale: Scale, *kinds: str) -> list[Call]:
    """These kinds, or all, with every seed."""
    return [trial(scale, kind, seed) for kind in kinds or KINDS for seed in range(scale.seeds)]


def features(model: Autoencoder, split: Split) -> Tensor:
    """The encoder's vectors at all sites, `[n, dim]`."""
    with torch.no_grad():
        return torch.cat([part.features.flatten(0, -2) for part in latents(model, split)])
