"""The notebook's dictionary at its own size, for as long as there is time, and where it leads."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrows.networks import Conv
from narrows.report import Block
from narrows.tasks import Call, Result
from narrows.training import Constant, Optimization
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.copying import colour_images, normal, training_nmse
from reproductions.figures import lines
from reproductions.in_place import InPlace
from reproductions.training import Setting, train
from reproductions.verdict import Estimate
from reproductions.vq_notebook.models import bottleneck

PRINTED, UPDATES = 0.035, 200_000
"""The notebook's training NMSE (mean of its last hundred) and when it was reached."""


def at_size(folder: Path, *, kind: str, hidden: int, dim: int, size: int, **rest: Any) -> Result:
    """Training NMSE after each epoch, as the notebook prints it (its decoder sees the features)."""
    setting = Setting(**rest)
    images = setting.images()
    network = InPlace(Conv(hidden, 2, residual_hidden=max(1, hidden // 4)))
    run = train(
        folder, images, bottleneck(kind, images, dim, size, setting.seed), network, setting,
        likelihood=normal(math.sqrt(0.5)),
        optimization=Optimization(learning_rate=setting.learning_rate, schedule=Constant()),
    )  # fmt: skip
    nmse = np.array([training_nmse(row["nll"], run.model, images) for row in run.history])
    steps = math.ceil(len(images.train) / setting.batch_size) * np.arange(1, len(nmse) + 1)
    return {"nmse": nmse, "updates": steps, "foreseen": foreseen(steps, nmse)}


def foreseen(updates: NDArray[Any], nmse: NDArray[Any]) -> float:
    """NMSE at the notebook's last update by a power law through the second half of a curve."""
    half = len(nmse) // 2
    slope, height = np.polyfit(np.log(updates[half:]), np.log(nmse[half:]), 1)
    return float(np.exp(height + slope * np.log(UPDATES)))


def figures(evidence: Evidence) -> list[Block]:
    """The curve, and where it leads."""
    outcomes = evidence.outcomes
    updates = np.asarray(outcomes[0].result["updates"], dtype=np.float64)
    rows = np.stack([np.asarray(o.result["nmse"]) for o in outcomes])
    series = {"measured": dict(zip(updates.tolist(), map(list, rows.T), strict=True))}
    series["extrapolated"] = {float(UPDATES): evidence.values("foreseen")}
    series["the notebook"] = {float(UPDATES): [PRINTED]}
    return [
        lines(
            series, across="updates", quantity="train NMSE, as printed",
            caption="A power law through the second half of the measured curve leads to the last.",
            logarithmic=(True, True),
        )
    ]  # fmt: skip


def trials(scale: Scale) -> list[Call]:
    """The dictionary as written at its own width, atoms, network and rate."""
    arguments = {
        "kind": "dictionary as written",
        "data": colour_images(scale),
        "hidden": scale.pick(4, 128, 128),
        "dim": scale.pick(4, 256, 256),
        "size": scale.pick(16, 512, 512),
        "train_examples": scale.pick(32, 1024, 50_000),
        "test_examples": scale.pick(32, 100, 10_000),
        "epochs": scale.pick(4, 20, 1021),
        "batch_size": scale.pick(16, 64, 256),
        "learning_rate": 1e-4,
    }
    return [Call(at_size, {**arguments, "seed": seed}) for seed in range(scale.seeds)]


CLAIM = Claim(
    name="dictionary-error-at-its-size",
    document="003",
    place="training log, NMSE 0.035 after 200,000 updates",
    says="A dictionary of 512 atoms of width 256, 100 a site, trains to a printed NMSE of 0.035.",
    hypotheses=(
        Hypothesis(
            "train NMSE as printed, extrapolated to 200,000 updates (0.035 within a factor of two)",
            "below",
            2 * PRINTED,
            lambda e: Estimate.over_seeds(e.values("foreseen")),
            since="2026-11-26",
        ),
    ),
    trials=trials,
    figures=figures,
    minutes=15.0,
    notes=(
        "An extrapolation over several hundredfold, which says whether the number is plausible and "
        "no more; the same rate, network and atoms, batches of 64 by default and of 256 in full. "
        "What the number measures is another question: see `dictionary-error-is-the-codes`.",
    ),
    course=True,
)
