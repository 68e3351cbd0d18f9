"""Codes in the plane."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from narrows.report import theme
from narrows.report.blocks import Picture

MOST_POINTS = 1000


def principal_plane(codes: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Projects vectors `[n, d]` on their two directions of greatest variance.

    Returns:
        Coordinates `[n, 2]`, zero where there is but one direction, and the share of the
        variance along each, `[2]`.

    Raises:
        ValueError: unless the codes are `[n, d]` and finite.
    """
    codes = np.asarray(codes, dtype=np.float64)
    if codes.ndim != 2 or not len(codes) or not np.isfinite(codes).all():
        raise ValueError(f"expected finite vectors [n, d], got shape {codes.shape}; flatten them")
    centred = codes - codes.mean(0)
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    shares = scales**2 / max(float((scales**2).sum()), np.finfo(np.float64).tiny)
    plane, share = np.zeros((len(codes), 2)), np.zeros(2)
    count = min(2, len(scales))
    plane[:, :count], share[:count] = centred @ directions[:count].T, shares[:count]
    return plane, share


def scatter(
    codes: ArrayLike, labels: ArrayLike | None = None, *, title: str, caption: str = ""
) -> Picture:
    """Draws codes `[n, d]` on their principal plane, coloured by class.

    Args:
        codes: one vector per example; the first 1000 are drawn.
        labels: one class per example; the middle of each class carries its name.
        title: whose codes these are.
        caption: what to look for; the variance shown is said behind it.
    """
    plane, share = principal_plane(codes)
    plane = plane[:MOST_POINTS]
    classes = np.zeros(len(plane)) if labels is None else np.asarray(labels)[:MOST_POINTS]
    names = np.unique(classes)
    figure, axes = theme.new_figure(4.4, 4.0)
    for index, name in enumerate(names):
        colour = theme.SERIES[index % len(theme.SERIES)]
        members = plane[classes == name]
        axes.scatter(*members.T, s=9, color=colour, alpha=0.6, linewidths=0)
        if len(names) > 1:
            middle = np.median(members, 0)
            axes.annotate(
                str(name), (middle[0], middle[1]), color=theme.INK, fontsize=12, weight="bold",
                ha="center", va="center",
                bbox={"boxstyle": "round,pad=0.15", "fc": theme.PAPER, "ec": colour, "lw": 1.2},
            )  # fmt: skip
    axes.set_title(title, fontsize=11, color=theme.INK)
    axes.set_xlabel(f"first component, {share[0]:.0%} of the variance")
    axes.set_ylabel(f"second component, {share[1]:.0%}")
    alt = (
        f"Codes of {title} on their first two principal components, which hold "
        f"{share.sum():.0%} of the variance"
    )
    alt += f"; {len(names)} classes, named at their medians." if len(names) > 1 else "."
    note = f"PCA of {len(plane)} codes; the plane shows {share.sum():.0%} of their variance."
    return Picture(theme.to_svg(figure), alt, f"{caption} {note}".strip())
