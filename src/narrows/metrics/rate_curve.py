"""Comparing rate-distortion curves: at equal rate, and by the area between them."""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

Points = Sequence[tuple[float, float]]
"""(bits, quality) pairs in any order; quality in dB or anything else that bits should raise."""


def at_rate(points: Points, bits: float) -> float:
    """Quality of a curve at a given rate, by monotone interpolation in log bits.

    Raises:
        ValueError: outside the measured rates; nothing is extrapolated.
    """
    log_bits, quality = _curve(points)
    if not log_bits[0] <= np.log(bits) <= log_bits[-1]:
        raise ValueError(
            f"expected a rate within the measured {np.exp(log_bits[0]):.4g} to "
            f"{np.exp(log_bits[-1]):.4g} bits, got {bits:.4g}; train models nearer to it"
        )
    return float(PchipInterpolator(log_bits, quality)(np.log(bits)))


def bd_rate(reference: Points, candidate: Points) -> float:
    """Mean difference in rate at equal quality, in percent; negative: the candidate saves bits.

    exp(mean over q of [log R_candidate(q) - log R_reference(q)]) - 1, over the qualities that
    both curves reach.

    Args:
        reference: (bits, dB) pairs, at least two.
        candidate: the same for the other codec.

    Raises:
        ValueError: if a curve is not increasing, or the two share no quality.

    Source: Bjontegaard (2001), VCEG-M33, with piecewise cubic (PCHIP) interpolation, as is
        now usual, in the place of one cubic polynomial through four points.
    """
    first, second = _curve(reference), _curve(candidate)
    difference = _mean_gap(first[::-1], second[::-1], "qualities")
    return float(100 * np.expm1(difference))


def bd_quality(reference: Points, candidate: Points) -> float:
    """Mean difference in quality at equal rate, in its unit; positive: the candidate is better.

    Raises:
        ValueError: if a curve is not increasing, or the two share no rate.

    Source: Bjontegaard (2001), as `bd_rate`.
    """
    return float(_mean_gap(_curve(reference), _curve(candidate), "rates"))


def _curve(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Log bits and quality, both strictly increasing."""
    ordered = np.array(sorted(points), dtype=np.float64)
    if ordered.ndim != 2 or len(ordered) < 2:
        raise ValueError(f"expected at least two (bits, quality) points, got {len(ordered)}")
    if not np.isfinite(ordered).all() or (ordered[:, 0] <= 0).any():
        raise ValueError("expected finite points with positive bits; a plain code has no rate")
    if (np.diff(ordered, axis=0) <= 0).any():
        raise ValueError(
            "expected quality to rise with the bits; leave out points that another one of the "
            f"same curve beats: {[tuple(p) for p in ordered.tolist()]}"
        )
    return np.log(ordered[:, 0]), ordered[:, 1]


def _mean_gap(first: Sequence[np.ndarray], second: Sequence[np.ndarray], what: str) -> float:
    """Mean of second minus first, as functions, over the arguments that they share."""
    low, high = max(first[0][0], second[0][0]), min(first[0][-1], second[0][-1])
    if low >= high:
        raise ValueError(
            f"the curves share no {what}: {first[0][[0, -1]]} and {second[0][[0, -1]]}; measure "
            "points that overlap"
        )
    areas = [PchipInterpolator(x, y).integrate(low, high) for x, y in (first, second)]
    return (areas[1] - areas[0]) / (high - low)
