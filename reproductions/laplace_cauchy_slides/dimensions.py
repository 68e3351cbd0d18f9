"""Does a Laplace prior use one of two coordinates only?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from narrows.likelihoods import Bernoulli
from narrows.metrics.information import divergence_per_unit
from narrows.report import Block
from narrows.tasks import Call, Result
from narrows.training import latents
from reproductions.claim import Claim, Evidence, Hypothesis, Scale, differences
from reproductions.figures import dots, planes
from reproductions.laplace_cauchy_slides.models import (
    KINDS,
    PLANE,
    TEMPLATES,
    Task,
    family,
    fitted,
    z_of,
)
from reproductions.training import labels, whole
from reproductions.verdict import Estimate


def figures(evidence: Evidence) -> list[Block]:
    """Where the nats go, and the codes."""
    shares = {kind: evidence.values("largest_share", kind=kind) for kind in KINDS}
    clouds = {kind: evidence.array("codes", kind=kind) for kind in KINDS}
    colours = evidence.array("code_labels", kind="normal")
    quantity = "share of the nats in the larger coordinate"
    caption = "Posterior means (medians) of held-out images, seed 0, coloured by class."
    return [
        dots(shares, quantity=quantity, caption="1: the other is not used."),
        planes(clouds, colours, caption=caption),
    ]


def bernoulli(folder: Path, **setting: Any) -> Result:
    """The same model under cross-entropy, the likelihood of the code that the document used."""
    examples, _, run = fitted(folder, likelihood=Bernoulli(), **setting)
    model = run.model
    kl = divergence_per_unit(model, latents(model, examples.test))
    return {
        "largest_share": float(kl.max() / kl.sum()),
        "bits": float(kl.sum()) / np.log(2),
        "codes": z_of(model, whole(examples.test))[:1000].numpy().astype(np.float16),
        "code_labels": labels(examples.test)[:1000].numpy(),
    }


def claim(name: str, task: Task, what: str, likelihood: Callable[..., Result]) -> Claim:
    """The use of two coordinates on one task under one likelihood."""

    def trials(scale: Scale) -> list[Call]:
        return [Call(likelihood, trial.arguments) for trial in task.trials(scale)]

    return Claim(
        name=name,
        document="001",
        place="conclusions, last point",
        says=f"The Laplace model tends to use only one of two coordinates ({what}).",
        hypotheses=(
            Hypothesis(
                f"share of KL(q || p) in the larger of two coordinates, laplace, {what}",
                "above",
                0.9,
                lambda e: Estimate.over_seeds(e.values("largest_share", kind="laplace")),
            ),
            Hypothesis(
                f"the same: laplace less normal, {what}",
                "above",
                0.0,
                lambda e: differences(
                    e.values("largest_share", kind="laplace"),
                    e.values("largest_share", kind="normal"),
                ),
            ),
        ),
        trials=trials,
        figures=figures,
        minutes=MINUTES[task],
        notes=(
            "A coordinate that is not used has no divergence from the prior; 0.9 leaves the other "
            "one a tenth of the nats. Templates have two factors of variation, so that using one "
            "alone would show. The document does not give its likelihood: normal with the "
            "variance that fits best is ours, cross-entropy that of the usual public code.",
        ),
    )


MINUTES = {TEMPLATES: 0.9, PLANE: 3.7}

CLAIMS = (
    claim("one-of-two-templates", TEMPLATES, "5x5 templates", family),
    claim("one-of-two-digits", PLANE, "digits", family),
    claim("one-of-two-cross-entropy", TEMPLATES, "5x5 templates, cross-entropy", bernoulli),
)
