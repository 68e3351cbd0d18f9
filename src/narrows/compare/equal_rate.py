"""Distortion at equal rate: the only comparison of latents that means something."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from narrows.compare.statistics import interval
from narrows.metrics.rate_curve import at_rate, bd_rate

Curve = list[tuple[float, float]]
"""(bits per dimension, dB) points by rising bits."""
Curves = Mapping[str, Mapping[int, Curve]]
"""Label -> seed -> curve."""

SAME = 1e-3
"""Relative difference of rates that are equal where a curve has one point: some 0.01 dB a bit."""
NEAR = 0.05
"""Relative difference of rates of which a table shows the lower only."""
MOST = 6
"""Rates that a table compares at."""


@dataclass(frozen=True)
class Standing:
    """All recipes that reach one rate.

    Attributes:
        rate: bits per dimension, mean over seeds.
        whose: the recipe whose only rate it is; "" for a rate between points.
        values: label -> PSNR in dB by seed.
    """

    rate: float
    whose: str
    values: Mapping[str, Mapping[int, float]]

    def ranking(self) -> list[str]:
        """Labels, the best first."""
        return sorted(self.values, key=lambda label: -self.mean(label))

    def mean(self, label: str) -> float:
        """Mean over seeds, dB."""
        values = self.values[label].values()
        return sum(values) / len(values)

    def cells(self) -> dict[str, tuple[float, float]]:
        """Mean and half width over seeds by label."""
        return {label: interval(list(by.values())) for label, by in self.values.items()}


def standings(curves: Curves) -> list[Standing]:
    """The recipes side by side at each rate worth a look, by rising rate.

    Those are the rates of recipes that have but one, and up to four between the ends of the
    curves. Curves are interpolated (monotone, in log bits) and never extrapolated, see
    `quality_at`. A rate that fewer than two recipes reach says
    nothing and is dropped.
    """
    seeds = sorted({seed for by_seed in curves.values() for seed in by_seed})
    found = []
    for whose, rates in _anchors(curves, seeds):
        values = {}
        for label, by_seed in curves.items():
            reached = {s: quality_at(by_seed[s], rates[s]) for s in seeds if s in by_seed}
            defined = {s: v for s, v in reached.items() if v is not None}
            if defined and len(defined) == len(reached):
                values[label] = defined
        if len(values) > 1:
            found.append(Standing(sum(rates.values()) / len(rates), whose, values))
    kept: list[Standing] = []
    for standing in sorted(found, key=lambda standing: standing.rate):
        same = kept and standing.values.keys() == kept[-1].values.keys()
        if not (same and standing.rate / kept[-1].rate - 1 <= NEAR):
            kept.append(standing)
    return kept


def quality_at(curve: Curve, bits: float) -> float | None:
    """The curve's quality at a rate, None where it does not reach.

    Between two points nothing is interpolated over a third that the lower one beats: there the
    curve is known to give the lower point's quality and no more.
    """
    kept = hull(curve)
    if len(kept) == 1:
        rate, quality = kept[0]
        return quality if abs(rate / bits - 1) <= SAME else None
    if not kept[0][0] <= bits <= kept[-1][0]:
        return None
    for low, high in gaps(curve):
        if low[0] < bits < high[0]:
            return low[1]
    return at_rate(kept, bits)


def gaps(curve: Curve) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Neighbours of the hull between whose rates another point was measured."""
    kept = hull(curve)
    return [
        (low, high)
        for low, high in itertools.pairwise(kept)
        if any(low[0] < bits < high[0] for bits, _ in curve)
    ]


def hull(curve: Sequence[tuple[float, float]]) -> Curve:
    """The points that no other beats in both rate and quality."""
    kept: Curve = []
    for bits, quality in sorted(curve):
        if kept and bits == kept[-1][0]:
            kept[-1] = (bits, max(quality, kept[-1][1]))
        elif not kept or quality > kept[-1][1]:
            kept.append((bits, quality))
    return kept


def nearest_points(
    rates: Mapping[str, tuple[str, float]], target: float | None, within: float = math.inf
) -> dict[str, str]:
    """Each recipe's point whose rate is nearest to a target.

    Args:
        rates: point's name -> its recipe and its rate, NaN if it has none.
        target: bits per dimension; None takes each recipe's first point.
        within: recipes that stay farther away than this share of the target are left out.

    Returns:
        Recipe -> name of the point, in the order of `rates`.
    """
    found: dict[str, str] = {}
    for name, (label, rate) in rates.items():
        best = found.get(label)
        nearer = best is None or _distance(rate, target) < _distance(rates[best][1], target)
        if nearer:
            found[label] = name
    allowed = math.log2(1 + within)
    return {
        label: name
        for label, name in found.items()
        if within == math.inf or _distance(rates[name][1], target) <= allowed
    }


def savings(curves: Curves, reference: str) -> dict[str, tuple[float, float]]:
    """BD-rate of each curve against one: bits more (less) at equal PSNR, %, mean and half width.

    Only of recipes whose curve rises and shares qualities with the reference's for every seed.
    """
    found: dict[str, tuple[float, float]] = {}
    for label, by_seed in curves.items():
        values = []
        for seed in sorted(by_seed.keys() & curves[reference].keys()):
            pair = curves[reference][seed], by_seed[seed]
            try:
                if any(map(gaps, pair)):
                    break
                values.append(bd_rate(hull(pair[0]), hull(pair[1])))
            except ValueError:  # one point, or no quality in common
                break
        else:
            if label != reference and values:
                found[label] = interval(values)
    return found


def target_rate(found: Sequence[Standing]) -> float | None:
    """The highest of the rates at which most recipes can be compared, None if there is none."""
    return max(found, key=lambda s: (len(s.values), s.rate)).rate if found else None


def _anchors(curves: Curves, seeds: Sequence[int]) -> list[tuple[str, dict[int, float]]]:
    """Whose rate, and the rate by seed."""
    found: list[tuple[str, dict[int, float]]] = []
    ends: list[float] = []
    for label, by_seed in curves.items():
        hulls = [hull(curve) for curve in by_seed.values()]
        if all(len(points) == 1 for points in hulls):
            if len(by_seed) == len(seeds):
                rates = {s: hull(c)[0][0] for s, c in by_seed.items()}
                found.append((label, rates))
        else:
            ends += [max(points[0][0] for points in hulls), min(p[-1][0] for p in hulls)]
    room = max(2, MOST - len(found))
    return found + [("", dict.fromkeys(seeds, rate)) for rate in _between(ends, room)]


def _between(ends: Sequence[float], count: int) -> list[float]:
    """Rounded rates spread over the range that at least two curves reach."""
    ordered = sorted(ends)
    if len(ordered) < 4:
        return []
    low, high = ordered[1], ordered[-2]
    if not low < high:
        return []
    steps = [low * (high / low) ** ((i + 0.5) / count) for i in range(count)]
    return sorted({float(f"{rate:.2g}") for rate in steps})


def _distance(rate: float, target: float | None) -> float:
    """In octaves; a point without a rate is farther than any other."""
    if target is None:
        return 0.0
    return abs(math.log2(rate / target)) if rate > 0 else math.inf
