"""The models of the VQ report: its VQ-VAE, and the AE and VAE that it is set against."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import CodebookLearning, Identity, Variational, VectorQuantizer
from narrows.bottlenecks.base import Bottleneck
from narrows.data.dataset import Dataset
from narrows.networks import ResNet
from narrows.tasks import Call, Result
from narrows.training import Constant, Optimization, Run
from reproductions.claim import Plain, Scale
from reproductions.copying import colour_images, copies, normal
from reproductions.training import Setting, train, whole

KINDS = ("AE", "VAE", "VQ")


def bottleneck(kind: str, data: Dataset, hidden: int, codes: int) -> Bottleneck:
    """The latent of one of `KINDS`; VQ with the document's beta of 1 on means."""
    if kind != "VQ":
        return Identity(hidden) if kind == "AE" else Variational(hidden)
    _, height, width = data.shape
    features = math.ceil(height / 4) * math.ceil(width / 4) * hidden
    return VectorQuantizer(
        codes,
        hidden,
        learning=CodebookLearning(method="gradient", init="uniform", revive_after=None),
        commitment=math.prod(data.shape) / features,
    )


def contrast(folder: Path, *, kind: str, hidden: int, codes: int, **rest: Any) -> Result:
    """Trains one model, keeps its copies after the first and the last epoch, and draws from it."""
    setting = Setting(**rest)
    images = setting.images()

    def after(name: str, epochs: int) -> Run:
        torch.manual_seed(setting.seed)
        return train(
            folder / name, images, bottleneck(kind, images, hidden, codes), ResNet(hidden),
            replace(setting, epochs=epochs),
            likelihood=normal(math.sqrt(0.5) if kind == "VQ" else None),
            optimization=Optimization(learning_rate=setting.learning_rate, schedule=Constant()),
            judged=name == "last",
        )  # fmt: skip

    found: dict[str, Any] = {}
    if kind == "VQ":
        first = copies(after("first", 1), images)
        found |= {f"{name}_first": value for name, value in first.items()}
    last = after("last", setting.epochs)
    found |= copies(last, images)
    drawn = draws(last.model, kind, images, 8)
    found["samples"] = drawn.clamp(0, 1).numpy().astype(np.float16)
    return found


@torch.no_grad()
def draws(model: Autoencoder, kind: str, images: Dataset, n: int) -> Tensor:
    """Images of n random codes: from the prior; an AE's from normals fitted to each coordinate."""
    generator = torch.Generator().manual_seed(0)
    if kind != "AE":
        return model.sample(n, generator)
    z = model.latent(whole(images.train.head(500))).z
    noise = torch.randn((n, *z.shape[1:]), generator=generator)
    return model.likelihood.mean(model.decoder(z.mean(0) + z.std(0) * noise))


def trial(scale: Scale, kind: str, seed: int) -> Call:
    """The training and measuring of one model."""
    arguments: dict[str, Plain] = {
        "data": colour_images(scale),
        "kind": kind,
        "hidden": scale.pick(4, 16, 40),
        "codes": scale.pick(16, 128, 512),
        "train_examples": scale.pick(32, 1000, 50_000),
        "test_examples": scale.pick(32, 300, 10_000),
        "epochs": scale.pick(2, 10, 10),
        "batch_size": scale.pick(16, 32, 64),
        "learning_rate": scale.pick(1e-3, 1e-3, 2e-4),
        "seed": seed,
    }
    return Call(contrast, arguments)


def trials(scale: Scale, *kinds: str) -> list[Call]:
    """These kinds, or all, with every seed."""
    return [trial(scale, kind, seed) for kind in kinds or KINDS for seed in range(scale.seeds)]
