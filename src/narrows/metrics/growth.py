"""How fast does a size have to grow with the dimension?"""

from collections.abc import Sequence

import numpy as np


def growth(dimensions: Sequence[float], sizes: Sequence[float]) -> dict[str, float]:
    """Compares size = c D^p with size = c e^(r D), both fitted by least squares in log size.

    "A codebook can be quadratic in D instead of exponential" is a statement about the sizes that
    reach one distortion in several dimensions (`size_for` finds them): p near 2 and a better fit
    of the power law support it. Three or four neighbouring dimensions can hardly tell the two
    apart: the ratio of the residuals says how well these did.

    Args:
        dimensions: D, at least three different ones.
        sizes: what each needed.

    Returns:
        `power`: p; `rate`: r; `residual_power` and `residual_exponential`: root mean square
        errors in natural log size; `advantage`: log of the latter over the former, above 0
        where the power law fits better.

    Raises:
        ValueError: unless there is a positive size for each of at least three dimensions.
    """
    d, k = np.asarray(dimensions, float), np.asarray(sizes, float)
    if d.shape != k.shape or len(set(d.tolist())) < 3 or (d <= 0).any() or (k <= 0).any():
        raise ValueError(
            "expected a positive size for each of at least three different dimensions, got "
            f"{list(dimensions)} and {list(sizes)}"
        )
    power, off_power = _fit(np.log(d), np.log(k))
    rate, off_rate = _fit(d, np.log(k))
    floor = 1e-9  # two exact fits are equally good
    return {
        "power": power,
        "rate": rate,
        "residual_power": off_power,
        "residual_exponential": off_rate,
        "advantage": float(np.log((off_rate + floor) / (off_power + floor))),
    }


def size_for(sizes: Sequence[float], distortions: Sequence[float], target: float) -> float | None:
    """The size that reaches a distortion, between measured ones, linear in both logarithms.

    Args:
        sizes: rising.
        distortions: positive; where one rises with the size, the least so far is taken.
        target: to be reached.

    Returns:
        The size, or None where no measured size reaches the target or all do.
    """
    if len(sizes) != len(distortions) or len(sizes) < 2 or target <= 0:
        raise ValueError("expected a distortion for each of at least two sizes, and a target > 0")
    falling = np.minimum.accumulate(np.asarray(distortions, float))
    if not falling[-1] <= target <= falling[0]:
        return None
    # np.interp wants rising abscissae, and ties at their first size.
    kept = np.concatenate([[True], np.diff(falling) < 0])
    x, y = -np.log(falling[kept]), np.log(np.asarray(sizes, float)[kept])
    return float(np.exp(np.interp(-np.log(target), x, y)))


def _fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and root mean square residual of a line."""
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(np.sqrt(np.mean((y - slope * x - offset) ** 2)))
