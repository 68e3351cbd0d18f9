"""A race of contenders at one rate: short runs, then longer ones, seed by seed, until decided.

All intervals that the race looks at between the true best and any other, at any time, hold together
with a probability of at least 1 - ERROR: the error is shared out among all looks and all rivals
(Bonferroni). So, but for that error, the best is never dropped, who is left alone is the best, and
no one is better than the first by more than the interval between the two allows. What no interval
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
        seeds: that every contender has before anyone is judged.
        most: seeds after which the heat ends undecided.
        allowance: dB that a contender may lie behind, over what chance explains, and stay.
        share: of the error, over all looks of the heat.
    """

    seeds: int = 2
    most: int = 8
    allowance: float = 0.0
    share: float = 0.8

    @property
    def looks(self) -> int:
        """How often the contenders are judged at most."""
        return self.most - self.seeds + 1


HEATS = (Heat(most=2, allowance=0.5, share=0.2), Heat())
"""Short runs that drop who is far behind, then runs that decide."""


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
        mean: over shared seeds.
        half: half width of the interval; infinite where nothing is known of the spread.
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
    number = 0
    for number, heat in enumerate(HEATS):
        before, seen = seen, {label: {} for label in left}  # who is dropped stays in it
        seeds = tuple(range(heat.seeds))
        while True:
            answer = yield Request(number, left, seeds)
            found = answer.finishes if isinstance(answer, Stop) else answer
            for label in left:
                seen[label] |= found.get(label, {})
            if isinstance(answer, Stop):
                if not any(seen.values()) and number:
                    seen, number = before, number - 1
                return _verdict(left, seen, out, number, ended=False)
            dropped = [*_lost(left, seen, number), *behind(left, seen, heat, number)]
            out += dropped
            gone = {one.label for one in dropped}
            left = tuple(label for label in left if label not in gone)
            if len(left) < 2 or seeds[-1] + 1 >= heat.most or _close(left, seen, heat):
                break
            seeds = (seeds[-1] + 1,)
        if not left:
            break
    return _verdict(left, seen, out, number, ended=True)


def _lost(left: Sequence[str], finishes: Finishes, number: int) -> list[Dropped]:
    """Who finished no run; in the last heat also who finished none near the rate."""
    last = number == len(HEATS) - 1
    counts = {
        label: sum(not last or math.isfinite(run.quality) for run in finishes[label].values())
        for label in left
    }
    return [Dropped(label, number, 0) for label, count in counts.items() if not count]


def behind(left: Sequence[str], finishes: Finishes, heat: Heat, number: int) -> list[Dropped]:
    """Who is behind another for certain, by more than the heat allows."""
    found, chance, level = [], residual(finishes), _level(left, heat)
    for label in left:
        over = {
            other: lead(finishes, other, label, level=level, chance=chance)
            for other in left
            if other != label
        }
        by = max(over, key=lambda other: over[other].low, default=None)
        if by is not None and over[by].low > heat.allowance:
            found.append(Dropped(label, number, len(finishes[label]), by, over[by]))
    return found


def lead(
    finishes: Finishes, first: str, second: str, *, level: float, chance: tuple[float, int]
) -> Lead:
    """Mean and interval of first - second, paired on seeds and on test examples.

    The variance over seeds is that of the two contenders' differences or twice the residual
    variance of quality = contender + seed + chance over all contenders, whichever is larger; to
    it comes what the choice of test examples adds. Student's t with the residual's degrees of
    freedom.

    Args:
        finishes: of the two.
        first: label.
        second: label.
        level: probability that the interval does not hold.
        chance: `residual` of runs of the same length.
    """
    shared = sorted(finishes[first].keys() & finishes[second].keys())
    pairs = [(finishes[first][seed], finishes[second][seed]) for seed in shared]
    pairs = [(one, two) for one, two in pairs if math.isfinite(one.quality - two.quality)]
    if not pairs:
        return Lead(math.nan, math.inf)
    differences = np.array([one.quality - two.quality for one, two in pairs])
    variance, freedom = chance
    if len(pairs) < 2 or freedom < 1:
        return Lead(float(differences.mean()), math.inf)
    variance = max(differences.var(ddof=1), 2 * variance) / len(pairs) + _of_examples(pairs)
    return Lead(
        float(differences.mean()),
        float(stats.t.ppf(1 - level / 2, freedom) * math.sqrt(variance)),
    )


def residual(finishes: Finishes) -> tuple[float, int]:
    """Residual variance of quality = contender + seed + chance, and its degrees of freedom."""
    labels = sorted(finishes)
    seeds = sorted({seed for by_seed in finishes.values() for seed in by_seed})
    rows = [
        (labels.index(c), seeds.index(s))
        for c in labels
        for s, run in finishes[c].items()
        if math.isfinite(run.quality)
    ]
    y = np.array([finishes[labels[c]][seeds[s]].quality for c, s in rows])
    design = np.zeros((len(rows), len(labels) + len(seeds)))
    for row, (c, s) in enumerate(rows):
        design[row, c] = design[row, len(labels) + s] = 1
    if not len(rows):
        return 0.0, 0
    fit, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    freedom = len(rows) - int(rank)
    return (float(np.square(y - design @ fit).sum() / freedom) if freedom else 0.0), freedom


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


def _level(left: Sequence[str], heat: Heat) -> float:
    """The error of one interval: a share of that of the race, one for each rival of the best."""
    return ERROR * heat.share / heat.looks / max(len(left) - 1, 1)


def _close(left: Sequence[str], finishes: Finishes, heat: Heat) -> bool:
    """Whether all that are left lie within `CLOSE` of each other for certain."""
    level, chance = _level(left, heat), residual(finishes)
    return all(
        max(found.high, -found.low) < CLOSE
        for one, two in itertools.combinations(left, 2)
        for found in [lead(finishes, one, two, level=level, chance=chance)]
    )


def _verdict(
    left: Sequence[str], seen: Finishes, out: Sequence[Dropped], number: int, *, ended: bool
) -> Verdict:
    """The ranking by mean quality, and the leads of the first."""
    ran = [label for label, by_seed in seen.items() if math.isfinite(mean(by_seed))]
    ranking = tuple(sorted({*left} & {*ran}, key=lambda label: -mean(seen[label])))
    level, chance = _level(ran, HEATS[number]), residual(seen)
    leads = {
        label: lead(seen, ranking[0], label, level=level, chance=chance)
        for label in ran
        if ranking and label != ranking[0]
    }
    finishes = {label: seen[label] for label in ran}
    return Verdict(ranking, leads, finishes, tuple(out), number, ended)


def mean(by_seed: Mapping[int, Finish]) -> float:
    """Mean quality of the runs that ended near the rate, dB; NaN if none did."""
    values = [run.quality for run in by_seed.values() if math.isfinite(run.quality)]
    return sum(values) / len(values) if values else math.nan
