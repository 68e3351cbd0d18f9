"""The page, the tables and the figures of a comparison."""

import csv
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from narrows.autoencoder import Autoencoder
from narrows.compare import judgement, priors
from narrows.compare.comparison import Comparison, Point
from narrows.compare.equal_rate import savings, standings
from narrows.compare.judge import Judge
from narrows.compare.measuring import EXAMPLES
from narrows.compare.pages import gallery, tables
from narrows.compare.pages import priors as priors_page
from narrows.compare.pages import run as page
from narrows.compare.pages.verdicts import sentences
from narrows.compare.run import RUN
from narrows.compare.statistics import paired
from narrows.compare.sweeps import with_step
from narrows.data.dataset import Dataset
from narrows.report import Section, Table, markdown, rate_distortion
from narrows.report import page as html
from narrows.report.codes import Projection, principal_plane
from narrows.report.table import Cell, Column
from narrows.training.run import Run, environment
from narrows.writing import write_json, write_text

TITLE = "Which latent? {recipes} on {data}"
COSTS = {
    "parameters": page.COLUMNS["parameters"],
    "processor_seconds": Column("processor time", "s, all threads of the process"),
    "seconds": Column("wall-clock", "s, of the process"),
    "peak_memory": Column("memory", "MiB, peak of the process"),
}
USE = ("usage", "perplexity", "l0", "active_units")


def write(
    comparison: Comparison,
    data: Dataset,
    out: Path,
    command: str,
    project: Projection = principal_plane,
) -> Path:
    """Writes `report.html`, the same as `report.md` with `figures/`, and the numbers.

    Args:
        comparison: what was found.
        data: the data set.
        out: folder.
        command: that makes it again.
        project: how codes are laid out in the plane.

    Returns:
        The page. The numbers are in `results.csv`, `metrics.json`, and `results.parquet` where
        pyarrow is installed.
    """
    rows = comparison.rows()
    write_text(out / "results.csv", _csv(rows))
    tables.write_parquet(rows, out / "results.parquet")
    answer = sentences(comparison)
    facts = environment()
    content = {
        "title": TITLE.format(recipes=", ".join(comparison.plan.recipes), data=data.name),
        "answer": answer,
        "sections": sections(comparison, data, project),
        "warnings": [
            *comparison.failures, *comparison.failed_priors, *comparison.plan.differences(),
            *_advice(comparison),
        ],
        "commands": [command],
        "versions": {
            **facts["versions"], "python": facts["python"], "processor": facts["processor"],
            "cores": facts["cores"],
        },
    }  # fmt: skip
    summary = _summary(comparison, data, answer)
    summary |= {
        "command": command,
        "examples": [len(data.train), len(data.test), min(EXAMPLES, len(data.test))],
        "references": _references(comparison, content["sections"]),
    }
    write_json(out / "metrics.json", summary)
    markdown.write(out / "report.md", **content)
    return html.write(out / "report.html", **content)


def sections(
    comparison: Comparison, data: Dataset, project: Projection = principal_plane
) -> list[Section]:
    """Everything below the answer."""
    about = f"{data.name}: {len(data.train):,} training and {len(data.test):,} test examples"
    found = [*figures(comparison, about), *equal_rate(comparison)]
    found += priors_page.sections(comparison.coded, comparison.plan)
    found += _side_by_side(comparison, data)
    runs = _runs(comparison, list(comparison.representatives().values()), data)
    models = {name: run.model for name, run in runs.items()}
    histories = {name: run.history for name, run in runs.items()}
    measured = _measured(comparison, models, data)
    found += gallery.sections(data, models, histories, measured, project)
    return found + every_point(comparison, about)


def figures(comparison: Comparison, about: str) -> list[Section]:
    """The points that stand for their recipes: quality and rate, what is used, what it cost."""
    shown = list(comparison.representatives().values())
    first, *use = _figures(comparison, about, shown)
    return [Section("Figures", [first, page.CONVENTION, *use, _costs(comparison, shown)])]


def every_point(comparison: Comparison, about: str) -> list[Section]:
    """Paired differences, and the points that stand for no recipe; failed runs."""
    shown, found = list(comparison.representatives().values()), list[Section]()
    if len(comparison.plan.seeds) > 1:
        found.append(Section("Paired differences over seeds", [_paired_table(comparison, shown)]))
    every = list(comparison.groups())
    if len(every) > len(shown):
        found.append(Section("Every point of the curves", _figures(comparison, about, every)))
    if comparison.failures:
        found.append(Section("Failed runs", [_failures(comparison)]))
    return found


