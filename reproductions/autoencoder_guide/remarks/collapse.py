"""Is posterior collapse a matter of discrete images, or of the weight of the divergence?"""

from pathlib import Path
from typing import Any

from narrows.bottlenecks import Variational
from narrows.networks import Mlp
from narrows.report import Block
from narrows.tasks import Call, Result
from reproductions.autoencoder_guide.models import WEIGHTS, likelihood, sizes
from reproductions.claim import Claim, Evidence, Hypothesis, Scale, differences
from reproductions.figures import lines
from reproductions.training import Setting, binary, train


def used(folder: Path, *, discrete: bool, weight: float, dim: int, **rest: Any) -> Result:
    """Trains a VAE on grey or on black and white images and counts its active units."""
    setting = Setting(**rest)
    data = binary(setting.images()) if discrete else setting.images()
    run = train(
        folder, data, Variational(dim), Mlp((256,)), setting,
        likelihood=likelihood(data, weight), judged=False,
    )  # fmt: skip
    return {"active": run.test["active_units"] / dim}


def trials(scale: Scale) -> list[Call]:
    """Both kinds of images at each of the document's weights."""
    shared = {**sizes(scale), "epochs": scale.pick(1, 30, 25), "dim": scale.pick(4, 32, 128)}
    return [
        Call(used, {**shared, "discrete": discrete, "weight": weight, "seed": seed})
        for discrete in (False, True)
        for weight in WEIGHTS
        for seed in range(scale.seeds)
    ]


def active(evidence: Evidence, discrete: bool, weight: float) -> list[float]:
    """Shares of active units."""
    return evidence.values("active", discrete=discrete, weight=weight)


def figures(evidence: Evidence) -> list[Block]:
    """Active units by weight and kind of image."""
    names = {"grey images": False, "black and white images": True}
    series = {k: {w: active(evidence, d, w) for w in WEIGHTS} for k, d in names.items()}
    return [
        lines(
            series, across="weight of the divergence", quantity="share of units that are active",
            caption="0: collapsed.", logarithmic=(True, False),
        )
    ]  # fmt: skip


def claim(name: str, says: str, hypothesis: Hypothesis, *, ours: bool) -> Claim:
    """The document's guess, or what we set against it."""
    return Claim(
        name=name,
        document="002",
        place="3, on posterior collapse",
        says=says,
        hypotheses=(hypothesis,),
        trials=trials,
        figures=figures,
        minutes=3.0,
        notes=(
            "Active: the posterior mean varies over images by 0.01 or more (Burda et al., 2016). "
            "Collapse is what is measured here, so that models are not held to a floor.",
        ),
        ours=ours,
    )


CLAIMS = (
    claim(
        "collapse-from-discrete-images",
        "The posterior collapses because images come from a discrete distribution.",
        Hypothesis(
            "share of active units at weight .001: black and white images less grey ones",
            "below",
            0.0,
            lambda e: differences(active(e, True, 0.001), active(e, False, 0.001)),
            since="2026-11-26",
        ),
        ours=False,
    ),
    claim(
        "collapse-from-the-weight",
        "The posterior collapses because the divergence weighs too much.",
        Hypothesis(
            "share of active units on grey images: weight .01 less weight .0001",
            "below",
            -0.5,
            lambda e: differences(active(e, False, 0.01), active(e, False, 0.0001)),
            since="2026-11-26",
        ),
        ours=True,
    ),
)
