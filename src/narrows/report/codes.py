"""Codes in the plane."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from narrows.report import theme
from narrows.report.blocks import Picture

MOST_POINTS, CLOUD = 1000, 400
Projection = Callable[[ArrayLike], tuple[NDArray[np.float64], NDArray[np.float64] | None]]
"""Vectors `[n, d]` -> coordinates `[n, 2]`, and the share of variance along each if it has one."""


def principal_plane(codes: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Projects vectors `[n, d]` on their two directions of greatest variance.

    Returns:
        Coordinates `[n, 2]`, zero where there is but one direction, and the share of the
        variance along each, `[2]`.

    Raises:
        ValueError: unless the codes are `[n, d]` and finite.
    """
    codes = _checked(codes)
    centred = codes - codes.mean(0)
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    shares = scales**2 / max(float((scales**2).sum()), np.finfo(np.float64).tiny)
    plane, share = np.zeros((len(codes), 2)), np.zeros(2)
    count = min(2, len(scales))
    plane[:, :count], share[:count] = centred @ directions[:count].T, shares[:count]
    return plane, share


def umap_plane(codes: ArrayLike) -> tuple[NDArray[np.float64], None]:
    """Lays vectors `[n, d]` out by UMAP: neighbours stay together, distances mean little.

    Raises:
        RuntimeError: if umap-learn is not installed.
        ValueError: unless the codes are `[n, d]` and finite.

    Source: McInnes, Healy & Melville (2018), by their package, with its defaults and seed 0.
    """
    import warnings

    with warnings.catch_warnings():  # its own: TensorFlow missing, one thread when seeded
        warnings.simplefilter("ignore")
        try:
            from umap import UMAP  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise RuntimeError(
                "UMAP is not installed: pip install 'narrows[umap]', or leave --umap out for PCA"
            ) from None
        codes = _checked(codes)
        if len(codes) < 5 or not np.ptp(codes, axis=0).any():  # a graph needs neighbours
            return principal_plane(codes)[0], None
        mapper = UMAP(n_neighbors=min(15, len(codes) - 1), random_state=0, n_jobs=1)
        return np.asarray(mapper.fit_transform(codes), dtype=np.float64), None


def scatter(
    codes: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    title: str,
    caption: str = "",
    project: Projection = principal_plane,
) -> Picture:
    """Draws codes `[n, d]` on a plane, coloured by class.

    Args:
        codes: one vector per example; the first 1000 are drawn.
        labels: one class per example; the middle of each class carries its name.
        title: whose codes these are.
        caption: what to look for; what the plane shows is said behind it.
        project: to the plane: `principal_plane` or `umap_plane`.
    """
    plane, share = project(codes)
    plane = plane[:MOST_POINTS]
    classes = np.zeros(len(plane)) if labels is None else np.asarray(labels)[:MOST_POINTS]
    names = np.unique(classes)
    figure, axes = theme.new_figure(4.4, 4.0)
    for index, name in enumerate(names):
        colour = theme.SERIES[index % len(theme.SERIES)]
        members = plane[classes == name]
        axes.scatter(*members.T, s=9, color=colour, alpha=0.6, linewidths=0)
        if len(names) > 1:
            middle, word = np.median(members, 0), theme.label(str(name))
            axes.annotate(
                word, (middle[0], middle[1]), color=theme.INK, fontsize=12, weight="bold",
                ha="center", va="center",
                bbox={"boxstyle": "round,pad=0.15", "fc": theme.PAPER, "ec": colour, "lw": 1.2},
            )  # fmt: skip
    axes.set_title(theme.label(title), fontsize=11, color=theme.INK)
    note = _label(axes, share, f"{len(plane)} codes")
    alt = f"Codes of {title} in the plane: {note}"
    alt += f" {len(names)} classes, named at their medians." if len(names) > 1 else ""
    return Picture(theme.to_svg(figure), alt, f"{title}. {caption} {note}".replace("  ", " "))


def cover(
    features: ArrayLike,
    codes: ArrayLike,
    *,
    use: ArrayLike,
    what: str,
    title: str,
    project: Projection = principal_plane,
) -> Picture:
    """Draws codes or atoms `[K, d]` over the features `[n, d]` that they have to cover.

    Args:
        features: what is coded; 400 of them are drawn, as a grey cloud.
        codes: the codebook, or atoms; those that nothing uses are hollow.
        use: how often each is used, `[K]`; the larger, the more.
        what: "code" or "atom".
        title: whose they are.
        project: to the plane; both sets are laid out together.
    """
    features, codes = np.asarray(features)[:CLOUD], np.asarray(codes)
    use = np.asarray(use, dtype=np.float64)
    plane, share = project(np.concatenate([features, codes]))
    cloud, points = plane[: len(features)], plane[len(features) :]
    used = use > 0
    figure, axes = theme.new_figure(4.4, 4.0)
    axes.scatter(*cloud.T, s=6, color=theme.LINES, linewidths=0)
    axes.scatter(
        *points[~used].T, s=14, facecolors="none", edgecolors=theme.SERIES[1], linewidths=0.8
    )
    # A few sizes, each drawn at once: a size of its own for every point makes a large file.
    level = np.ceil(4 * use / max(float(use.max(initial=1)), 1))
    for size in np.unique(level[used]):
        members = points[level == size]
        axes.scatter(*members.T, s=15 * size, color=theme.SERIES[0], alpha=0.75, linewidths=0)
    axes.set_title(theme.label(title), fontsize=11, color=theme.INK)
    said = f"{int(used.sum())} of {len(codes)} {what}s in use"
    note = _label(axes, share, f"{len(features)} features and {len(codes)} {what}s")
    caption = (
        f"{title}: {what}s over the features that they code (grey). Filled: used, the larger the "
        f"more; hollow: not used here. {said}. {note}"
    )
    if what == "atom":
        caption += " Atoms are directions; they are drawn at the features' mean length."
    alt = f"{what.capitalize()}s of {title} over its features in the plane: {said}."
    return Picture(theme.to_svg(figure), alt, caption)


def _label(axes, share: NDArray[np.float64] | None, what: str) -> str:
    """Names the axes; returns what the plane shows, in words."""
    if share is None:
        axes.set_xticklabels([])
        axes.set_yticklabels([])
        axes.set_xlabel("UMAP 1")
        axes.set_ylabel("UMAP 2")
        return f"UMAP of {what}: neighbours mean something, distances and axes do not."
    axes.set_xlabel(f"first component, {share[0]:.0%} of the variance")
    axes.set_ylabel(f"second component, {share[1]:.0%}")
    return f"PCA of {what}; the plane shows {share.sum():.0%} of their variance."


def _checked(codes: ArrayLike) -> NDArray[np.float64]:
    codes = np.asarray(codes, dtype=np.float64)
    if codes.ndim != 2 or not len(codes) or not np.isfinite(codes).all():
        raise ValueError(f"expected finite vectors [n, d], got shape {codes.shape}; flatten them")
    return codes
