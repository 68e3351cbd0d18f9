"""Is the dictionary better than the quantiser, and at equal bits?"""

import numpy as np

from narrows.report import Block
from reproductions.claim import Claim, Evidence, Hypothesis, ratios
from reproductions.copying import at_bits
from reproductions.figures import lines
from reproductions.verdict import Estimate
from reproductions.vq_notebook.models import trials

QUANTISER = "VQ-EMA from data"


def at_equal_bits(evidence: Evidence) -> Estimate:
    """The repaired dictionary's NMSE at the quantiser's bits over the quantiser's."""
    first, second = [], []
    pairs = zip(evidence.where(kind="dictionary"), evidence.where(kind=QUANTISER), strict=True)
    for sparse, quantised in pairs:
        bits, nmse = np.asarray(quantised.result["points"])[0]
        first.append(at_bits(np.asarray(sparse.result["points"]), float(bits)))
        second.append(float(nmse))
    return ratios(first, second)


def figures(evidence: Evidence) -> list[Block]:
    """Error over bits, seed 0."""
    series = {}
    for kind in ("dictionary", QUANTISER):
        points = np.asarray(evidence.array("points", kind=kind))
        series[kind] = {float(b): [float(e)] for b, e in sorted(map(tuple, points)) if b >= 1}
    return [
        lines(
            {name: points for name, points in series.items() if points},
            across="bits per image", quantity="NMSE", logarithmic=(True, True),
            caption="Weights rounded to ever finer steps; priors factorial and fitted. Seed 0.",
        )
    ]  # fmt: skip


CLAIM = Claim(
    name="dictionary-beats-vq",
    document="003",
    place="introduction of the dictionary layer, and TODOs 4 and 6",
    says="Combining several atoms represents features better than choosing one.",
    hypotheses=(
        Hypothesis(
            "test NMSE of the repaired dictionary over that of VQ-EMA, each at its own rate",
            "below",
            1.0,
            lambda e: ratios(e.values("nmse", kind="dictionary"), e.values("nmse", kind=QUANTISER)),
        ),
        Hypothesis(
            "the same at the bits of VQ-EMA",
            "below",
            1.0,
            at_equal_bits,
        ),
    ),
    trials=lambda scale: trials(scale, "dictionary", QUANTISER),
    figures=figures,
    minutes=0.8,
)
