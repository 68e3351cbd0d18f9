"""How often each of some ranges of values occurs."""

import numpy as np
from numpy.typing import ArrayLike

from narrows.report import theme
from narrows.report.blocks import Picture


def bars(
    counts: ArrayLike, edges: ArrayLike, *, quantity: str, caption: str, of: str = "number"
) -> Picture:
    """Draws a histogram.

    Args:
        counts: `[bins]`.
        edges: `[bins + 1]`, ascending.
        quantity: what the horizontal axis is, with its unit.
        caption: what to look for.
        of: what is counted.

    Raises:
        ValueError: unless there is one edge more than counts.
    """
    heights, places = np.asarray(counts), np.asarray(edges, dtype=np.float64)
    if heights.ndim != 1 or places.shape != (len(heights) + 1,):
        raise ValueError(
            f"expected counts [n] and edges [n + 1], got {heights.shape}, {places.shape}"
        )
    figure, axes = theme.new_figure(4.4, 2.4)
    axes.bar(places[:-1], heights, np.diff(places), align="edge", color=theme.SERIES[0], lw=0)
    axes.set_xlabel(theme.label(quantity))
    axes.set_ylabel(theme.label(of))
    top = int(heights.argmax()) if heights.size else 0
    alt = (
        f"Histogram of {quantity}: {int(heights.sum()):,} in all, most between "
        f"{places[top]:.3g} and {places[top + 1]:.3g}."
    )
    return Picture(theme.to_svg(figure), alt, caption)
