"""The first example: two templates, two coordinates, one layer on either side."""

from narrows.report import Block, strips
from reproductions.claim import Claim, Evidence, Hypothesis, ratios
from reproductions.figures import dots, planes
from reproductions.laplace_cauchy_slides.models import KINDS, LARGE_TEMPLATES, rows
from reproductions.verdict import Estimate


def figures(evidence: Evidence) -> list[Block]:
    """Reconstructions, codes against weights, and how well weights can be read."""
    weights = evidence.array("weights", kind="normal")
    clouds = {kind: evidence.array("codes", kind=kind) for kind in KINDS}
    read = {kind: evidence.values("weights_r2", kind=kind) for kind in KINDS}
    heavier = weights[:, 1] > weights[:, 0]
    caption = (
        "Weights of the two templates, and the codes of the same held-out images, seed 0; the "
        "colour says which template weighs more. A code that is a linear map of the weights is "
        "the same square, turned and stretched."
    )
    return [
        strips(rows(evidence), caption="Noisy inputs and their reconstructions, seed 0."),
        planes({"template weights": weights} | clouds, heavier, caption=caption),
        dots(read, quantity="R2 of weights from codes", caption="A linear reader of the code."),
    ]


CLAIM = Claim(
    name="templates-recovered",
    document="001",
    place="VAE example, both figures",
    says=(
        "With two coordinates and one layer a normal VAE reproduces 10x10 sums of two templates, "
        "and its coordinates follow the templates' weights."
    ),
    hypotheses=(
        Hypothesis(
            "squared error of reconstructions against the noiseless images, over that of the "
            "noisy inputs",
            "below",
            0.1,
            lambda e: ratios(
                e.values("mse_clean", kind="normal"), e.values("mse_noise", kind="normal")
            ),
        ),
        Hypothesis(
            "R2 of the template weights as a linear function of the held-out codes",
            "above",
            0.9,
            lambda e: Estimate.over_seeds(e.values("weights_r2", kind="normal")),
        ),
    ),
    trials=LARGE_TEMPLATES.trials,
    figures=figures,
    minutes=0.8,
    notes=(
        "The document shows neither the templates nor the law of their weights; ours are a ridge "
        "across and one down, weights uniform on [0, 1/2], noise 0.05. With one layer on either "
        "side the model is probabilistic PCA, whose code may be any rotation of the weights: the "
        "reader is therefore linear, and not a comparison coordinate by coordinate.",
    ),
)
