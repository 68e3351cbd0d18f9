"""The page and the tables of a comparison."""

import csv
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from narrows.data.base import Dataset
from narrows.experiments import page
from narrows.experiments.compare import Comparison, at_equal_rate, point_name
from narrows.experiments.statistics import paired
from narrows.report import Section, Table, rate_distortion
from narrows.report.table import Cell, Column
from narrows.training.run import Run, write_json, write_text


def write(comparison: Comparison, data: Dataset, out: Path, command: str) -> Path:
    """Writes `results.csv`, `metrics.json` and `report.html`."""
    write_text(out / "results.csv", _csv(comparison.rows()))
    summary = {
        "data": data.name,
        "seeds": list(comparison.plan.seeds),
        "intervals_95": {
            name: {key: list(value) for key, value in figures.items()}
            for name, figures in comparison.intervals().items()
        },
        "equal_rate_psnr": at_equal_rate(comparison),
        "failures": comparison.failures,
        "differences": comparison.plan.differences(),
    }
    write_json(out / "metrics.json", summary)
    return _page(comparison, data, out, command)


def _page(comparison: Comparison, data: Dataset, out: Path, command: str) -> Path:
    runs = _representatives(comparison)
    figures = {name: {k: v[0] for k, v in f.items()} for name, f in comparison.intervals().items()}
    first = [Section("Figures, with 95 % intervals over seeds", [_table(comparison, data)])]
    if curves := comparison.curves():
        caption = "Means over seeds; a sweep's points are joined. Lower left is better."
        first.append(Section("Distortion against bits", [rate_distortion(curves, caption=caption)]))
    if len(comparison.plan.seeds) > 1:
        first.append(Section("Paired differences over seeds", [_paired_table(comparison)]))
    return page.write(
        out / "report.html",
        f"{', '.join(comparison.plan.recipes)} on {data.name}",
        data,
        runs,
        commands=[command],
        lead=first,
        figures=figures,
        warnings=[*comparison.failures, *comparison.plan.differences()],
        findings=_equal_rate_sentence(comparison),
    )


def _representatives(comparison: Comparison) -> dict[str, Run]:
    """The first seed's run of each group, for pictures."""
    found: dict[str, Run] = {}
    for outcome in comparison.outcomes:
        name = point_name(outcome.job)
        if outcome.error is None and name not in found:
            found[name] = Run.load(outcome.folder)
    return found


def _table(comparison: Comparison, data: Dataset) -> Table:
    intervals = comparison.intervals()
    known = {
        **page.COLUMNS,
        "seconds": Column("time", "s, whole process"),
        "peak_memory": Column("memory", "MiB, peak of the process"),
    }
    columns = {k: c for k, c in known.items() if any(k in f for f in intervals.values())}
    rows: dict[str, dict[str, Cell]] = {
        name: {k: _cell(f[k]) for k in columns if k in f} for name, f in intervals.items()
    }
    seeds = len(comparison.plan.seeds)
    caption = f"{data.name}, test split, mean ± half width of the 95 % t interval, {seeds} seed(s)"
    return Table(caption, columns, rows)


def _cell(value: tuple[float, float]) -> Cell:
    return value if math.isfinite(value[1]) and value[1] > 0 else value[0]


def _paired_table(comparison: Comparison) -> Table:
    """NMSE and rate of each group minus those of the first, seed by seed."""
    groups = comparison.groups()
    base_name, base = next(iter(groups.items()))
    rows: dict[str, dict[str, Cell]] = {}
    for name, other in itertools.islice(groups.items(), 1, None):
        row: dict[str, Cell] = {}
        for key in ("nmse", "bits_per_dimension"):
            one = {r["seed"]: r[key] for r in base if key in r}
            two = {r["seed"]: r[key] for r in other if key in r}
            shared = sorted(one.keys() & two.keys())
            if shared:
                row[key] = _cell(paired([one[s] for s in shared], [two[s] for s in shared]))
        rows[name] = row
    columns = {
        "nmse": Column("difference in NMSE", ""),
        "bits_per_dimension": Column("difference in rate", "bits per dimension"),
    }
    return Table(f"minus {base_name}, paired on seeds, 95 % t interval", columns, rows)


def _equal_rate_sentence(comparison: Comparison) -> list[str]:
    values = at_equal_rate(comparison)
    if len(values) < 2:
        return []
    ordered = sorted(values, key=lambda label: -values[label])
    listed = ", ".join(f"{label} {values[label]:.2f} dB" for label in ordered)
    return [
        f"At equal rate (interpolated on each sweep's curve): {listed}. "
        f"{ordered[0]} reconstructs best there."
    ]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
