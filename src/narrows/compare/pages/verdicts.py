"""What a comparison found, in plain words, and how sure one can be."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from narrows.compare.comparison import Comparison
from narrows.compare.equal_rate import Standing
from narrows.compare.statistics import paired

BySeed = Mapping[int, float]

_QUALITIES: Sequence[tuple[str, str, str, Callable[[float], float]]] = (
    ("high_frequency_ratio", "Sharpness", "{:.2f} times the originals' energy at high frequencies",
     lambda v: -abs(math.log(v)) if v > 0 else -math.inf),
    ("kid", "Samples", "KID {:.3g}", lambda v: -v),
    ("linear_probe", "Classes in the code", "linear probe {:.1%}", lambda v: v),
    ("recovered", "Loss recovered", "{:.1%}", lambda v: v),
    ("explained", "Variance explained", "{:.1%}", lambda v: v),
    ("mcc", "Known features", "MCC {:.3f}", lambda v: v),
    ("denoised_0.5", "Denoising", "{:.1f} dB at noise 0.5", lambda v: v),
)  # fmt: skip


def sentences(comparison: Comparison) -> list[str]:
    """The answer: which recipe reconstructs best at which rate, then which is best at what else.

    A recipe is best where the 95 % t interval of its paired difference over seeds lies above 0
    for every other recipe, at that very rate; several such intervals stand side by side, so one
    in twenty may do so by chance. One seed has no interval, and so no recipe is best.
    """
    found = comparison.standings()
    said = [_at_rates(found)] if found else [_without_rates(comparison)]
    said += _out_of_reach(comparison, found)
    if found and (coarse := _rounded(comparison)):
        said.append(
            f"The lower rates of {', '.join(coarse)} come from rounding the codes of the same runs "
            "more coarsely, which does not say what training for those rates gives (--sweep auto)."
        )
    qualities = [text for text in (_quality(comparison, *q) for q in _QUALITIES) if text]
    said += qualities
    if qualities:
        said.append(_rates_shown(comparison, len(qualities)))
    said.append(_cost(comparison))
    if comparison.failures:
        said.append(
            f"{len(comparison.failures)} of {len(comparison.outcomes)} runs failed and are not in "
            "any figure; the failures are listed below."
        )
    return said


def _at_rates(found: Sequence[Standing]) -> str:
    """Which recipe reconstructs best, from the lowest rate to the highest: each rate by itself."""
    groups = itertools.groupby(found, key=_verdict)
    text = "; ".join(_at(list(group), *verdict) for verdict, group in groups)
    return f"{text[0].upper()}{text[1:]}."


def _at(group: Sequence[Standing], best: str, first: str, single: bool) -> str:
    """Neighbouring rates of one verdict; the least certain of them stands for all."""
    shown = min(group, key=lambda standing: _margin(standing.values, first)[0])
    at, where = f"at {shown.rate:.2g} bits per dimension", ""
    if len(group) > 1:
        at = f"at {len(group)} rates from {group[0].rate:.2g} to {group[-1].rate:.2g} bits per "
        at, where = f"{at}dimension", f" at {shown.rate:.2g}"
    _, second, (mean, half) = _margin(shown.values, first)
    own, gap = f"{shown.mean(first):.1f} dB{where}", f"{mean:.2g} dB ± {half:.2g}"
    if single and max(map(len, shown.values.values())) > 1:
        return f"{at} no recipe is best: {first} has the highest mean ({own}) and {_few(second)}"
    if single:
        means = ", ".join(f"{name} {shown.mean(name):.1f} dB" for name in shown.ranking())
        return f"{at}, on one seed and so without an interval: {means}{where}"
    if best:
        return f"{at} {best} reconstructs best ({own}, {gap} above {second})"
    return (
        f"{at} no recipe is best: {first} has the highest mean ({own}) and no significant "
        f"difference from {second} ({gap})"
    )


def _few(second: str) -> str:
    return f"fewer than two seeds in common with {second}, and so no interval"


def _verdict(standing: Standing) -> tuple[str, str, bool]:
    """The recipe that is best at a rate, "" if none is; the first by mean; True for one seed."""
    first = standing.ranking()[0]
    margin, _, (_, half) = _margin(standing.values, first)
    return first if margin > 0 else "", first, math.isnan(half)


def _margin(values: Mapping[str, BySeed], first: str) -> tuple[float, str, tuple[float, float]]:
    """The lower end of the least lead, over whom, and that lead with its half width.

    Whoever shares fewer than two seeds with the first has no interval: the half width is NaN, and
    the lower end below every other.
    """
    found = []
    for label, own in values.items():
        if label != first:
            shared = sorted(own.keys() & values[first].keys())
            one = [values[first][seed] for seed in shared]
            mean, half = (
                paired([own[seed] for seed in shared], one) if shared else (math.nan, math.nan)
            )
            lower = -math.inf if math.isnan(half) else mean - half
            if abs(lower) < 1e-9 * max(map(abs, one), default=0.0):
                lower = 0.0  # equal up to rounding
            found.append((lower, label, (mean, half)))
    return min(found)


def _rounded(comparison: Comparison) -> list[str]:
    """Recipes whose curve goes on below their trained points by coarser rounding."""
    return list(dict.fromkeys(point.label for point in comparison.points if point.factor > 1))


def _without_rates(comparison: Comparison) -> str:
    """Where nothing can be compared at equal rate."""
    intervals = comparison.intervals()
    listed = []
    for name in comparison.representatives().values():
        figures = intervals[name]
        rate = figures.get("bits_per_dimension")
        at = f" at {rate[0]:.2g}" if rate else ""
        listed.append(f"{name} {figures['nmse'][0]:.3g}{at}")
    return (
        "These could not be compared at an equal rate: no two of them reach a common one. NMSE on "
        f"the test split, at bits per dimension: {'; '.join(listed)}. For curves that can be "
        "compared, add --sweep auto."
    )


def _out_of_reach(comparison: Comparison, found: Sequence[Standing]) -> list[str]:
    """Recipes that were compared at no rate."""
    if not found:
        return []
    met = {label for standing in found for label in standing.values}
    lost = [label for label in comparison.curves() if label not in met]
    if not lost:
        return []
    return [
        f"Could not be compared at an equal rate: {', '.join(lost)}; no other recipe reaches their "
        "rates with every seed. --sweep auto or --steps gives them more points."
    ]


def _quality(
    comparison: Comparison, key: str, what: str, form: str, better: Callable[[float], float]
) -> str:
    """Which recipe is best at one measure, if that is more than chance."""
    values: dict[str, BySeed] = {}
    figures: dict[str, str] = {}
    for label, name in comparison.representatives().items():
        by_seed = {s: f[key] for s, f in comparison.measures.get(name, {}).items() if key in f}
        scores = {seed: better(value) for seed, value in by_seed.items()}
        if scores and all(map(math.isfinite, scores.values())):
            values[label], figures[label] = scores, form.format(_mean(by_seed.values()))
    if len(values) < 2:
        return ""
    ranked = sorted(values, key=lambda label: -_mean(values[label].values()))
    lower, second, (_, half) = _margin(values, ranked[0])
    if math.isnan(half) and max(map(len, values.values())) > 1:
        return f"{what}: no recipe is best; {ranked[0]} has {_few(second)}."
    if math.isnan(half):
        listed = ", ".join(f"{label} {figures[label]}" for label in ranked)
        return f"{what}, on one seed and so without an interval: {listed}."
    first = f"{ranked[0]} ({figures[ranked[0]]})"
    if lower > 0:
        return f"{what}: {first} is best, a significant difference from every other recipe."
    return f"{what}: no recipe is best; {first} has no significant difference from {second}."


def _rates_shown(comparison: Comparison, number: int) -> str:
    intervals = comparison.intervals()
    names = comparison.representatives().values()
    rates = [
        intervals[n]["bits_per_dimension"][0] for n in names if "bits_per_dimension" in intervals[n]
    ]
    if not rates:
        return ""
    low, high = min(rates), max(rates)
    if high <= 1.1 * low:
        return f"These compare the points shown, all at about {low:.2g} bits per dimension."
    return (
        f"{'This compares' if number == 1 else f'These {number} compare'} the points shown, whose "
        f"rates differ ({low:.2g} to {high:.2g} bits per dimension), and a larger rate helps."
    )


def _cost(comparison: Comparison) -> str:
    """Seconds of the fastest and the slowest recipe."""
    shown = {n: comparison.intervals()[p] for n, p in comparison.representatives().items()}
    key = (
        "processor_seconds" if all("processor_seconds" in f for f in shown.values()) else "seconds"
    )
    seconds = {label: figures[key][0] for label, figures in shown.items()}
    kind = " of processor time" if key == "processor_seconds" else ""
    fastest, slowest = min(seconds, key=seconds.__getitem__), max(seconds, key=seconds.__getitem__)
    return (
        f"A run took {seconds[fastest]:.0f} s{kind} ({fastest}) to {seconds[slowest]:.0f} s "
        f"({slowest}), start-up and evaluation included."
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
