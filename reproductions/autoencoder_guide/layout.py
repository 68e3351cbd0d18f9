"""What the two latent spaces look like."""

import numpy as np

from narrows.report import Block, principal_plane
from reproductions.autoencoder_guide.models import pairs
from reproductions.claim import Claim, Evidence, Hypothesis, differences
from reproductions.figures import dots, planes

KINDS = ("ae", "vae")


def figures(evidence: Evidence) -> list[Block]:
    """The principal planes, and the two measures."""
    clouds = {
        kind: principal_plane(np.asarray(evidence.array("codes", kind=kind), np.float64))[0]
        for kind in KINDS
    }
    colours = evidence.array("code_labels", kind="ae")
    caption = "Held-out codes on their principal planes, coloured by digit, seed 0."
    round_ = {kind: evidence.values("roundness", kind=kind) for kind in KINDS}
    strange = {kind: evidence.values("abnormality", kind=kind) for kind in KINDS}
    names = ("first component", "second")
    return [
        planes(clouds, colours, caption=caption, names=names),
        dots(round_, quantity="shorter over longer axis of a class", caption="1: a circle."),
        dots(strange, quantity="distance of the cloud from normal", caption="0: normal."),
    ]


CLAIM = Claim(
    name="vae-layout-rounder",
    document="002",
    place="2.4, question 2",
    says="Clusters of the VAE's latent space are more regular: rounder, more Gaussian.",
    hypotheses=(
        Hypothesis(
            "mean over classes of shorter over longer axis in the principal plane: VAE less AE",
            "above",
            0.0,
            lambda e: differences(
                e.values("roundness", kind="vae"), e.values("roundness", kind="ae")
            ),
        ),
        Hypothesis(
            "Kolmogorov distance of the plane's Mahalanobis radii from a normal's: VAE less AE",
            "below",
            0.0,
            lambda e: differences(
                e.values("abnormality", kind="vae"), e.values("abnormality", kind="ae")
            ),
        ),
    ),
    trials=pairs,
    figures=figures,
    minutes=5.0,
    notes=("The principal plane shows a part of 128 numbers only. The document has no picture.",),
)