def equal_rate(comparison: Comparison) -> list[Section]:
    """Quality side by side at rates that several recipes reach, and the curves."""
    blocks = []
    if found := standings(comparison.curves()):
        columns, rows = {}, {label: {} for label in comparison.curves()}
        for index, standing in enumerate(found):
            rate = f"at {standing.rate:.2g} bits/dim"
            whose = f"PSNR in dB; the rate of {standing.whose}" if standing.whose else "PSNR in dB"
            columns[str(index)] = Column(rate, whose, best="highest")
            for label, value in standing.cells().items():
                rows[label][str(index)] = cell(value)
        caption = (
            "PSNR at equal rate, interpolated on each recipe's own curve and never extrapolated; "
            f"{_over_seeds(comparison)}. A dash: the recipe does not reach that rate."
        )
        blocks.append(Table(caption, columns, rows, corner="recipe"))
    blocks += _savings(comparison)
    if points := _plotted(comparison):
        blocks.append(rate_distortion(points, caption="Every point, means over seeds."))
    return [Section("Distortion at equal rate", blocks)] if blocks else []


def _savings(comparison: Comparison) -> list[Table]:
    """BD-rates against the first recipe that has a curve."""
    curves = comparison.curves()
    whole = [label for label, by in curves.items() if all(len(c) > 1 for c in by.values())]
    found = savings(curves, whole[0]) if whole else {}
    if not found:
        return []
    column = Column("bits at equal PSNR", f"% against {whole[0]}; negative: fewer", best="lowest")
    caption = (
        f"BD-rate against {whole[0]}: mean difference in log bits over the PSNRs that both curves "
        f"reach; {_over_seeds(comparison)}."
    )
    rows: dict[str, dict[str, Cell]] = {k: {"bd": cell(v)} for k, v in found.items()}
    return [Table(caption, {"bd": column}, rows, corner="recipe")]


def _side_by_side(comparison: Comparison, data: Dataset) -> list[Section]:
    """Reconstructions at nearly one rate, of the recipes that come near it."""
    found = comparison.at_equal_rate()
    if found is None or len(found[1]) < 2 or not gallery.shows_images(data):
        return []
    rate, names = found
    runs = _runs(comparison, list(names.values()), data)
    rows = gallery.reconstructions(
        {name: run.model for name, run in runs.items()},
        gallery.held_out(data, gallery.COLUMNS),
        f"Held-out images, and each as it comes back at {rate:.2g} bits per dimension, give or "
        "take a quarter.",
    )
    return [Section("Reconstructions at equal rate", [rows])]


def _plotted(comparison: Comparison) -> dict[str, list[tuple[float, ...]]]:
    """(bits, NMSE, half width) of every point, by recipe."""
    found: dict[str, list[tuple[float, ...]]] = {}
    intervals, groups = comparison.intervals(), comparison.groups()
    for name, figures in intervals.items():
        if "bits_per_dimension" in figures:
            (bits, _), (nmse, half) = figures["bits_per_dimension"], figures["nmse"]
            width = (half,) if math.isfinite(half) else ()
            found.setdefault(groups[name][0].label, []).append((bits, nmse, *width))
    return found


def _runs(comparison: Comparison, shown: Sequence[str], data: Dataset) -> dict[str, Run]:
    """The first seed's run of each point shown, its code rounded as the point says."""
    groups, found = comparison.groups(), {}
    for name in shown:
        point: Point = groups[name][0]
        run = Run.load(point.outcome.folder / RUN)
        if point.factor != 1:
            with_step(run.model, point.factor, data.train)
        rate = point.figures.get("bits_per_dimension")
        found[f"{name}, {rate:.2g} bits/dim" if rate else name] = run
    return found


def _measured(
    comparison: Comparison, models: Mapping[str, Autoencoder], data: Dataset
) -> dict[str, Section]:
    """The judge's tables by heading: every seed, and the references that need no model."""
    if not comparison.measures:
        return {}
    intervals = comparison.intervals()
    figures: dict[str, Mapping[str, Cell]] = {
        name: {k: cell(v) for k, v in intervals[name].items()} for name in comparison.measures
    }
    judge = Judge(data, examples=EXAMPLES)
    widths = {name: judge.width(model) for name, model in models.items()}
    seeds = len(comparison.plan.seeds)
    made = judgement.sections(figures | judge.references(widths), len(judge.test), seeds)
    return {section.heading: section for section in made}


def _figures(comparison: Comparison, about: str, names: Sequence[str]) -> list[Table]:
    """Distortion and rate; then what is used of the code, where a model counts that."""
    caption = f"{about}; test split, {_over_seeds(comparison)}."
    quality = {key: c for key, c in page.COLUMNS.items() if key not in {*COSTS, *USE}}
    use = {key: page.COLUMNS[key] for key in USE}
    groups, intervals = comparison.groups(), comparison.intervals()
    trained = [n for n in names if groups[n][0].factor == 1]  # rounding changes none
    counted = [n for n in trained if any(key in intervals[n] for key in USE)]
    found = [_table(comparison, names, caption, quality)]
    if counted:
        said = f"What is used of the code; test split, {_over_seeds(comparison)}."
        found.append(_table(comparison, counted, said, use))
    return found


