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
from reproductions.claim import Claim, Evidence, Former, Hypothesis, Scale, differences
from reproductions.figures import dots, planes
from reproductions.laplace_cauchy_slides.models import (
    KINDS,
    PLANE,
    TEMPLATES,
    Task,
    family,
    fitted,
    longer_axis,
    z_of,
)
from reproductions.training import labels, whole
from reproductions.verdict import Estimate


def figures(evidence: Evidence) -> list[Block]:
    """Where the nats go, and the codes."""
    shares = {kind: evidence.values("longer_axis", kind=kind) for kind in KINDS}
    clouds = {kind: evidence.array("codes", kind=kind) for kind in KINDS}
    colours = evidence.array("code_labels", kind="normal")
    quantity = "share of the variance on the longer axis"
    near = "Posterior means (medians) of held-out images, seed 0, coloured by class."
    found: list[Block] = [dots(shares, quantity=quantity, caption="1: all codes on one line.")]
    if "medians" in evidence.outcomes[0].result:
        whole_plane = {
            kind: np.asarray(evidence.array("medians", kind=kind))[:, :2] for kind in KINDS
        }
        caption = "All of the same, before the Cauchy's asinh, zoomed out to the last one."
        found.append(planes(whole_plane, colours, caption=caption, percentile=100))
    return [found[0], planes(clouds, colours, caption=near), *found[1:]]


def bernoulli(folder: Path, **setting: Any) -> Result:
    """The same model under cross-entropy, the likelihood of the code that the document used."""
    examples, _, run = fitted(folder, likelihood=Bernoulli(), **setting)
    model = run.model
    kl = divergence_per_unit(model, latents(model, examples.test))
    return {
        "longer_axis": longer_axis(z_of(model, whole(examples.test))),
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
                f"share of the posterior means' variance on their longer axis, laplace, {what}",
                "above",
                0.9,
                lambda e: Estimate.over_seeds(e.values("longer_axis", kind="laplace")),
                since="2026-11-26",
            ),
            Hypothesis(
                f"share on the longer axis: laplace less normal, {what}",
                "above",
                0.0,
                lambda e: differences(
                    e.values("longer_axis", kind="laplace"),
                    e.values("longer_axis", kind="normal"),
                ),
                since="2026-11-26",
            ),
        ),
        trials=trials,
        figures=figures,
        minutes=MINUTES[task],
        notes=(
            "Codes on one line, in whatever direction, use one dimension: a rotation does not "
            "change the share. 0.9 leaves the other axis a tenth of the variance. Templates have "
            "two factors of variation, so that using one alone would show. The document does not "
            "give its likelihood: normal with the variance that fits best is ours, cross-entropy "
            "that of the usual public code.",
        ),
        former=(
            Former(
                f"share of KL(q || p) in the larger of two coordinates, laplace, {what}",
                "above",
                0.9,
                "2026-11-26",
                "it changes with a rotation of the code; the picture had all codes on one line",
            ),
        ),
    )


MINUTES = {TEMPLATES: 2.0, PLANE: 3.7}

CLAIMS = (
    claim("one-of-two-templates", TEMPLATES, "5x5 templates", family),
    claim("one-of-two-digits", PLANE, "digits", family),
    claim("one-of-two-cross-entropy", TEMPLATES, "5x5 templates, cross-entropy", bernoulli),
)
