"""A race of contenders at one rate: short runs, then longer ones, more and more, until decided.

Whoever is behind another by more than a bound allows is dropped. All bounds on what any rival may
seem to be ahead of the true best, at every look, hold together with a probability of at least
1 - ERROR: the error is shared out among all looks and all rivals (Bonferroni), more to later looks,
which have more runs. So, but for that error, the best is never dropped, who is left alone is the
best, and no one is better than the first by more than the bound between the two. What no bound
covers is training that was too short: a contender is dropped after short runs only if it lies
behind by more than an allowance.
"""

import itertools
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

ERROR = 0.05
"""Probability that any interval of a race is wrong."""
CLOSE = 0.2
"""dB; contenders that lie nearer together for certain are not told apart."""


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
class Heat:
    """Runs of one length.

    Attributes:
        counts: runs that every contender left has had at each look; after the last look the heat
            ends undecided.
        allowance: dB that a contender may lie behind, over what chance explains, and stay.
        share: of the error, over all looks of the heat.
    """

    counts: tuple[int, ...]
    allowance: float = 0.0
    share: float = 1.0

    def error(self, look: int) -> float:
        """Of one look, counted from 0: in proportion to 1, 2, 3, ..."""
        return ERROR * self.share * (look + 1) / sum(range(1, len(self.counts) + 1))


HEATS = (Heat((2,), allowance=0.5, share=0.2), Heat((2, 3, 5, 8, 12), share=0.8))
"""Short runs that drop who is far behind, then runs that decide."""
PRIOR_FREEDOM = 6
"""Degrees of freedom that the spread of all contenders counts for in that of each."""


@dataclass(frozen=True)
class Stop:
    """What is sent to a race to end it before it is decided.

    Attributes:
        finishes: of the runs of the last request that were finished.
    """

    finishes: Finishes = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """Runs that the race asks for.

    Attributes:
        heat: number of the heat, from 0.
        contenders: by label.
        seeds: of which every contender needs a run.
    """

    heat: int
    contenders: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Lead:
    """By how much one contender is ahead of another, dB.

    Attributes:
        mean: difference of mean qualities.
        half: from the mean to each bound; infinite where nothing is known of the spread.
    """

    mean: float
    half: float

    @property
    def low(self) -> float:
        """The least that it may be."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The most that it may be."""
        return self.mean + self.half


@dataclass(frozen=True)
class Dropped:
    """A contender that left the race.

    Attributes:
        label: of the contender.
        heat: in which it left.
        seeds: that it had run there; 0 if none of its runs there was finished.
        by: the contender that it was behind.
        lead: of that one.
    """

    label: str
    heat: int
    seeds: int
    by: str = ""
    lead: Lead = Lead(math.nan, math.inf)


@dataclass(frozen=True)
class Verdict:
    """How a race stands.

    Attributes:
        ranking: those still in it, the best first.
        leads: of the first over each of the others that ran in the last heat.
        finishes: runs of the last heat that was begun, also of those who left in it.
        dropped: who left, in that order.
        heat: the last that was begun.
        ended: False if the race was stopped before anything was decided.
    """

    ranking: tuple[str, ...]
    leads: Mapping[str, Lead]
    finishes: Finishes
    dropped: tuple[Dropped, ...] = ()
    heat: int = 0
    ended: bool = True

    @property
    def best(self) -> str | None:
        """The only one left; None if several are."""
        return self.ranking[0] if len(self.ranking) == 1 else None


