"""Figures of claims: plots that are inline SVG on the page and PNG files beside it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, SymmetricalLogLocator
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from narrows.report import Block, Gallery, Picture, Strips, labelled, theme
from narrows.report.images import to_png
from reproductions.verdict import Estimate


@dataclass(frozen=True)
class Plot(Picture):
    """A plot in the house style: inline SVG on the page, a PNG file elsewhere."""

    figure: Figure

    @classmethod
    def of(cls, figure: Figure, alt: str, caption: str) -> Self:
        """A plot of a figure, what it shows, and what to look for."""
        return cls(theme.to_svg(figure), alt, caption, figure)

    def png(self) -> bytes:
        """The plot as a PNG file on the light theme's paper."""
        buffer = io.BytesIO()
        with matplotlib.rc_context({"font.family": ["sans-serif"]}):
            self.figure.savefig(buffer, format="png", dpi=96, facecolor=theme.PAPER)
        return to_png(np.asarray(Image.open(buffer)), colours=32)


def dots(
    groups: Mapping[str, Sequence[float]], *, quantity: str, caption: str, logarithmic: bool = False
) -> Plot:
    """Every seed's value by group, with the mean and its 95 % interval.

    Args:
        groups: label -> values.
        quantity: what they are, with the unit.
        caption: what to look for.
        logarithmic: the axis; always where values differ by decades.
    """
    figure, axes = theme.new_figure(5.2, 0.9 + 0.42 * len(groups))
    for index, (label, values) in enumerate(groups.items()):
        colour = theme.SERIES[index % len(theme.SERIES)]
        estimate = Estimate.over_seeds(list(values))
        axes.plot(values, [index] * len(values), "o", color=colour, alpha=0.45, markersize=5)
        axes.plot([estimate.low, estimate.high], [index] * 2, color=colour, linewidth=2.2)
        axes.plot([estimate.mean], [index], "|", color=colour, markersize=15, label=label)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.set_ylim(len(groups) - 0.5, -0.5)
    everything = [value for values in groups.values() for value in values]
    if logarithmic or _decades([float(np.mean(values)) for values in groups.values()]):
        _logarithmic(axes, "x", everything)
    axes.set_xlabel(quantity)
    parts = [f"{k} {np.mean(v):.3g}" for k, v in groups.items()]
    note = "Dots: seeds; bar: mean and 95 % interval."
    return Plot.of(figure, f"{quantity}: {'; '.join(parts)}.", f"{caption} {note}")


def lines(
    series: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    across: str,
    quantity: str,
    caption: str,
    logarithmic: tuple[bool, bool] = (False, False),
) -> Plot:
    """A quantity over another, one line per label: means over seeds with 95 % intervals.

    Args:
        series: label -> position -> values of all seeds.
        across: what the positions are, with the unit.
        quantity: what the values are, with the unit.
        caption: what to look for.
        logarithmic: of the positions' axis, of the values' axis; the latter always where values
            differ by decades.
    """
    figure, axes = theme.new_figure()
    for index, (label, points) in enumerate(series.items()):
        style = theme.series_style(index)
        estimates = [Estimate.over_seeds(list(values)) for values in points.values()]
        middle = np.array([e.mean for e in estimates])
        half = np.nan_to_num(np.array([e.high - e.mean for e in estimates]))
        axes.errorbar(
            list(points), middle, half, label=label, capsize=3, markersize=5, linewidth=1.6, **style
        )
    places = [place for points in series.values() for place in points]
    heights = [v for points in series.values() for values in points.values() for v in values]
    if logarithmic[0]:
        _logarithmic(axes, "x", places)
    middles = [float(np.mean(v)) for points in series.values() for v in points.values()]
    if logarithmic[1] or _decades(middles):
        _logarithmic(axes, "y", heights)
    axes.set_xlabel(across)
    axes.set_ylabel(quantity)
    theme.legend(axes)
    means = {k: [float(np.mean(values)) for values in p.values()] for k, p in series.items()}
    ends = [f"{k} from {m[0]:.3g} to {m[-1]:.3g}" for k, m in means.items()]
    note = "Bars: 95 % intervals over seeds."
    return Plot.of(figure, f"{quantity} over {across}: {'; '.join(ends)}.", f"{caption} {note}")


def _decades(values: Sequence[float]) -> bool:
    """Whether values are so far apart that a linear axis hides the small ones."""
    sizes = [abs(value) for value in values if value and np.isfinite(value)]
    return len(sizes) > 1 and max(sizes) > 100 * min(sizes)


