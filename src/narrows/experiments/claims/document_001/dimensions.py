"""Does a Laplace prior use one of two coordinates only?"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from narrows.experiments.claims.claim import Claim, Evidence, Hypothesis, Scale, differences
from narrows.experiments.claims.document_001.models import (
    KINDS,
    PLANE,
    TEMPLATES,
    bottleneck,
    load,
    z_of,
)
from narrows.experiments.claims.figures import dots, planes
from narrows.experiments.claims.training import labels, train, whole
from narrows.experiments.claims.trial import Result, Trial
from narrows.experiments.claims.verdict import Estimate
from narrows.likelihoods import Bernoulli
from narrows.metrics.information import divergence_per_unit
from narrows.networks import Mlp
from narrows.report import Block
from narrows.training import latents


def trials(scale: Scale) -> list[Trial]:
    """Two coordinates on templates and on digits."""
    return [*TEMPLATES.trials(scale), *PLANE.trials(scale)]


def digits(evidence: Evidence) -> str:
    """The data of the second task, whatever images the command was about."""
    names = {str(outcome.trial.arguments["data"]) for outcome in evidence.outcomes}
    return next(name for name in sorted(names) if name != "templates")


def figures(evidence: Evidence) -> list[Block]:
    """Where the nats go, and the codes."""
    found: list[Block] = []
    for data, what in (("templates", "5x5 templates"), (digits(evidence), "digits")):
        shares = {k: evidence.values("largest_share", kind=k, data=data) for k in KINDS}
        clouds = {kind: evidence.array("codes", kind=kind, data=data) for kind in KINDS}
        colours = evidence.array("code_labels", kind="normal", data=data)
        quantity = f"share of the nats in the larger coordinate, {what}"
        found.append(dots(shares, quantity=quantity, caption="1: the other is not used."))
        caption = f"Posterior means (medians) of held-out {what}, seed 0, coloured by class."
        found.append(planes(clouds, colours, caption=caption))
    return found


def share(kind: str, data: str | None) -> Hypothesis:
    """The larger coordinate's share of the divergence."""
    what = "5x5 templates" if data else "digits"
    return Hypothesis(
        f"share of KL(q || p) in the larger of two coordinates, {kind}, {what}",
        "above",
        0.9,
        lambda e: Estimate.over_seeds(e.values("largest_share", kind=kind, data=data or digits(e))),
    )


def bernoulli(  # noqa: PLR0913 (the configuration of a run)
    folder: Path,
    *,
    data: str,
    size: int,
    kind: str,
    dim: int,
    hidden: str,
    train_examples: int,
    test_examples: int,
    epochs: int,
    seed: int,
) -> Result:
    """The same model under cross-entropy, the likelihood of the code that the document used."""
    examples, _ = load(data, size, train_examples, test_examples)
    network = Mlp(tuple(int(width) for width in hidden.split()))
    model = train(
        folder, examples, bottleneck(kind, dim), network, epochs=epochs, seed=seed,
        likelihood=Bernoulli(),
    ).model  # fmt: skip
    kl = divergence_per_unit(model, latents(model, examples.test))
    return {
        "largest_share": float(kl.max() / kl.sum()),
        "bits": float(kl.sum()) / np.log(2),
        "codes": z_of(model, whole(examples.test))[:1000].numpy().astype(np.float16),
        "code_labels": labels(examples.test)[:1000].numpy(),
    }


def bernoulli_trials(scale: Scale) -> list[Trial]:
    """Both tasks under cross-entropy."""
    return [Trial(bernoulli, trial.arguments) for trial in trials(scale)]


def claim(name: str, likelihood: str, made: Callable[[Scale], list[Trial]]) -> Claim:
    """The use of two coordinates under one likelihood."""
    return Claim(
        name=name,
        document="001",
        place="conclusions, last point",
        says=f"The Laplace model tends to use only one of two coordinates ({likelihood}).",
        hypotheses=(
            share("laplace", "templates"),
            share("laplace", None),
            Hypothesis(
                "the same share on digits: laplace less normal",
                "above",
                0.0,
                lambda e: differences(
                    e.values("largest_share", kind="laplace", data=digits(e)),
                    e.values("largest_share", kind="normal", data=digits(e)),
                ),
            ),
        ),
        trials=made,
        figures=figures,
        minutes=4.0,
        notes=(
            "A coordinate that is not used has no divergence from the prior; 0.9 leaves the other "
            "one a tenth of the nats. Templates have two factors of variation, so that using one "
            "alone would show. The document does not give its likelihood: normal with the "
            "variance that fits best is ours, cross-entropy that of the usual public code.",
        ),
    )


CLAIMS = (
    claim("laplace-one-of-two", "normal likelihood", trials),
    claim("laplace-one-of-two-bernoulli", "cross-entropy", bernoulli_trials),
)
