"""Do moving averages train faster than a codebook by gradient?"""

import numpy as np

from narrows.report import Block
from reproductions.claim import Claim, Evidence, Hypothesis
from reproductions.copying import epochs_to
from reproductions.figures import lines
from reproductions.verdict import Estimate
from reproductions.vq_notebook.models import trials

PAIRS = (
    ("VQ-EMA", "VQ"),
    ("VQ-EMA from data", "VQ from data"),
    ("farthest EMA", "farthest"),
)


def share(evidence: Evidence, averaged: str, trained: str) -> Estimate:
    """Epochs until the averaged codes are as good as the trained ones end, over all epochs.

    At most 2, which also stands for never.
    """
    found = []
    for first, second in zip(
        evidence.where(kind=averaged), evidence.where(kind=trained), strict=True
    ):
        curve, other = (np.asarray(o.result["curve"]).tolist() for o in (first, second))
        found.append(min(epochs_to(curve, other[-1]) / len(curve), 2.0))
    return Estimate.over_seeds(found)


def by_epoch(evidence: Evidence, kinds: tuple[str, ...], figure: str = "curve") -> dict:
    """Series of a figure after each epoch."""
    series = {}
    for kind in kinds:
        rows = np.stack([o.result[figure] for o in evidence.where(kind=kind)])
        series[kind] = {float(i): list(column) for i, column in enumerate(rows.T, 1)}
    return series


def figures(evidence: Evidence) -> list[Block]:
    """NMSE over epochs of all six."""
    kinds = tuple(kind for pair in PAIRS for kind in pair)
    return [
        lines(
            by_epoch(evidence, kinds), across="epoch", quantity="held-out NMSE",
            caption="All at one constant rate.", logarithmic=(False, True),
        )
    ]  # fmt: skip


def hypothesis(averaged: str, trained: str, start: str, since: str = "2026-11-21") -> Hypothesis:
    """Of one pair."""
    return Hypothesis(
        f"epochs until moving averages are where the gradient's codes end, over epochs, {start}",
        "below",
        1.0,
        lambda e: share(e, averaged, trained),
        since=since,
    )


CLAIM = Claim(
    name="ema-faster",
    document="003",
    place="vector quantizer layer, on moving averages",
    says="With moving averages the quantiser trains faster than with a codebook by gradient.",
    hypotheses=(
        hypothesis(*PAIRS[0], "codes that start in +-1/K"),
        hypothesis(*PAIRS[1], "codes that start on features"),
        hypothesis(*PAIRS[2], "both as written (farthest code)", "2026-11-26"),
    ),
    trials=lambda scale: trials(scale, *(kind for pair in PAIRS for kind in pair)),
    figures=figures,
    minutes=1.6,
    course=True,
    notes=("The nearest code in the first four, none revived; steps cost the same.",),
)
