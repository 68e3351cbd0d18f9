"""Are the coordinates of Laplace and Cauchy codes more informative?"""

from narrows.report import Block
from reproductions.claim import Claim, Evidence, Hypothesis, differences
from reproductions.figures import dots
from reproductions.laplace_cauchy_slides.models import DIGITS, KINDS, SCENES, Task

READ = {
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
        )

    bits, accuracy = "mutual information of class and coordinate, bits", "linear probe accuracy"
    return Claim(
        name=name,
        document="001",
        place="conclusions, second point",
        says=(
            "Laplace and Cauchy coordinates are significantly more informative than normal ones, "
            f"and Cauchy's more than Laplace's ({what})."
        ),
        hypotheses=(
            more("label_bits", bits, "laplace", "normal"),
            more("label_bits", bits, "cauchy", "laplace"),
            more("linear_probe", accuracy, "laplace", "normal"),
            more("linear_probe", accuracy, "cauchy", "laplace"),
        ),
        trials=task.trials,
        figures=lambda e: figures(e, what),
        minutes=minutes,
        needs="cifar10" if task is SCENES else None,
        notes=(
            "The document judges by eye, from pictures of what each coordinate does. Here: the "
            "information that one coordinate, cut at its 20 quantiles, has about the class, less "
            "what shuffled labels give; and the test accuracy of logistic regression on the code.",
        ),
    )


CLAIMS = (
    claim(DIGITS, "informative-digits", "digits", 2.1),
    claim(SCENES, "informative-scenes", "grey CIFAR-10 at 16x16", 0.7),
)
