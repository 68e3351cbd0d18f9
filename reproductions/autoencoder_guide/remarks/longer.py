"""Samples after 5 and after 25 passes."""

from pathlib import Path
from typing import Any

from narrows.report import Block, strips
from narrows.tasks import Call, Result
from reproductions.autoencoder_guide.measures import READ, reader, sampled
from reproductions.autoencoder_guide.models import fitted, sizes
from reproductions.claim import Claim, Evidence, Hypothesis, Scale, ratios
from reproductions.figures import dots

PASSES = (5, 25)
KINDS = ("ae", "vae")


def samples(folder: Path, **setting: Any) -> Result:
    """Trains one model for so many passes and compares its samples with real images."""
    data, run = fitted(folder, **setting)
    judge = reader(setting["data"], min(READ, setting["train_examples"]))
    return sampled(run.model, data, judge, setting["seed"])


def trials(scale: Scale) -> list[Call]:
    """Both models after either number of passes."""
    shared = {**sizes(scale), "dim": scale.pick(8, 128, 128), "weight": 0.001}
    shared["train_examples"] = scale.pick(80, 6000, 60_000)
    return [
        Call(samples, {**shared, "kind": kind, "epochs": epochs, "seed": seed})
        for kind in KINDS
        for epochs in PASSES
        for seed in range(scale.seeds)
    ]


def distances(evidence: Evidence, kind: str, epochs: int) -> list[float]:
    """KID of samples from N(0, I)."""
    return evidence.values("kid_normal", kind=kind, epochs=epochs)


def figures(evidence: Evidence) -> list[Block]:
    """Distances and pictures."""
    pairs = {f"{kind}, {n} passes": (kind, n) for kind in KINDS for n in PASSES}
    rows = {t: evidence.array("samples", kind=k, epochs=n) for t, (k, n) in pairs.items()}
    return [
        dots(
            {text: distances(evidence, *pair) for text, pair in pairs.items()},
            quantity="KID of samples (own features)", caption="Codes from N(0, I).",
            logarithmic=True,
        ),
        strips(rows, caption="Codes from N(0, I), seed 0."),
    ]  # fmt: skip


CLAIM = Claim(
    name="more-passes-better-samples",
    document="002",
    place="2.4, question 4",
    says=(
        "Five passes may not be enough for good samples and 25 are better; the VAE's advantage "
        "shows after five all the same."
    ),
    hypotheses=(
        Hypothesis(
            "KID of the VAE's samples after 25 passes over that after 5",
            "below",
            1.0,
            lambda e: ratios(distances(e, "vae", 25), distances(e, "vae", 5)),
            since="2026-11-26",
        ),
        Hypothesis(
            "KID of the AE's samples over that of the VAE's after 5 passes",
            "above",
            2.0,
            lambda e: ratios(distances(e, "ae", 5), distances(e, "vae", 5)),
            since="2026-11-26",
        ),
    ),
    trials=trials,
    figures=figures,
    minutes=4.0,
    notes=("6,000 images a pass, not 60,000; KID in features of our own classifier.",),
    course=True,
)
