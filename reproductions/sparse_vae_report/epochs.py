"""Does the sparse autoencoder need fewer epochs?"""

import numpy as np

from narrows.report import Block
from narrows.tasks import Call
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.copying import epochs_to
from reproductions.figures import dots
from reproductions.sparse_vae_report import pictures
from reproductions.sparse_vae_report.models import trials
from reproductions.verdict import Estimate


def epochs(evidence: Evidence, suffix: str) -> tuple[list[float], float]:
    """Epochs until the sparse model is as good as VQ ends, per seed, and how many there are.

    A model that never gets there counts as twice the epochs run.
    """
    found, count = [], 0
    pairs = zip(
        evidence.where(kind=f"sparse{suffix}"), evidence.where(kind=f"VQ{suffix}"), strict=True
    )
    for sparse, quantised in pairs:
        curve, other = (np.asarray(o.result["curve"]).tolist() for o in (sparse, quantised))
        count = len(curve)
        found.append(min(epochs_to(curve, other[-1]), 2.0 * count))
    return found, float(count)


def claim(suffix: str, what: str) -> Claim:
    """For the pair of models with this suffix to their names."""
    kinds = (f"sparse{suffix}", f"VQ{suffix}")

    def share(evidence: Evidence) -> Estimate:
        found, count = epochs(evidence, suffix)
        return Estimate.over_seeds([value / count for value in found])

    def figures(evidence: Evidence) -> list[Block]:
        found, _ = epochs(evidence, suffix)
        note = "A model that never reaches it is put at twice the epochs run."
        return [
            pictures.curves(evidence, kinds, "curve", "held-out NMSE"),
            dots({kinds[0]: found}, quantity="epochs to the error that VQ ends with", caption=note),
        ]

    def runs(scale: Scale) -> list[Call]:
        return trials(scale, *kinds)

    return Claim(
        name="fewer-epochs" + ("-as-written" if suffix else ""),
        document="000",
        place="introduction, second hypothesis, and conclusion",
        says=f"The sparse autoencoder reaches a sufficient level in fewer epochs ({what}).",
        hypotheses=(
            Hypothesis(
                "epochs until its held-out NMSE is what VQ ends with, over VQ's epochs",
                "below",
                1.0,
                share,
            ),
        ),
        trials=runs,
        course=True,
        figures=figures,
        minutes=1.2,
        notes=("Both train at one constant rate, as in the document.",),
    )


CLAIMS = (claim(" as written", "both as written"), claim("", "both repaired"))
