"""Intervals over seeds."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy import stats


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Mean and half width of its Student t interval.

    mean +- t_{(1 + level) / 2, n - 1} s / sqrt(n); the half width is NaN for a single value,
    which says nothing of its own spread.

    Args:
        values: one per seed.
        level: probability that such an interval covers the mean, for normal values.

    Raises:
        ValueError: if there is no value, or level is not in (0, 1).

    Source: Student (1908).

    Example:
        >>> mean, half = interval([1.0, 2.0, 3.0])
        >>> round(mean, 2), round(half, 2)
        (2.0, 2.48)
    """
    if not values or not 0 < level < 1:
        raise ValueError(
            f"expected at least one value and a level in (0, 1), got {len(values)} values and "
            f"level {level}"
        )
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 1:
        return float(array[0]), math.nan
    half = _quantile((1 + level) / 2, len(array) - 1) * (array.std(ddof=1) / np.sqrt(len(array)))
    return float(array.mean()), float(half)


@cache  # a page has many intervals over the same few seeds
def _quantile(probability: float, freedom: int) -> float:
    return float(stats.t.ppf(probability, freedom))


def paired(
    first: Sequence[float], second: Sequence[float], level: float = 0.95
) -> tuple[float, float]:
    """Mean and half width of second - first over shared seeds.

    Pairing removes what a seed does to both (initial weights, batch order), so that fewer seeds
    tell two methods apart.

    Raises:
        ValueError: if the two differ in length, or are empty.
    """
    if len(first) != len(second):
        raise ValueError(
            f"expected a value of each method for every seed, got {len(first)} and {len(second)}"
        )
    return interval([b - a for a, b in zip(first, second, strict=True)], level)


def summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Mean and half width of the interval of every figure that all rows have."""
    keys = [k for k, v in rows[0].items() if isinstance(v, (int, float))]
    shared = [k for k in keys if all(math.isfinite(row.get(k, math.nan)) for row in rows)]
    return {k: interval([row[k] for row in rows]) for k in shared}
