"""By how much one contender is ahead of another, from a few runs of each, and how sure that is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

PRIOR_FREEDOM = 6
"""Degrees of freedom that the spread of all contenders counts for in that of each."""


@dataclass(frozen=True)
class Finish:
    """Where one run ended.

    Attributes:
        quality: dB; NaN if it ended too far from the rate to be compared.
        squares: squared error of each test example; empty if unknown.
    """

    quality: float
    squares: np.ndarray = field(default_factory=lambda: np.empty(0))


Finishes = Mapping[str, Mapping[int, Finish]]
"""Contender -> seed -> where its run ended."""


@dataclass(frozen=True)
class Lead:
    """By how much one contender is ahead of another, dB.

    Attributes:
        mean: difference of mean qualities.
        half: from the mean to each bound; infinite where nothing is known of the spread.
    """

    mean: float = math.nan
    half: float = math.inf

    @property
    def low(self) -> float:
        """The least that it may be."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The most that it may be."""
        return self.mean + self.half


def lead(finishes: Finishes, first: str, second: str, *, level: float) -> Lead:
    """Difference of two contenders over their shared seeds, and how far to each of its bounds.

    Quality = contender + seed + chance. The variance of chance of each contender is drawn towards
    the mean variance s_0^2 of all, which counts for d_0 = `PRIOR_FREEDOM` degrees of freedom:
    (d_0 s_0^2 + sum of its squared residuals) / (d_0 + its own degrees) (Smyth 2004, equation 2;
    there d_0 is estimated). The difference over n seeds has the sum of both over n, and what the
    choice of test examples adds. Student's t with Welch's degrees of freedom, no more than the
    runs have.

    Args:
        finishes: of all contenders with runs of this length.
        first: label.
        second: label.
        level: probability that a bound, the lower one or the upper, does not hold.
    """
    pairs = [
        (finishes[first][seed], finishes[second][seed])
        for seed in sorted(finishes[first].keys() & finishes[second].keys())
    ]
    pairs = [(one, two) for one, two in pairs if math.isfinite(one.quality - two.quality)]
    if not pairs:
        return Lead()
    difference = sum(one.quality - two.quality for one, two in pairs) / len(pairs)
    chance = residuals(finishes)
    freedom = sum(degrees for _, degrees in chance.values())
    if freedom < 0.5:
        return Lead(difference)
    common = sum(squares for squares, _ in chance.values()) / freedom
    shares, degrees = [], []
    for label in (first, second):
        squares, own = chance[label]
        degrees.append(PRIOR_FREEDOM + own)
        shares.append((PRIOR_FREEDOM * common + squares) / degrees[-1] / len(pairs))
    total = sum(shares)
    welch = total**2 / sum(s**2 / d for s, d in zip(shares, degrees, strict=True)) if total else 1
    total += _of_examples(pairs)
    return Lead(difference, float(stats.t.isf(level, min(welch, freedom)) * math.sqrt(total)))


def residuals(finishes: Finishes) -> dict[str, tuple[float, float]]:
    """Squared residuals of quality = contender + seed + chance, and their degrees of freedom.

    The degrees of the whole fit are shared out among contenders in proportion to their runs less
    one, since the seeds' effects are taken from all of them.

    Returns:
        For each contender the sum of its squared residuals, and its degrees.
    """
    labels = sorted(finishes)
    seeds = sorted({seed for by_seed in finishes.values() for seed in by_seed})
    rows = [
        (labels.index(c), seeds.index(s))
        for c in labels
        for s, run in finishes[c].items()
        if math.isfinite(run.quality)
    ]
    if not rows:
        return dict.fromkeys(labels, (0.0, 0.0))
    of, at = np.array(rows).T
    y = np.array([finishes[labels[c]][seeds[s]].quality for c, s in rows])
    design = np.hstack([np.eye(len(labels))[of], np.eye(len(seeds))[at]])
    fit, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    squares = np.bincount(of, np.square(y - design @ fit), len(labels))
    spare = np.maximum(np.bincount(of, minlength=len(labels)) - 1, 0)
    degrees = spare * (len(rows) - int(rank)) / max(spare.sum(), 1)
    return {c: (float(squares[i]), float(degrees[i])) for i, c in enumerate(labels)}


def _of_examples(pairs: Sequence[tuple[Finish, Finish]]) -> float:
    """Variance of a difference in dB that comes from the choice of test examples.

    By the delta method: d of 10 log10(mean b / mean a) is 10 / ln 10 (b / mean b - a / mean a).
    """
    known = [(one.squares, two.squares) for one, two in pairs if len(one.squares) > 1]
    if not known:
        return 0.0
    ratios = [two / two.mean() - one / one.mean() for one, two in known]
    return (
        float(np.var(np.mean(ratios, axis=0), ddof=1) / len(ratios[0])) * (10 / math.log(10)) ** 2
    )


def mean(by_seed: Mapping[int, Finish]) -> float:
    """Mean quality of the runs that ended near the rate, dB; NaN if none did."""
    values = _qualities(by_seed)
    return float(values.mean()) if len(values) else math.nan


def near(by_seed: Mapping[int, Finish]) -> bool:
    """Whether any run ended near the rate."""
    return len(_qualities(by_seed)) > 0


def _qualities(by_seed: Mapping[int, Finish]) -> np.ndarray:
    """Of the runs that ended near the rate."""
    return np.array([run.quality for run in by_seed.values() if math.isfinite(run.quality)])
