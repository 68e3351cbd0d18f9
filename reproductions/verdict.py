"""From numbers to a verdict, by rule: nobody types one."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from narrows.compare.statistics import interval

Verdict = Literal["supported", "contradicted", "inconclusive", "undertrained", "not run"]
Relation = Literal["above", "below"]


@dataclass(frozen=True)
class Estimate:
    """A number and how far it may be off.

    Attributes:
        mean: the estimate.
        low: lower end of its 95 % interval; NaN where nothing is known of it.
        high: upper end.
        n: values that it rests on; 1 for a computation without chance.
        kind: how the interval came about, in words.
    """

    mean: float
    low: float
    high: float
    n: int
    kind: str

    @classmethod
    def over_seeds(cls, values: Sequence[float]) -> "Estimate":
        """Mean with its Student t interval; of one value, without an interval.

        A value that is not finite makes the whole estimate undefined: a run that diverged is not
        left out.
        """
        if not all(math.isfinite(value) for value in values):
            return cls(math.nan, math.nan, math.nan, len(values), "a value is not finite")
        mean, half = interval(values)
        return cls(mean, mean - half, mean + half, len(values), "t interval over seeds")

    @classmethod
    def share(cls, hits: Iterable[bool]) -> "Estimate":
        """Share of hits with its exact binomial interval (Clopper & Pearson, 1934)."""
        outcomes = list(hits)
        n, k = len(outcomes), sum(outcomes)
        if not n:
            raise ValueError("expected at least one outcome to take a share of, got none")
        low = float(stats.beta.ppf(0.025, k, n - k + 1)) if k else 0.0
        high = float(stats.beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
        return cls(k / n, low, high, n, "exact binomial interval")

    @classmethod
    def exact(cls, value: float, error: float = 0.0) -> "Estimate":
        """A computed number with a bound of its numerical error."""
        return cls(value, value - error, value + error, 1, "computed, with its numerical error")


def judge(estimate: Estimate, relation: Relation, bound: float) -> Verdict:
    """Supported where the whole interval lies on the hypothesis's side of the bound.

    Contradicted where it lies wholly on the other side (the bound itself included),
    inconclusive where it does neither or is not known.

    Args:
        estimate: with its interval.
        relation: the side on which the hypothesis puts the number.
        bound: decided beforehand.

    Example:
        >>> judge(Estimate.over_seeds([1.0, 1.1, 0.9]), "above", 0.0)
        'supported'
    """
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return "inconclusive"
    if relation == "above":
        if estimate.low > bound:
            return "supported"
        return "contradicted" if estimate.high <= bound else "inconclusive"
    if estimate.high < bound:
        return "supported"
    return "contradicted" if estimate.low >= bound else "inconclusive"


def p_value(estimate: Estimate, bound: float) -> float:
    """Two-sided p of the hypothesis that the number is the bound; NaN where nothing is known.

    From the interval, so that p < 0.05 exactly where the 95 % interval excludes the bound: t over
    seeds; normal for a share; 0 for a computed number off the bound by more than its error.
    """
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return math.nan
    off = bound - estimate.mean
    half = estimate.high - estimate.mean if off > 0 else estimate.mean - estimate.low
    if half <= 0 or estimate.n == 1:
        return 0.0 if abs(off) > half else 1.0
    law = stats.norm() if "binomial" in estimate.kind else stats.t(estimate.n - 1)
    return float(2 * law.sf(abs(off) / half * law.ppf(0.975)))


def holm(values: Sequence[float]) -> list[float]:
    """Adjusted p of a family of hypotheses (Holm, 1979); NaN stays and does not count.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    known = sorted((p, i) for i, p in enumerate(values) if not math.isnan(p))
    adjusted, least = [math.nan] * len(values), 0.0
    for rank, (p, i) in enumerate(known):
        least = min(1.0, max(least, p * (len(known) - rank)))
        adjusted[i] = least
    return adjusted


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a claim with several hypotheses: all must be supported, one contradicted refutes it."""
    if not verdicts or "not run" in verdicts:
        return "not run"
    if "contradicted" in verdicts:
        return "contradicted"
    return "supported" if set(verdicts) == {"supported"} else "inconclusive"
