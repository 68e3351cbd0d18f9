"""The document's figures, for any of its models."""

from collections.abc import Sequence

import numpy as np

from narrows.report import Block, strips
from reproductions.claim import Evidence
from reproductions.figures import Plot, lines


def curves(evidence: Evidence, kinds: Sequence[str], figure: str, quantity: str) -> Plot:
    """A figure after each epoch, one line per model."""
    series = {}
    for kind in kinds:
        rows = np.stack([o.result[figure] for o in evidence.where(kind=kind)])
        series[kind] = {float(i): list(column) for i, column in enumerate(rows.T, 1)}
    caption = f"{quantity[0].upper()}{quantity[1:]} after each epoch."
    return lines(
        series, across="epoch", quantity=quantity, caption=caption, logarithmic=(False, True)
    )


def grids(evidence: Evidence, kinds: Sequence[str]) -> list[Block]:
    """Originals and copies, and draws from each model's fitted factorial prior."""
    copied = {"originals": evidence.array("originals", kind=kinds[0])}
    copied |= {kind: evidence.array("copies", kind=kind) for kind in kinds}
    drawn = {kind: evidence.array("samples", kind=kind) for kind in kinds}
    return [
        strips(
            {k: np.asarray(v, dtype=np.float64).clip(0, 1) for k, v in copied.items()},
            caption="Held-out images and their copies, seed 0.",
        ),
        strips(
            {k: np.asarray(v, dtype=np.float64).clip(0, 1) for k, v in drawn.items()},
            caption="Draws from fitted factorial priors, seed 0: sites know nothing of each other.",
        ),
    ]