def _logarithmic(axes: Axes, axis: Literal["x", "y"], values: Sequence[float]) -> None:
    """A logarithmic axis with plain labels; linear about 0 where a value is not positive."""
    finite = [value for value in values if np.isfinite(value)]
    set_scale = axes.set_xscale if axis == "x" else axes.set_yscale
    at = axes.xaxis if axis == "x" else axes.yaxis
    if min(finite) > 0:
        set_scale("log")
        span = np.log10(max(finite) / min(finite))
        at.set_major_locator(LogLocator(10, subs=(1, 2, 5) if span < 1.5 else (1,), numticks=8))
        at.set_minor_formatter(NullFormatter())
    else:
        linear = max([-min(finite), *(v for v in finite if 0 < v <= 1)]) or 1.0
        set_scale("symlog", linthresh=linear, linscale=0.5)
        locator = SymmetricalLogLocator(base=10, linthresh=linear)
        locator.set_params(numticks=6)
        at.set_major_locator(locator)
        set_limits = axes.set_xlim if axis == "x" else axes.set_ylim
        set_limits(min(finite) - 2 * linear, 2 * max(finite) + linear)
    at.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def planes(
    panels: Mapping[str, ArrayLike],
    labels: ArrayLike | None = None,
    *,
    caption: str,
    percentile: float = 99.0,
    names: tuple[str, str] = ("first coordinate", "second"),
) -> Plot:
    """Points in the plane, one panel per label: no projection, no scaling.

    Where the axes leave points out, the panel says how many.

    Args:
        panels: label -> points `[n, 2]`.
        labels: class of each point, or a number that the colour shows.
        caption: what to look for.
        percentile: share of each axis that is shown, so that heavy tails hide nothing.
        names: of the two axes.
    """
    columns = 2 if len(panels) in (2, 4) else min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.7 * lines), layout="constrained")
    for index, (label, points) in enumerate(panels.items()):
        axes = figure.add_subplot(lines, columns, index + 1)
        axes.spines[["top", "right"]].set_visible(False)
        points = np.asarray(points, dtype=np.float64)
        for name, colour in _colours(labels, len(points)):
            axes.scatter(*points[name].T, s=7, color=colour, alpha=0.6, linewidths=0)
        out = _trim(axes, points, percentile)
        title = f"{label}, {out} outside" if out else label
        axes.set_title(title, fontsize=11, color=theme.INK)
        axes.set_xlabel(names[0])
        axes.set_ylabel(names[1] if index % columns == 0 else "")
        axes.tick_params(colors=theme.MUTED, labelcolor=theme.INK, labelsize=9)
    alt = f"Points in the plane, {len(panels)} panels: {', '.join(panels)}."
    return Plot.of(figure, alt, caption)


def _colours(labels: ArrayLike | None, n: int) -> list[tuple[NDArray[np.bool_], str]]:
    """Which points have which colour."""
    classes = np.zeros(n) if labels is None else np.asarray(labels)[:n]
    return [
        (classes == name, theme.SERIES[i % len(theme.SERIES)])
        for i, name in enumerate(np.unique(classes))
    ]


def _trim(axes, points: NDArray[np.float64], percentile: float) -> int:
    """Sets the axes by the percentile and counts the points that they leave out."""
    outside = np.zeros(len(points), dtype=bool)
    for set_limits, column in ((axes.set_xlim, points[:, 0]), (axes.set_ylim, points[:, 1])):
        low, high = np.percentile(column, [100 - percentile, percentile])
        margin = 0.08 * (high - low) or 1.0
        set_limits(low - margin, high + margin)
        outside |= (column < low - margin) | (column > high + margin)
    return int(outside.sum())


def as_png(block: Block) -> tuple[bytes, str, str] | None:
    """A block as (PNG file, alternative text, caption), None where it is not a picture.

    Strips become one picture, row under row, each with its label.
    """
    if isinstance(block, Plot):
        return block.png(), block.alt, block.caption
    if isinstance(block, Strips):
        rows = {k: replace(row, data=_enlarged(row.data)) for k, row in block.rows.items()}
        alt = f"Rows of pictures: {', '.join(rows)}."
        return labelled(Strips(rows, block.caption)).data, alt, block.caption
    if isinstance(block, Picture) and block.suffix == ".png":
        return _enlarged(block.data), block.alt, block.caption
    return None


def _enlarged(data: bytes) -> bytes:
    """Small pictures by a whole factor, to about the width of a plot."""
    picture = Image.open(io.BytesIO(data))
    factor = max(1, round(500 / picture.width))
    size = (factor * picture.width, factor * picture.height)
    return to_png(np.asarray(picture.resize(size, Image.Resampling.NEAREST)))


def pictures(blocks: Sequence[Block]) -> list[tuple[bytes, str, str]]:
    """All pictures among blocks and in their galleries, as PNG files."""
    flat: list[Block] = []
    for block in blocks:
        flat += block.blocks if isinstance(block, Gallery) else [block]
    return [found for block in flat if (found := as_png(block)) is not None]