def _costs(comparison: Comparison, names: Sequence[str]) -> Table:
    caption = (
        "What a run cost, start-up, reading the data and evaluation included: "
        f"{_over_seeds(comparison)}. Other work on the machine adds to the wall-clock."
    )
    return _table(comparison, names, caption, COSTS)


def _table(
    comparison: Comparison, names: Sequence[str], caption: str, known: Mapping[str, Column]
) -> Table:
    """The known columns that some of the points have."""
    intervals = comparison.intervals()
    columns = {k: c for k, c in known.items() if any(k in intervals[n] for n in names)}
    rows: dict[str, dict[str, Cell]] = {
        n: {k: cell(intervals[n][k]) for k in columns if k in intervals[n]} for n in names
    }
    return Table(caption, columns, rows)


def _over_seeds(comparison: Comparison) -> str:
    count = len(comparison.plan.seeds)
    return "one seed" if count == 1 else f"means over {count} seeds"


def cell(value: tuple[float, float]) -> Cell:
    """The interval; the mean alone where nothing is known of its spread, or it is rounding."""
    mean, half = value
    return value if math.isfinite(half) and half > 1e-9 * abs(mean) else mean


def _paired_table(comparison: Comparison, names: Sequence[str]) -> Table:
    """NMSE and rate of each point shown minus those of the first, seed by seed."""
    groups = comparison.groups()
    base_name, base = names[0], groups[names[0]]
    rows: dict[str, dict[str, Cell]] = {}
    for name in itertools.islice(names, 1, None):
        row: dict[str, Cell] = {}
        for key in ("nmse", "bits_per_dimension", "processor_seconds"):
            one = {p.seed: p.figures[key] for p in base if key in p.figures}
            two = {p.seed: p.figures[key] for p in groups[name] if key in p.figures}
            shared = sorted(one.keys() & two.keys())
            if shared:
                row[key] = cell(paired([one[s] for s in shared], [two[s] for s in shared]))
        rows[name] = row
    columns = {
        "nmse": Column("difference in NMSE", ""),
        "bits_per_dimension": Column("difference in rate", "bits per dimension"),
        "processor_seconds": Column("difference in processor time", "s"),
    }
    return Table(f"Minus {base_name}, paired on seeds.", columns, rows)


def _failures(comparison: Comparison) -> Table:
    columns = {"seed": Column("seed"), "error": Column("said"), "command": Column("command")}
    rows: dict[str, dict[str, Cell]] = {
        o.task.key: {
            "seed": o.task.seed,
            "error": o.error,
            "command": " ".join(["narrows", *o.task.arguments(o.folder / RUN)]),
        }
        for o in comparison.outcomes
        if o.error
    }
    return Table("Runs that failed; the same command tries them again", columns, rows, "run")


def _advice(comparison: Comparison) -> list[str]:
    """What each point's first run says looks wrong with its code."""
    groups, found = comparison.groups(), []
    for name in comparison.representatives().values():
        run = Run.load(groups[name][0].outcome.folder / RUN)
        found += [f"{name}: {sentence}" for sentence in run.advice]
    return found


def _references(comparison: Comparison, sections: Sequence[Section]) -> dict[str, dict[str, Cell]]:
    """The measures of what is no model (raw data, PCA, ...), as the tables show them."""
    found: dict[str, dict[str, Cell]] = {}
    for block in itertools.chain.from_iterable(section.blocks for section in sections):
        if isinstance(block, Table) and block.corner == "model":
            for name in block.rows.keys() - comparison.groups().keys():
                found.setdefault(name, {}).update(block.rows[name])
    return found


def _summary(comparison: Comparison, data: Dataset, answer: Sequence[str]) -> dict[str, Any]:
    return {
        "data": data.name,
        "answer": list(answer),
        "seeds": list(comparison.plan.seeds),
        "intervals_95": {
            name: {key: list(value) for key, value in figures.items()}
            for name, figures in comparison.intervals().items()
        },
        "equal_rate_psnr": [
            {
                "bits_per_dimension": s.rate,
                "whose": s.whose,
                **{k: list(v) for k, v in s.cells().items()},
            }
            for s in standings(comparison.curves())
        ],
        "priors_95": {
            name: {key: list(value) for key, value in figures.items()}
            for name, figures in priors.intervals(comparison.coded).items()
        },
        "shown": comparison.representatives(),
        "failures": comparison.failures,
        "failed_priors": comparison.failed_priors,
        "advice": _advice(comparison),
        "differences": comparison.plan.differences(),
    }


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
