"""Distortion against bits: the picture in which codes can be compared."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from narrows.report import theme
from narrows.report.blocks import Picture

LOWEST = 0.6
"""A bar reaches down by this share of its value at most: a logarithmic axis has no 0."""


def rate_distortion(
    points: Mapping[str, Sequence[tuple[float, ...]]],
    *,
    bits: str = "bits per dimension",
    distortion: str = "NMSE",
    caption: str = "",
) -> Picture:
    """Draws the points of every model; a line joins those that no other of the model beats.

    A point is beaten by another with no more bits and less distortion; it is drawn pale.

    Args:
        points: label -> (bits, distortion) pairs, or (bits, distortion, half width) where the
            distortion has an interval, and a fourth number where the bits have one; a single
            point is drawn as a lone mark.
        bits: the convention of the rate.
        distortion: the measure.
        caption: what to look for.

    Raises:
        ValueError: if there is no point to draw.
    """
    points = {label: sorted(pairs) for label, pairs in points.items() if pairs}
    if not points:
        raise ValueError("expected at least one (bits, distortion) pair, got none")
    figure, axes = theme.new_figure()
    _draw(axes, points)
    axes.set_xlabel(bits)
    axes.set_ylabel(distortion)
    theme.legend(axes)
    alt = f"{distortion} against {bits}: " + "; ".join(
        f"{label} " + ", ".join(_spoken(*pair) for pair in pairs) for label, pairs in points.items()
    )
    every = [pair for pairs in points.values() for pair in pairs]
    if any(len(pair) > 2 for pair in every):
        caption = f"{caption} Bars: 95 % intervals over seeds".strip()
        cut = any(p[i] > LOWEST * p[3 - i] for p in every for i in range(2, len(p)))
        caption += ", cut where they come near 0." if cut else "."
    if any(_split(pairs)[1][0] for pairs in points.values()):
        caption = f"{caption} Pale: beaten by another point of the same line.".strip()
    note = "Lower and further left is better; compare models at equal bits."
    return Picture(theme.to_svg(figure), f"{alt}.", f"{caption} {note}".strip())


def _draw(axes: Axes, points: Mapping[str, Sequence[tuple[float, ...]]]) -> None:
    """Lines, lone marks and intervals of every model, on axes that fit them."""
    for index, (label, pairs) in enumerate(points.items()):
        x, y = _columns(pairs)
        style = theme.series_style(index)
        best, beaten = _split(pairs)
        axes.plot(*best, label=theme.label(label), linewidth=1.6, markersize=7, **style)
        if beaten[0]:
            axes.plot(*beaten, markersize=5, alpha=0.4, **{**style, "linestyle": "none"})
        if any(len(pair) > 2 for pair in pairs):
            widths = [pair[2] if len(pair) > 2 else 0.0 for pair in pairs]
            sides = [pair[3] if len(pair) > 3 else 0.0 for pair in pairs]
            bars = [
                [[min(w, LOWEST * v) for w, v in zip(half, values, strict=True)], half]
                for half, values in ((widths, y), (sides, x))
            ]
            axes.errorbar(x, y, *bars, fmt="none", ecolor=style["color"])
    flat = [pair[:2] for pairs in points.values() for pair in pairs]
    if all(b > 0 for b, _ in flat) and max(flat)[0] > 8 * min(flat)[0]:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(LogLocator(2, numticks=8))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    if all(d > 0 for _, d in flat):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if _first(value) else "")
    axes.margins(0.12)


def _split(
    pairs: Sequence[tuple[float, ...]],
) -> tuple[tuple[list[float], list[float]], tuple[list[float], list[float]]]:
    """Bits and distortions, by rising bits, of the points that none beats, and of the others."""
    best: list[tuple[float, ...]] = []
    beaten: list[tuple[float, ...]] = []
    for pair in sorted(pairs, key=lambda pair: pair[:2]):
        (best if not best or pair[1] < best[-1][1] else beaten).append(pair)
    return _columns(best), _columns(beaten)


def _columns(pairs: Sequence[tuple[float, ...]]) -> tuple[list[float], list[float]]:
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _spoken(bits: float, distortion: float, half: float | None = None, *_: float) -> str:
    """A point in words, for the description."""
    width = "" if half is None else f" ± {half:.2g}"
    return f"{distortion:.3g}{width} at {bits:.3g}"


def _first(value: float) -> bool:
    """Whether a minor tick deserves a number: those that begin with 2 or 5."""
    return f"{value:e}"[0] in "25"
