"""What a comparison found, in plain words, and how sure one can be."""

import math
from collections.abc import Callable, Mapping, Sequence

from narrows.compare.comparison import Comparison
from narrows.compare.equal_rate import Standing, standings, winners
from narrows.compare.statistics import paired

BySeed = Mapping[int, float]

_QUALITIES: Sequence[tuple[str, str, str, Callable[[float], float]]] = (
    ("high_frequency_ratio", "Sharpness nearest to the originals'", "{:.2f} times their energy at "
     "high frequencies", lambda v: -abs(math.log(v)) if v > 0 else -math.inf),
    ("kid", "Samples nearest to real images", "KID {:.3g}", lambda v: -v),
    ("linear_probe", "Classes easiest to read from the code", "linear probe {:.1%}", lambda v: v),
    ("denoised_0.5", "Most noise removed", "{:.1f} dB at noise 0.5", lambda v: v),
)  # fmt: skip


def sentences(comparison: Comparison) -> list[str]:
    """The answer: who reconstructs best at which rate, then who is best at what else.

    A difference counts where the 95 % t interval of the paired difference over seeds leaves out
    0; several such intervals stand side by side, so one in twenty may do so by chance.
    """
    found = standings(comparison.curves())
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
        said.append(_rates_shown(comparison))
    said.append(_cost(comparison))
    if comparison.failures:
        said.append(
            f"{len(comparison.failures)} of {len(comparison.outcomes)} runs failed and are not in "
            "any figure; the failures are listed below."
        )
    return said


def _at_rates(found: Sequence[Standing]) -> str:
    """Who reconstructs best, from the lowest rate to the highest."""
    parts = []
    for label, group in winners(found):
        first, last = group[0].rate, group[-1].rate
        span = f"{first:.2g}" if len(group) == 1 else f"{first:.2g} to {last:.2g}"
        standing = group[len(group) // 2]
        lead = _lead(standing, label, standing.ranking()[1])
        mean, half = standing.lead(label, standing.ranking()[1])
        best = "is ahead" if abs(mean) <= half else "reconstructs best"
        parts.append(
            f"at {span} bits per dimension {label} {best} "
            f"({standing.mean(label):.1f} dB at {standing.rate:.2g}; {lead})"
        )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _rounded(comparison: Comparison) -> list[str]:
    """Recipes whose curve goes on below their trained points by coarser rounding."""
    return list(dict.fromkeys(point.label for point in comparison.points if point.factor > 1))


def _lead(standing: Standing, first: str, second: str) -> str:
    mean, half = standing.lead(first, second)
    return f"{_gap(mean, half, 'dB')} {second}"


def _gap(mean: float, half: float, unit: str = "") -> str:
    """A paired difference in words, up to the name of the second."""
    amount = f"{mean:.2g} {unit}".strip()
    if math.isnan(half):
        return f"{amount} above, on one seed,"
    if abs(mean) <= half:
        return f"{amount} ± {half:.2g}, no significant difference from"
    return f"{amount} ± {half:.2g} above"


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
        "No two of these reach a common rate, so none can be said to reconstruct best. NMSE on "
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
    """Who is best at one measure, and whether that is more than chance."""
    values: dict[str, BySeed] = {}
    for label, name in comparison.representatives().items():
        by_seed = {s: f[key] for s, f in comparison.measures.get(name, {}).items() if key in f}
        if by_seed and all(math.isfinite(better(v)) for v in by_seed.values()):
            values[label] = by_seed
    if len(values) < 2:
        return ""
    first, second = sorted(values, key=lambda label: -_mean(map(better, values[label].values())))[
        :2
    ]
    shared = sorted(values[first].keys() & values[second].keys())
    mean, half = paired(
        [better(values[second][s]) for s in shared], [better(values[first][s]) for s in shared]
    )
    said = form.format(_mean(values[first].values()))
    if math.isnan(half):
        sure = f"ahead of {second} on one seed"
    elif mean <= half:
        sure = f"no significant difference from {second}"
    else:
        sure = f"ahead of {second} beyond the spread of seeds"
    return f"{what}: {first} ({said}), {sure}."


def _rates_shown(comparison: Comparison) -> str:
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
        f"These {len(_QUALITIES)} compare the points shown, whose rates differ ({low:.2g} to "
        f"{high:.2g} bits per dimension), and a larger rate helps."
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


def _mean(values) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
