"""The page, the tables and the figures of a comparison."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from narrows.autoencoder import Autoencoder
from narrows.compare import priors
from narrows.compare.bench import EXAMPLES
from narrows.compare.comparison import Comparison
from narrows.compare.equal_rate import gaps, savings
from narrows.compare.formats import Format, formats
from narrows.compare.judge import Judge
from narrows.compare.pages import formats as formats_page
from narrows.compare.pages import gallery, measures, tables
from narrows.compare.pages import priors as priors_page
from narrows.compare.pages import run as page
from narrows.compare.pages.asked import corrections
from narrows.compare.pages.verdicts import sentences
from narrows.compare.run import RUN
from narrows.compare.statistics import paired
from narrows.compare.sweeps import with_step
from narrows.data.dataset import Dataset
from narrows.report import Block, Column, Page, Section, Table, rate_distortion
from narrows.report.codes import Projection, principal_plane
from narrows.report.table import Cell
from narrows.saving.writing import write_json
from narrows.training.run import Run

COSTS = {
    "parameters": page.COLUMNS["parameters"],
    "processor_seconds": Column("processor time", "s, all threads of the process"),
    "seconds": Column("wall-clock", "s, of the process"),
    "peak_memory": Column("memory", "MiB, peak of the process"),
}
USE = {key: page.COLUMNS[key] for key in ("usage", "perplexity", "l0", "active_units")}
QUALITY = {key: c for key, c in page.COLUMNS.items() if key not in {*COSTS, *USE}}
DIFFERENCES = {
    "nmse": Column("difference in NMSE", ""),
    "bits_per_dimension": Column("difference in rate", "bits per dimension"),
    "processor_seconds": Column("difference in processor time", "s"),
}


def write(
    comparison: Comparison,
    data: Dataset,
    *,
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
    tables.write(comparison.rows(), out)
    advice = _advice(comparison)
    made = Page(
        f"Which latent? {', '.join(comparison.plan.recipes)} on {data.name}",
        sentences(comparison),
        sections(comparison, data, project=project),
        warnings=[*comparison.warnings, *advice],
        commands=[command],
        versions=page.versions(),
    )
    summary = _summary(comparison) | {
        "data": data.name,
        "answer": made.answer,
        "advice": advice,
        "command": command,
        "examples": [len(data.train), len(data.test), min(EXAMPLES, len(data.test))],
        "references": _references(comparison, made.sections),
    }
    write_json(out / "metrics.json", summary)
    made.write(out / "report.md")
    return made.write(out / "report.html")


def sections(
    comparison: Comparison, data: Dataset, *, project: Projection = principal_plane
) -> list[Section]:
    """Everything below the answer."""
    about = f"{data.name}: {len(data.train):,} training and {len(data.test):,} test examples"
    runs = _runs(comparison, comparison.representatives().values(), data)
    models = {name: run.model for name, run in runs.items()}
    found = formats(data) if comparison.plan.at else []
    return [
        *figures(comparison, about),
        *equal_rate(comparison, found),
        *formats_page.section(found),
        *priors_page.sections(comparison.coded, comparison.plan),
        *_side_by_side(comparison, data),
        *gallery.sections(
            data, models, histories={name: run.history for name, run in runs.items()},
            measured=_measured(comparison, models, data), project=project,
        ),
        *every_point(comparison, about),
    ]  # fmt: skip


def figures(comparison: Comparison, about: str) -> list[Section]:
    """The points that stand for their recipes: quality and rate, what is used, what it cost."""
    shown = list(comparison.representatives().values())
    first, *use = _figures(comparison, about, shown)
    caption = (
        "What a run cost, start-up, reading the data and evaluation included: "
        f"{comparison.over_seeds}. Other work on the machine adds to the wall-clock."
    )
    costs = Table.of(caption, COSTS, rows=_cells(comparison, shown))
    return [Section("Figures", [first, page.CONVENTION, *use, costs])]


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


def equal_rate(comparison: Comparison, pictures: Sequence[Format] = ()) -> list[Section]:
    """Quality side by side at rates that several recipes reach, and the curves.

    Args:
        comparison: what was found.
        pictures: picture formats that stand beside the recipes at rates asked for.
    """
    blocks: list[Block | str] = []
    quality = comparison.quality.upper()
    unit = f"{quality} in dB"
    if found := comparison.standings():
        columns: dict[str, Column] = {}
        rows: dict[str, dict[str, Cell]] = {label: {} for label in comparison.curves()}
        for index, standing in enumerate(found):
            rate = f"at {standing.rate:.2g} bits/dim"
            whose = f"{unit}; the rate of {standing.whose}" if standing.whose else unit
            columns[str(index)] = Column(rate, whose, best="highest")
            for label, value in standing.cells().items():
                rows[label][str(index)] = cell(value)
            for label, decibel in formats_page.at(pictures, standing.rate).items():
                rows.setdefault(label, {})[str(index)] = decibel
        how = "interpolated on each recipe's own curve and never extrapolated"
        if comparison.plan.at:
            how = "of files of equal size, each recipe trained for the rate"
        caption = (
            f"{quality} at equal rate, {how}; {comparison.over_seeds}. A dash: the recipe does not "
            "reach that rate."
        )
        blocks.append(Table(caption, columns, rows, corner="recipe"))
    blocks += [*corrections(comparison), *_savings(comparison)]
    if points := _plotted(comparison):
        blocks.append(rate_distortion(points, caption="Every point, means over seeds."))
    return [Section("Distortion at equal rate", blocks)] if blocks else []


def _savings(comparison: Comparison) -> list[Table]:
    """BD-rates against the first recipe that has a curve, and one that rises."""
    curves = comparison.curves()
    whole = [
        label
        for label, by_seed in curves.items()
        if all(len(curve) > 1 and not gaps(curve) for curve in by_seed.values())
    ]
    found = savings(curves, whole[0]) if whole else {}
    if not found:
        return []
    quality, against = comparison.quality.upper(), f"% against {whole[0]}; negative: fewer"
    column = Column(f"bits at equal {quality}", against, best="lowest")
    caption = (
        f"BD-rate against {whole[0]}: mean difference in log bits over the {quality}s that both "
        f"curves reach; {comparison.over_seeds}."
    )
    return [
        Table(caption, {"bd": column}, {k: {"bd": cell(v)} for k, v in found.items()}, "recipe")
    ]


def _side_by_side(comparison: Comparison, data: Dataset) -> list[Section]:
    """Reconstructions at nearly one rate, of the recipes that come near it."""
    found = comparison.at_equal_rate()
    if found is None or len(found[1]) < 2 or not gallery.shows_images(data):
        return []
    rate, names = found
    rows = gallery.reconstructions(
        {name: run.model for name, run in _runs(comparison, names.values(), data).items()},
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


def _runs(comparison: Comparison, shown: Iterable[str], data: Dataset) -> dict[str, Run]:
    """The first seed's run of each point shown, its code rounded as the point says."""
    groups, found = comparison.groups(), {}
    for name in shown:
        point = groups[name][0]
        run = Run.load(point.outcome.folder / RUN)
        if point.factor != 1:
            with_step(run.model, point.factor, data.train)
        rate = point.figures.get("bits_per_dimension")
        found[f"{name}, {rate:.2g} bits/dim" if rate else name] = run
    return found