def race(contenders: Sequence[str]) -> Generator[Request, Finishes | Stop, Verdict]:
    """Asks for runs until one contender is left, or those left lie within `CLOSE`.

    It is sent the finishes of each request, without those that failed, or `Stop`. A contender
    none of whose runs finished is out.

    Args:
        contenders: labels.

    Returns:
        The verdict.
    """
    left, out = tuple(contenders), list[Dropped]()
    seen: dict[str, dict[int, Finish]] = {}
    number, level = 0, math.nan
    for number, heat in enumerate(HEATS):
        before, seen = seen, {label: {} for label in left}  # who is dropped stays in it
        for look, (had, count) in enumerate(zip((0, *heat.counts), heat.counts, strict=False)):
            answer = yield Request(number, left, tuple(range(had, count)))
            stopped = isinstance(answer, Stop)
            found = answer.finishes if isinstance(answer, Stop) else answer
            for label in left:
                seen[label] |= found.get(label, {})
            level = heat.error(look) / max(len(left) - 1, 1)  # one share for each rival of the best
            if stopped and not all(seen.values()):
                if number:  # of the short runs everyone has some
                    seen, number = before, number - 1
                return _verdict(left, seen, out, number, level, ended=False)
            gone = [*_lost(left, seen, number), *behind(left, seen, number, level)]
            out += gone
            left = tuple(label for label in left if label not in {one.label for one in gone})
            decided = len(left) < 2 or _close(left, seen, level)
            if stopped:
                ended = decided and number == len(HEATS) - 1
                return _verdict(left, seen, out, number, level, ended=ended)
            if decided:
                break
        if not left:
            break
    return _verdict(left, seen, out, number, level, ended=True)


def _lost(left: Sequence[str], finishes: Finishes, number: int) -> list[Dropped]:
    """Who finished no run; in the last heat also who finished none near the rate."""
    last = number == len(HEATS) - 1
    counts = {
        label: sum(not last or math.isfinite(run.quality) for run in finishes[label].values())
        for label in left
    }
    return [Dropped(label, number, 0) for label, count in counts.items() if not count]


def behind(left: Sequence[str], finishes: Finishes, number: int, level: float) -> list[Dropped]:
    """Who is behind another for certain, by more than the heat allows."""
    found = []
    for label in left:
        over = {
            other: lead(finishes, other, label, level=level) for other in left if other != label
        }
        by = max(over, key=lambda other: over[other].low, default=None)
        if by is not None and over[by].low > HEATS[number].allowance:
            found.append(Dropped(label, number, len(finishes[label]), by, over[by]))
    return found


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
        return Lead(math.nan, math.inf)
    difference = sum(one.quality - two.quality for one, two in pairs) / len(pairs)
    chance = residuals(finishes)
    freedom = sum(degrees for _, degrees in chance.values())
    if freedom < 0.5:
        return Lead(difference, math.inf)
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


def _qualities(by_seed: Mapping[int, Finish]) -> np.ndarray:
    """Of the runs that ended near the rate."""
    return np.array([run.quality for run in by_seed.values() if math.isfinite(run.quality)])


def _near(by_seed: Mapping[int, Finish]) -> bool:
    """Whether any run ended near the rate."""
    return len(_qualities(by_seed)) > 0


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


def _close(left: Sequence[str], finishes: Finishes, level: float) -> bool:
    """Whether all that are left lie within `CLOSE` of each other for certain."""
    return all(
        max(found.high, -found.low) < CLOSE
        for one, two in itertools.combinations(left, 2)
        for found in [lead(finishes, one, two, level=level)]
    )


def _verdict(
    left: Sequence[str],
    seen: Finishes,
    out: Sequence[Dropped],
    number: int,
    level: float,
    *,
    ended: bool,
) -> Verdict:
    """The ranking by mean quality, and the leads of the first."""
    ran = [label for label, by_seed in seen.items() if _near(by_seed)]
    ranking = tuple(sorted({*left} & {*ran}, key=lambda label: -mean(seen[label])))
    leads = {
        label: lead(seen, ranking[0], label, level=level)
        for label in ran
        if ranking and label != ranking[0]
    }
    finishes = {label: seen[label] for label in ran}
    return Verdict(ranking, leads, finishes, tuple(out), number, ended)


def mean(by_seed: Mapping[int, Finish]) -> float:
    """Mean quality of the runs that ended near the rate, dB; NaN if none did."""
    values = _qualities(by_seed)
    return float(values.mean()) if len(values) else math.nan
