"""A race of contenders at one rate: short runs, then longer ones, more and more, until decided.

Whoever is behind another by more than a bound allows is dropped. All bounds on what any rival may
seem to be ahead of the true best, at every look, hold together with a probability of at least
1 - ERROR: the error is shared out among all looks and all rivals (Bonferroni), more to later looks,
which have more runs. So, but for that error, the best is never dropped, who is left alone is the
best, and no one is better than the first by more than the bound between the two. What no bound
covers is training that was too short: a contender is dropped after short runs only if it lies
behind by more than an allowance.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

from narrows.choose.leads import Finish, Finishes, Lead, lead, mean, near

ERROR = 0.05
"""Probability that any interval of a race is wrong."""
CLOSE = 0.1
"""dB; a race is decided when no one left can be better than the first by as much, for certain."""


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
    lead: Lead = field(default_factory=Lead)


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
    """Asks for runs until one is left, or none of the others can be better by `CLOSE`.

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
            decided = len(left) < 2 or _settled(left, seen, level)
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


def _settled(left: Sequence[str], finishes: Finishes, level: float) -> bool:
    """Whether the best of those left is not better than the first by `CLOSE`, for certain.

    Who is left may be as good, or worse by any amount: to use the first costs next to nothing.
    """
    ran = [label for label in left if near(finishes[label])]
    first = max(ran, key=lambda label: mean(finishes[label]), default=None)
    return first is not None and all(
        lead(finishes, first, other, level=level).low > -CLOSE for other in left if other != first
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
    ran = [label for label, by_seed in seen.items() if near(by_seed)]
    ranking = tuple(sorted({*left} & {*ran}, key=lambda label: -mean(seen[label])))
    leads = {
        label: lead(seen, ranking[0], label, level=level)
        for label in ran
        if ranking and label != ranking[0]
    }
    finishes = {label: seen[label] for label in ran}
    return Verdict(ranking, leads, finishes, tuple(out), number, ended)
