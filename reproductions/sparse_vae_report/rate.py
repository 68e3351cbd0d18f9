"""Is the sparse autoencoder better at equal bits?"""

import numpy as np

from narrows.report import Block
from reproductions.claim import Claim, Evidence, Hypothesis, ratios
from reproductions.copying import at_bits
from reproductions.figures import lines
from reproductions.sparse_vae_report.models import KINDS, trials
from reproductions.verdict import Estimate


def against(evidence: Evidence, suffix: str) -> Estimate:
    """NMSE of the sparse code at VQ's bits over VQ's own."""
    sparse, quantised = [], []
    pairs = zip(
        evidence.where(kind=f"sparse{suffix}"), evidence.where(kind=f"VQ{suffix}"), strict=True
    )
    for first, second in pairs:
        bits, nmse = np.asarray(second.result["points"])[0]
        sparse.append(at_bits(np.asarray(first.result["points"]), float(bits)))
        quantised.append(float(nmse))
    return ratios(sparse, quantised)


def figures(evidence: Evidence) -> list[Block]:
    """Error over bits of the first seed's models."""
    series = {}
    for kind in KINDS[:4]:
        points = np.asarray(evidence.array("points", kind=kind))
        series[kind] = {float(b): [float(e)] for b, e in points[np.argsort(points[:, 0])] if b >= 1}
    caption = "Sparse values rounded to ever finer steps; priors factorial and fitted. Seed 0."
    return [
        lines(
            {name: points for name, points in series.items() if points},
            across="bits per image", quantity="NMSE", caption=caption, logarithmic=(True, True),
        )
    ]  # fmt: skip


CLAIM = Claim(
    name="sparse-at-equal-rate",
    document="000",
    place="conclusion, better results, at equal bits (not in the document)",
    says="The sparse autoencoder's results are better than VQ's.",
    hypotheses=tuple(
        Hypothesis(
            f"test NMSE of the sparse code at the bits of VQ over that of VQ, {what}",
            "below",
            1.0,
            lambda e, suffix=suffix: against(e, suffix),
        )
        for suffix, what in ((" as written", "as written"), ("", "repaired"))
    ),
    trials=lambda scale: trials(scale, *KINDS[:4]),
    figures=figures,
    minutes=2.4,
    notes=(
        "The document compares 512 real coefficients with 64 indices. Here both are stored: "
        "indices by their histogram, values rounded to a step and priced by a fitted factorial "
        "prior, and the error is that of the rounded code. Where a sparse code ends below VQ's "
        "bits even at the finest step, its best error is taken.",
    ),
)
