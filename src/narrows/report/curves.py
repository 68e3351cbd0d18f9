"""How a quantity moved in training."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from narrows.report import theme
from narrows.report.blocks import Picture

FEWEST = 12
"""Values that it takes to smooth anything: a quarter of them is the shortest window, 3."""


def smooth(
    values: ArrayLike, window: int = 201, *, order: int = 7, logarithmic: bool = False
) -> NDArray[np.float64]:
    """Savitzky-Golay: each value becomes that of the least-squares polynomial around it.

    The window moves with the value, and at both ends the polynomial of the outermost window is
    used. Window 201 and order 7 suit a loss recorded 200,000 times. Of n values the window
    covers a quarter at most, and at least seven values belong to each degree, so that few
    values are smoothed and not reproduced. Fewer than 12 values are left as they are.

    Args:
        values: `[n]`, evenly spaced.
        window: number of values in it, odd.
        order: of the polynomial.
        logarithmic: smooth the logarithms, so that positive values stay positive.

    Source: Savitzky & Golay (1964). The fit uses an orthonormal basis of polynomials on
        [-1, 1]: with powers of -100..100 the normal equations of order 7 are singular in double
        precision (SciPy 1.17's `savgol_coeffs(201, 7)` add up to 8e-7 instead of 1).
    """
    values = np.asarray(values, dtype=np.float64)
    if logarithmic:
        return np.exp(smooth(np.log(values), window, order=order))
    window = min(window, len(values) // 4)
    window -= 1 - window % 2
    if window < 3 or not np.isfinite(values).all():
        return values
    order, half = min(order, max(1, window // 7)), window // 2
    powers = np.polynomial.legendre.legvander(np.linspace(-1, 1, window), order)
    basis = np.asarray(np.linalg.qr(powers)[0], dtype=np.float64)
    fit = basis @ basis.T  # row i: weights of the window's values in the fitted value i
    smoothed = np.empty_like(values)
    smoothed[:half] = (fit @ values[:window])[:half]
    smoothed[half:-half] = np.convolve(values, fit[half][::-1], mode="valid")
    smoothed[-half:] = (fit @ values[-window:])[-half:]
    return smoothed


def curves(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    quantity: str,
    unit: str = "",
    step: str = "epoch",
    caption: str = "",
    order: Sequence[str] = (),
    smoothed: bool = True,
) -> Picture:
    """Draws one curve per model: smoothed, over the values themselves.

    The axis is logarithmic where all values are positive, and smoothing then happens on
    logarithms, so that it cannot cross zero.

    Args:
        series: label -> (steps, values).
        quantity: what the values are.
        unit: of the values.
        step: what the steps count.
        caption: what to look for; the axis and the smoothing are said behind it.
        order: all labels of a page, so that a model looks the same in each of its figures.
        smoothed: False draws the values as they are, for other curves than training records.

    Raises:
        ValueError: if there is no value to draw.
    """
    data = {label: _finite(*pair) for label, pair in series.items()}
    if not any(len(values) for _, values in data.values()):
        raise ValueError(f"expected at least one finite value of {quantity} to draw, got none")
    logarithmic = all((values > 0).all() for _, values in data.values())
    figure, axes = theme.new_figure()
    places = [*order, *(label for label in data if label not in order)]
    for label, (steps, values) in data.items():
        index = places.index(label)
        style = theme.series_style(index)
        if not len(values):
            continue
        middle = smooth(values, logarithmic=logarithmic) if smoothed else values
        if smoothed and len(values) >= FEWEST:
            axes.plot(steps, values, color=style["color"], alpha=0.25, linewidth=0.8)
        axes.plot(
            steps, middle, label=theme.label(label), linewidth=1.8, markersize=5,
            markevery=_sparse(len(values), index), **style,
        )  # fmt: skip
    if logarithmic:
        axes.set_yscale("log")
        _label_minor(axes, data)
    axes.set_xlabel(step)
    axes.set_ylabel(f"{quantity} [{unit}]" if unit else quantity)
    theme.legend(axes, always=bool(order))
    note = f"{'Logarithmic' if logarithmic else 'Linear'} axis"
    if smoothed and any(len(values) >= FEWEST for _, values in data.values()):
        note += "; smoothed (Savitzky-Golay), with the values themselves behind"
    return Picture(theme.to_svg(figure), _alt(data, quantity, step), f"{caption} {note}.".strip())


def _finite(steps: ArrayLike, values: ArrayLike) -> tuple[NDArray, NDArray]:
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    return x[np.isfinite(y)], y[np.isfinite(y)]


def _sparse(count: int, offset: int) -> slice:
    """About four markers a curve, at other places on each."""
    gap = max(1, count // 4)
    return slice(offset * gap // 4 % gap, None, gap)


def _label_minor(axes, data: Mapping[str, tuple[NDArray, NDArray]]) -> None:
    """Numbers at 2 and 5 too where the values span less than two decades."""
    values = np.concatenate([values for _, values in data.values()])
    if values.max() / values.min() < 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _alt(data: Mapping[str, tuple[NDArray, NDArray]], quantity: str, step: str) -> str:
    parts = [
        f"{label} from {values[0]:.3g} to {values[-1]:.3g}"
        for label, (_, values) in data.items()
        if len(values)
    ]
    return f"{quantity} over {step}: {'; '.join(parts)}."
