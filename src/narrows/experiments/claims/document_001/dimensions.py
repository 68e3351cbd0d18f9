"""Does a Laplace prior use one of two coordinates only?"""

from narrows.experiments.claims.claim import Claim, Evidence, Hypothesis, Scale, differences
from narrows.experiments.claims.document_001.models import KINDS, PLANE, TEMPLATES
from narrows.experiments.claims.figures import dots, planes
from narrows.experiments.claims.trial import Trial
from narrows.experiments.claims.verdict import Estimate
from narrows.report import Block


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


CLAIM = Claim(
    name="laplace-one-of-two",
    document="001",
    place="conclusions, last point",
    says="The Laplace model tends to use only one of two coordinates.",
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
    trials=trials,
    figures=figures,
    minutes=3.0,
    notes=(
        "A coordinate that is not used has no divergence from the prior; 0.9 leaves the other one "
        "a tenth of the nats. Templates have two factors of variation, so that using one alone "
        "would show.",
    ),
)
