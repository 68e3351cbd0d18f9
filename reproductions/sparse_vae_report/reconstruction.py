"""Does the sparse autoencoder reconstruct better, in train and in test?"""

from narrows.report import Block
from narrows.tasks import Call
from reproductions.claim import Claim, Evidence, Hypothesis, Scale, ratios
from reproductions.sparse_vae_report import pictures
from reproductions.sparse_vae_report.models import trials


def claim(suffix: str, what: str) -> Claim:
    """Figures 1, 2 and 6 to 9 for the pair of models with this suffix to their names."""
    sparse, quantised = f"sparse{suffix}", f"VQ{suffix}"

    def better(figure: str, part: str) -> Hypothesis:
        return Hypothesis(
            f"{part} NMSE of the sparse autoencoder over that of VQ, {what}",
            "below",
            1.0,
            lambda e: ratios(e.values(figure, kind=sparse), e.values(figure, kind=quantised)),
        )

    def runs(scale: Scale) -> list[Call]:
        return trials(scale, quantised, sparse)

    def figures(evidence: Evidence) -> list[Block]:
        kinds = (sparse, quantised)
        return [
            pictures.curves(evidence, kinds, "train_curve", "train NMSE"),
            pictures.curves(evidence, kinds, "curve", "held-out NMSE"),
            *pictures.grids(evidence, kinds),
        ]

    return Claim(
        name="sparse-reconstructs-better" + ("-as-written" if suffix else ""),
        document="000",
        place="data, figures 1, 2 and 6 to 9",
        says=(
            "The sparse autoencoder gives outputs that are closer to their originals than VQ's, in "
            f"training and in testing ({what})."
        ),
        hypotheses=(better("nmse_train", "train"), better("nmse", "test")),
        trials=runs,
        figures=figures,
        minutes=1.2,
        notes=(
            "At each model's own rate: see `sparse-at-equal-rate`. The test figure is that of the "
            "code as it would be stored.",
        ),
    )


CLAIMS = (
    claim(" as written", "both as their code ran"),
    claim("", "both repaired: four of 128 atoms a site, and moving averages from data"),
)
