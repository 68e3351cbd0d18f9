"""The plain and the variational model of the guide: one trial gives what all its claims ask."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from narrows.autoencoder import Objective
from narrows.bottlenecks import Bottleneck, Identity, Variational
from narrows.data.dataset import Dataset
from narrows.likelihoods import Normal
from narrows.networks import Mlp
from narrows.tasks import Call, Result
from narrows.training import Run
from reproductions.autoencoder_guide.measures import (
    PICTURES,
    READ,
    between,
    denoised,
    layout,
    reader,
    retained,
    sampled,
    small,
)
from reproductions.claim import Claim, Plain, Scale
from reproductions.training import Setting, codes, copies, labels, train, whole

SIZES = (128, 256, 512)
WEIGHTS = (0.0001, 0.001, 0.01)
COLLAPSING = 0.01
"""A weight at which the objective itself leaves the code unused, however long one trains."""
BASE = {"dim": 128, "weight": 0.001}
"""The middle weight and the smallest size: what claims that vary neither use."""


def trial(scale: Scale, kind: str, seed: int, dim: int = 128, weight: float = 0.001) -> Call:
    """The training and measuring of one model."""
    arguments: dict[str, Plain] = {
        **sizes(scale),
        "kind": kind,
        "dim": scale.pick(8 + dim // 64, dim, dim),
        "weight": weight,
        "epochs": scale.pick(1, 80, 25),
        "seed": seed,
    }
    return Call(dense, arguments)


def sizes(scale: Scale) -> dict[str, Plain]:
    """The images that a trial sees."""
    return {
        "data": scale.images(),
        "train_examples": scale.pick(80, 2000, 60_000),
        "test_examples": scale.pick(60, 2000, 10_000),
    }


def pairs(scale: Scale) -> list[Call]:
    """Plain and variational at the base setting, with every seed."""
    return [trial(scale, kind, seed) for kind in ("ae", "vae") for seed in range(scale.seeds)]


def averaged_pairs(scale: Scale) -> list[Call]:
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


def fitted(
    folder: Path,
    *,
    kind: str,
    dim: int,
    weight: float,
    objective: Objective | None = None,
    **rest: Any,
) -> tuple[Dataset, Run]:
    """The data, and a fully connected model trained on them."""
    setting = Setting(**rest)
    examples = setting.images()
    run = train(
        folder, examples, bottleneck(kind, dim), Mlp((512,)), setting,
        likelihood=likelihood(examples, weight), objective=objective,
        judged=weight < COLLAPSING,
    )  # fmt: skip
    return examples, run


def dense(folder: Path, **setting: Any) -> Result:
    """Trains a fully connected model and measures all that the claims compare."""
    examples, run = fitted(folder, **setting)
    judge = reader(setting["data"], min(READ, setting["train_examples"]))
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
    if setting["weight"] == BASE["weight"]:
        found |= retained(model, examples, judge)
    if setting["kind"] == "vae":
        found |= {"kl": run.test["kl_nats"], "bits": run.test["bits_per_example"]}
        found["loss"] = run.test["mse"] + setting["weight"] * run.test["kl_nats"]
    else:
        found["loss"] = found["mse"]
    return found
