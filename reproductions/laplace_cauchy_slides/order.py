"""Which of the three reconstructs best, on each task."""

from narrows.report import Block, strips
from reproductions.claim import Claim, Evidence, Hypothesis, ratios
from reproductions.figures import dots
from reproductions.laplace_cauchy_slides.models import (
    DIGITS,
    KINDS,
    SCENES,
    TEMPLATES,
    Task,
    rows,
)


def claim(task: Task, name: str, what: str, minutes: float) -> Claim:
    """The order of the three models' errors on one task."""

    def over(worse: str, better: str) -> Hypothesis:
        return Hypothesis(
            f"test MSE of the {worse} model over that of the {better} one, {what}",
            "above",
            1.0,
            lambda e: ratios(e.values("mse", kind=worse), e.values("mse", kind=better)),
        )

    def figures(evidence: Evidence) -> list[Block]:
        errors = {kind: evidence.values("nmse", kind=kind) for kind in KINDS}
        return [
            dots(errors, quantity="NMSE of held-out images", caption=f"Reconstruction, {what}."),
            strips(rows(evidence), caption="Held-out images and their reconstructions, seed 0."),
        ]

    return Claim(
        name=name,
        document="001",
        place="conclusions, first point",
        says=f"The normal model reconstructs best, Laplace a little worse, Cauchy worse ({what}).",
        hypotheses=(over("laplace", "normal"), over("cauchy", "laplace")),
        trials=task.trials,
        figures=figures,
        minutes=minutes,
        needs="cifar10" if task is SCENES else None,
        notes=(
            "Reconstructions from the posterior's mean (median), at each model's own rate: the "
            "three do not spend equal bits, and the document does not say how many they spend.",
        ),
    )


CLAIMS = (
    claim(TEMPLATES, "order-templates", "5x5 templates", 0.9),
    claim(DIGITS, "order-digits", "digits", 2.1),
    claim(SCENES, "order-scenes", "grey CIFAR-10 at 16x16", 0.7),
)