def _measured(
    comparison: Comparison, models: Mapping[str, Autoencoder], data: Dataset
) -> dict[str, list[Block | str]]:
    """The judge's tables by heading: every seed, and the references that need no model."""
    if not comparison.measures:
        return {}
    judge = Judge(data, examples=EXAMPLES)
    references = judge.references({name: judge.width(model) for name, model in models.items()})
    figures = _cells(comparison, comparison.measures) | references
    return measures.tables(figures, len(judge.test), seeds=len(comparison.plan.seeds))


def _figures(comparison: Comparison, about: str, names: Sequence[str]) -> list[Table]:
    """Distortion and rate; then what is used of the code, where a model counts that."""
    caption = f"{about}; test split, {comparison.over_seeds}."
    found = [Table.of(caption, QUALITY, rows=_cells(comparison, names))]
    groups = comparison.groups()
    trained = [n for n in names if groups[n][0].factor == 1]  # rounding changes none
    counted = {n: row for n, row in _cells(comparison, trained).items() if row.keys() & USE.keys()}
    if counted:
        said = f"What is used of the code; test split, {comparison.over_seeds}."
        found.append(Table.of(said, USE, rows=counted))
    return found


def _cells(comparison: Comparison, names: Iterable[str]) -> dict[str, dict[str, Cell]]:
    intervals = comparison.intervals()
    return {name: {k: cell(v) for k, v in intervals[name].items()} for name in names}


