"""Sequences through a transformer, beside a fully connected network."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from narrows.bottlenecks import Identity
from narrows.data.dataset import Dataset, Split
from narrows.networks import Mlp, Transformer
from narrows.report import Block
from narrows.tasks import Call, Result
from reproductions.claim import Claim, Evidence, Hypothesis, Scale, ratios
from reproductions.figures import dots
from reproductions.training import Setting, train

KINDS = ("transformer", "dense")
TOKENS, STEP = 8, 16


def spectra(n: int, seed: int) -> Tensor:
    """Signals `[n, 128]` in [0, 1]: five peaks of Lorentz's shape at random places, and noise."""
    random = np.random.default_rng(seed)
    place = np.arange(TOKENS * STEP)
    centre = random.uniform(0, TOKENS * STEP, (n, 5, 1))
    width, height = random.uniform(1, 4, (n, 5, 1)), random.uniform(0.2, 1, (n, 5, 1))
    signal = (height / (1 + ((place - centre) / width) ** 2)).sum(1)
    signal += 0.02 * random.standard_normal(signal.shape)
    return torch.from_numpy((signal / 2).clip(0, 1).astype(np.float32))


def tokens(signals: Tensor) -> Tensor:
    """`[n, 128]` as pictures `[n, 1, 4, 32]`, in which a patch of 4x4 is 16 samples in a row."""
    return signals.view(-1, TOKENS, 4, 4).movedim(1, 2).reshape(-1, 1, 4, 4 * TOKENS)


def sequence(folder: Path, *, kind: str, width: int, **rest: Any) -> Result:
    """Trains one network on spectra, with `width` numbers for each 16 samples."""
    setting = Setting(**rest)
    sizes = (setting.train_examples, setting.test_examples, setting.test_examples)
    one, two, three = (Split(tokens(spectra(n, seed))) for seed, n in enumerate(sizes))
    data = Dataset("spectra", one, two, three)
    network = Transformer(4, 64, depth=2) if kind == "transformer" else Mlp((256, 256))
    latent = Identity(width if kind == "transformer" else width * TOKENS)
    run = train(folder, data, latent, network, setting)
    return {"nmse": run.test["nmse"], "parameters": sum(p.numel() for p in run.model.parameters())}


def trials(scale: Scale) -> list[Call]:
    """Both networks with every seed."""
    shared = {
        "data": "spectra", "width": 4, "train_examples": scale.pick(60, 2000, 50_000),
        "test_examples": scale.pick(40, 1000, 10_000), "epochs": scale.pick(1, 60, 100),
    }  # fmt: skip
    return [
        Call(sequence, {**shared, "kind": kind, "seed": seed})
        for kind in KINDS
        for seed in range(scale.seeds)
    ]


def figures(evidence: Evidence) -> list[Block]:
    """Errors of both."""
    groups = {kind: evidence.values("nmse", kind=kind) for kind in KINDS}
    return [dots(groups, quantity="test NMSE", caption="32 numbers for 128 samples.")]


CLAIM = Claim(
    name="transformer-for-sequences",
    document="002",
    place="1.1, question 2 (c)",
    says="A transformer handles sequences well, of any kind.",
    hypotheses=(
        Hypothesis(
            "test NMSE on spectra, transformer over a fully connected network of an equal code",
            "below",
            1.0,
            lambda e: ratios(e.values("nmse", kind="transformer"), e.values("nmse", kind="dense")),
            since="2026-11-26",
        ),
    ),
    trials=trials,
    figures=figures,
    minutes=4.0,
    notes=(
        "Spectra that we make: five peaks at random places. The document thinks of text first, of "
        "which narrows has no data set.",
    ),
)
