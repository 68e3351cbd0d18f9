"""The claims about vector quantisation: losses, order, sharpness, samples."""

import math

import numpy as np
from numpy.typing import NDArray

from narrows.report import Block, strips
from reproductions.autoencoder_guide.convolutional import (
    KINDS,
    TEMPERATURES,
    WEIGHT,
    WEIGHTS,
    curve,
    quantised,
    trials,
)
from reproductions.claim import (
    Claim,
    Evidence,
    Hypothesis,
    differences,
    ratios,
)
from reproductions.figures import dots, lines
from reproductions.verdict import Estimate


def of(evidence: Evidence, figure: str, kind: str, weight: float = WEIGHT) -> list[float]:
    """A figure of one kind of model, by seed."""
    return evidence.values(figure, kind=kind, weight=weight)


def copies_figures(evidence: Evidence) -> list[Block]:
    """Errors and reconstructions of the three."""
    values = {kind: of(evidence, "mse", kind) for kind in KINDS}
    rows = {"originals": evidence.array("originals", kind="ae")}
    rows |= {kind: evidence.array("copies", kind=kind, weight=WEIGHT) for kind in KINDS}
    return [
        dots(values, quantity="MSE of held-out images", caption="One network, 7x7 sites."),
        strips(rows, caption="Held-out images and their reconstructions, seed 0."),
    ]


def loss_figures(evidence: Evidence) -> list[Block]:
    """Losses as the document adds them up, and the errors in them."""
    values = {}
    for kind in KINDS:
        values[f"{kind}, whole loss"] = of(evidence, "loss", kind)
        values[f"{kind}, error alone"] = of(evidence, "mse", kind)
    caption = "Mean squared error, plus weighted divergence or quantisation terms."
    return [dots(values, quantity="loss of held-out images", caption=caption)]


def sharp_figures(evidence: Evidence) -> list[Block]:
    """Sharpness, and what it was bought with."""
    names = {"ae": ("ae", WEIGHT), "vq": ("vq", WEIGHT)}
    names |= {f"vae, weight {w:g}": ("vae", w) for w in WEIGHTS}
    ratio = {n: of(evidence, "laplacian_ratio", *which) for n, which in names.items()}
    bits = {n: of(evidence, "bits", *which) for n, which in names.items()}
    quantity = "Laplacian variance over the originals'"
    return [
        dots(ratio, quantity=quantity, caption="1: as sharp as the originals."),
        dots(bits, quantity="bits per image", caption="The rate of each.", logarithmic=True),
    ]


def sample_figures(evidence: Evidence) -> list[Block]:
    """Samples from both kinds of codes."""
    rows = {
        "uniform codes": evidence.array("samples_uniform"),
        "PixelCNN codes": evidence.array("samples_pixelcnn"),
    }
    values = {
        "uniform": evidence.values("kid_uniform"),
        "PixelCNN": evidence.values("kid_pixelcnn"),
        "real against real": evidence.values("kid_floor"),
    }
    return [
        strips(rows, caption="Decoded codes, seed 0."),
        dots(values, quantity="KID to held-out images (own features)", caption="Samples."),
    ]


def drawn_errors(evidence: Evidence) -> NDArray[np.float64]:
    """MSE of every seed's copies at each temperature, `[seeds, temperatures]`."""
    return np.stack([np.asarray(outcome.result["by_distance"]) for outcome in evidence.outcomes])


def by_distance(evidence: Evidence) -> list[Block]:
    """Errors of drawn codes by temperature."""
    rows = drawn_errors(evidence).T
    series = {"codes drawn by distance": dict(zip(TEMPERATURES, map(list, rows), strict=True))}
    caption = "0: the nearest code; 1: chances fall by e for each mean squared nearest distance."
    return [lines(series, across="temperature", quantity="MSE of copies", caption=caption)]


def excess_share(evidence: Evidence) -> Estimate:
    """Share of VQ's excess loss over the AE's that is quantisation terms."""
    rows = zip(
        of(evidence, "loss", "vq"),
        of(evidence, "mse", "vq"),
        of(evidence, "loss", "ae"),
        strict=True,
    )
    return Estimate.over_seeds([(loss - mse) / (loss - plain) for loss, mse, plain in rows])


def at_equal_bits(evidence: Evidence) -> Estimate:
    """Sharpness of VQ less that of a VAE at VQ's bits, interpolated over the logarithm of bits.

    Nothing is extrapolated: outside of the VAE's bits the nearest end is taken.
    """
    points = [
        (of(evidence, "bits", "vae", w), of(evidence, "laplacian_ratio", "vae", w))
        for w in sorted(WEIGHTS, reverse=True)
    ]
    found = []
    for seed, bits in enumerate(of(evidence, "bits", "vq")):
        line = np.array(sorted((math.log(b[seed]), sharp[seed]) for b, sharp in points))
        usual = np.interp(math.log(bits), line[:, 0], line[:, 1])
        found.append(of(evidence, "laplacian_ratio", "vq")[seed] - float(usual))
    return Estimate.over_seeds(found)