def cell(value: tuple[float, float]) -> Cell:
    """The interval; the mean alone where nothing is known of its spread, or it is rounding."""
    mean, half = value
    return value if math.isfinite(half) and half > 1e-9 * abs(mean) else mean


def _paired_table(comparison: Comparison, names: Sequence[str]) -> Table:
    """NMSE and rate of each point shown minus those of the first, seed by seed."""
    groups = comparison.groups()
    base_name, base = names[0], groups[names[0]]
    rows: dict[str, dict[str, Cell]] = {}
    for name in names[1:]:
        rows[name] = {}
        for key in DIFFERENCES:
            one = {p.seed: p.figures[key] for p in base if key in p.figures}
            two = {p.seed: p.figures[key] for p in groups[name] if key in p.figures}
            if shared := sorted(one.keys() & two.keys()):
                rows[name][key] = cell(paired([one[s] for s in shared], [two[s] for s in shared]))
    return Table(f"Minus {base_name}, paired on seeds.", DIFFERENCES, rows)


def _failures(comparison: Comparison) -> Table:
    columns = {"seed": Column("seed"), "error": Column("said"), "command": Column("command")}
    rows: dict[str, dict[str, Cell]] = {
        o.task.key: {
            "seed": o.task.seed,
            "error": o.error,
            "command": " ".join(["narrows", *o.task.arguments(o.folder / RUN)]),
        }
        for o in comparison.failed
    }
    return Table("Runs that failed; the same command tries them again", columns, rows, "run")


def _advice(comparison: Comparison) -> list[str]:
    """What each point's first run says looks wrong with its code."""
    groups = comparison.groups()
    first = {n: groups[n][0].outcome.folder / RUN for n in comparison.representatives().values()}
    return [f"{name}: {said}" for name, run in first.items() for said in Run.load(run).advice]


def _references(comparison: Comparison, sections: Sequence[Section]) -> dict[str, dict[str, Cell]]:
    """The measures of references other than models (raw data, PCA, ...), as tables show them."""
    found: dict[str, dict[str, Cell]] = {}
    for block in itertools.chain.from_iterable(section.blocks for section in sections):
        if isinstance(block, Table) and block.corner == "model":
            for name in block.rows.keys() - comparison.groups().keys():
                found.setdefault(name, {}).update(block.rows[name])
    return found


def _summary(comparison: Comparison) -> dict[str, object]:
    return {
        "seeds": list(comparison.plan.seeds),
        "intervals_95": comparison.intervals(),
        "equal_rate_psnr": [
            {"bits_per_dimension": s.rate, "whose": s.whose, **s.cells()}
            for s in comparison.standings()
        ],
        "priors_95": priors.intervals(comparison.coded),
        "shown": comparison.representatives(),
        "failures": comparison.failures,
        "failed_priors": comparison.failed_priors,
        "differences": comparison.plan.differences(),
    }
