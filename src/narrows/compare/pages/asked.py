"""Where runs ended that were trained for a rate, and how they were brought to it."""

import math

from narrows.compare.asked import Reached, at_asked, slopes
from narrows.compare.comparison import Comparison
from narrows.compare.statistics import interval
from narrows.report import Column, Table
from narrows.report.table import Cell

_COLUMNS = {
    "bits": Column("file", "bits per dimension", digits=4),
    "quality": Column("quality", "dB, as it came back", digits=4),
    "slope": Column("slope", "dB for each doubling of the bits"),
    "correction": Column("correction", "dB, mean"),
}


def corrections(comparison: Comparison) -> list[Table]:
    """One row for each recipe and rate; nothing where no rates were asked for."""
    runs, rows = comparison.asked_runs(), dict[str, dict[str, Cell]]()
    for rate in sorted(comparison.plan.at):
        gains = slopes(runs, rate)
        for label, by_seed in at_asked(runs, rate, gains).values.items():
            ended: list[Reached] = list(runs[label][rate].values())
            moved = [by_seed[seed] - run.quality for seed, run in runs[label][rate].items()]
            rows[f"{label}, asked {rate:g}"] = {
                "bits": _spread([run.bits for run in ended]),
                "quality": _spread([run.quality for run in ended]),
                "slope": gains[label] if math.isfinite(gains[label]) else None,
                "correction": sum(moved) / len(moved),
            }
    if not rows:
        return []
    caption = (
        "Bits of real files of test examples, without their headers, and what comes back from "
        "them; each run is brought to the rate asked along its recipe's own slope between rates"
    )
    return [Table(f"{caption}; {comparison.over_seeds}.", _COLUMNS, rows, corner="recipe")]


def _spread(values: list[float]) -> Cell:
    mean, half = interval(values)
    return (mean, half) if math.isfinite(half) else mean