WIDTH = (
    "Two numbers a site; until 2026-11-26 it was 16, with which the VAE had collapsed and the AE "
    "had as many numbers as pixels."
)
CLAIMS = (
    Claim(
        name="vq-loss-higher",
        document="002",
        place="3.3, question 1",
        says="The VQ-VAE's loss is higher than those of AE and VAE, for its quantisation terms.",
        hypotheses=(
            Hypothesis(
                "test loss of the VQ-VAE over that of the AE",
                "above",
                1.0,
                lambda e: ratios(of(e, "loss", "vq"), of(e, "loss", "ae")),
            ),
            Hypothesis(
                "test loss of the VQ-VAE over that of the VAE",
                "above",
                1.0,
                lambda e: ratios(of(e, "loss", "vq"), of(e, "loss", "vae")),
            ),
            Hypothesis(
                "share of quantisation terms in the VQ-VAE's excess over the AE",
                "above",
                0.5,
                excess_share,
            ),
        ),
        trials=trials,
        figures=loss_figures,
        minutes=5.5,
        notes=(
            "Losses of different models have different terms: which is higher says little.",
            WIDTH,
        ),
    ),
    Claim(
        name="order-ae-vq-vae",
        document="002",
        place="3.3, question 2",
        says="Reconstructions rank AE, VQ-VAE, VAE, in descending order.",
        hypotheses=(
            Hypothesis(
                "test MSE of the VQ-VAE over that of the AE",
                "above",
                1.0,
                lambda e: ratios(of(e, "mse", "vq"), of(e, "mse", "ae")),
            ),
            Hypothesis(
                "test MSE of the VAE over that of the VQ-VAE",
                "above",
                1.0,
                lambda e: ratios(of(e, "mse", "vae"), of(e, "mse", "vq")),
            ),
        ),
        trials=trials,
        figures=copies_figures,
        minutes=5.5,
        notes=("Each at its own rate; weight .001; see vq-sharper for the bits.", WIDTH),
    ),
    Claim(
        name="vq-sharper",
        document="002",
        place="3.3, question 2",
        says="Reconstructions of the VQ-VAE are sharper than the VAE's, for its discrete codes.",
        hypotheses=(
            Hypothesis(
                "ratio of Laplacian variance to the originals': VQ-VAE less VAE, weight .001",
                "above",
                0.0,
                lambda e: differences(
                    of(e, "laplacian_ratio", "vq"), of(e, "laplacian_ratio", "vae")
                ),
            ),
            Hypothesis(
                "the same at equal bits: VQ-VAE less VAE interpolated between three weights",
                "above",
                0.0,
                at_equal_bits,
            ),
        ),
        trials=curve,
        figures=sharp_figures,
        minutes=9.0,
        notes=(
            "The first hypothesis is what was seen, the second is the reason given: if that is so, "
            "a VAE that spends the same bits must be less sharp. Bits of the VAE are "
            "KL(q || p), those of the VQ-VAE a histogram of codes.",
            WIDTH,
        ),
    ),
    Claim(
        name="uniform-codes-fail",
        document="002",
        place="3.2, question 4",
        says="Images of uniformly drawn codes are poor; those of a PixelCNN's codes are good.",
        hypotheses=(
            Hypothesis(
                "KID of images from a PixelCNN's codes over that from uniform codes",
                "below",
                0.5,
                lambda e: ratios(e.values("kid_pixelcnn"), e.values("kid_uniform")),
            ),
            Hypothesis(
                "share of images from uniform codes among real ones (precision): less PixelCNN's",
                "below",
                0.0,
                lambda e: differences(
                    e.values("precision_uniform"), e.values("precision_pixelcnn")
                ),
            ),
        ),
        trials=quantised,
        figures=sample_figures,
        minutes=3.0,
        notes=("A small PixelCNN, as many passes as the VQ-VAE; features of our own classifier.",),
    ),
    Claim(
        name="codes-by-distance",
        document="002",
        place="3.1",
        says="A code may be drawn with weights by distance instead of taking the nearest.",
        hypotheses=(
            Hypothesis(
                "test MSE with codes drawn by distance, temperature 1, over that with the nearest",
                "below",
                1.1,
                lambda e: Estimate.over_seeds([row[-1] / row[0] for row in drawn_errors(e)]),
                since="2026-11-26",
            ),
        ),
        trials=quantised,
        figures=by_distance,
        minutes=3.0,
        notes=(
            "Of a model that was trained with the nearest code. The document names the idea and "
            "says nothing of what it costs: a tenth more error is our line.",
        ),
    ),
)
