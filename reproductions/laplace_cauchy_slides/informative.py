"""Are the coordinates of Laplace and Cauchy codes more informative?"""

from narrows.report import Block
from reproductions.claim import Claim, Evidence, Former, Hypothesis, differences
from reproductions.figures import dots
from reproductions.laplace_cauchy_slides.models import DIGITS, KINDS, SCENES, Task

READ = {
    "visible_change": "RMS change of the image along a coordinate",
    "label_bits": "bits about the class per coordinate",
    "linear_probe": "accuracy of a linear reader",
    "knn_probe": "accuracy of 5 nearest neighbours",
    "bits": "KL(q || p), bits per image",
}


def figures(evidence: Evidence, what: str) -> list[Block]:
    """All that was read, for the three kinds."""
    caption = f"Held-out images, {what}."
    return [
        dots(
            {kind: evidence.values(figure, kind=kind) for kind in KINDS},
            quantity=quantity,
            caption=caption,
        )
        for figure, quantity in READ.items()
    ]


def claim(task: Task, name: str, what: str, minutes: float) -> Claim:
    """What can be read from the three codes on one task."""

    def more(figure: str, unit: str, better: str, worse: str) -> Hypothesis:
        return Hypothesis(
            f"{unit}: {better} less {worse}, {what}",
            "above",
            0.0,
            lambda e: differences(e.values(figure, kind=better), e.values(figure, kind=worse)),
            since="2026-11-26",
        )

    visible = "RMS change of the image along a coordinate, 5 % to 95 % of its codes"
    return Claim(
        name=name,
        document="001",
        place="conclusions, second point",
        says=(
            "Laplace and Cauchy coordinates are significantly more informative than normal ones, "
            f"and Cauchy's more than Laplace's ({what})."
        ),
        hypotheses=(
            more("visible_change", visible, "laplace", "normal"),
            more("visible_change", visible, "cauchy", "normal"),
            more("visible_change", visible, "cauchy", "laplace"),
        ),
        trials=task.trials,
        figures=lambda e: figures(e, what),
        minutes=minutes,
        needs="cifar10" if task is SCENES else None,
        notes=(
            "The document judges by eye, from pictures of what each coordinate does. Here: how "
            "much the image changes while one coordinate runs from the 5 % to the 95 % quantile of "
            "its held-out codes, the others at their medians; mean over coordinates. What can be "
            "read of the class is shown beside it.",
        ),
        former=tuple(
            Former(
                f"{quantity}: laplace less normal, cauchy less laplace, {what}",
                "above",
                0.0,
                "2026-11-26",
                "the document means what a traversal shows, not what can be read of the class",
            )
            for quantity in ("mutual information of class and coordinate", "linear probe accuracy")
        ),
    )


CLAIMS = (
    claim(DIGITS, "informative-digits", "digits", 2.1),
    claim(SCENES, "informative-scenes", "grey CIFAR-10 at 16x16", 0.7),
)
