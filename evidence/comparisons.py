"""The pages of comparisons: what `narrows compare` found, from its runs in the ledger."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evidence.ledger import FOLDER, Run, latest
from evidence.pages import markdown
from narrows.compare.comparison import Comparison, Point
from narrows.compare.pages import comparison as comparison_page
from narrows.compare.pages import measures as measures_page
from narrows.compare.pages.verdicts import sentences
from narrows.compare.plan import Plan
from narrows.compare.run import Job
from narrows.report import Section
from narrows.report.markdown import paragraph
from narrows.tasks import Outcome

MEASURES = {name for _, _, columns in measures_page.TABLES for name in columns}
"""Figures of the judge, which only the points that stand for a recipe have."""


def answer(name: str) -> str:
    """The answer in words, and warnings."""
    about, comparison = load(name)
    found = [paragraph(sentence) for sentence in sentences(comparison)]
    warnings = [f"- {paragraph(text)}" for text in about.figures["warnings"]]
    return "\n\n".join([*found, *(["Warnings:", "\n".join(warnings)] if warnings else [])])


def tables(name: str) -> str:
    """Everything that can be said in numbers."""
    about, comparison = load(name)
    return markdown(_sections(about, comparison))


def provenance(name: str) -> str:
    """The command, versions and hardware."""
    run, _ = load(name)
    facts = {**run.versions, **run.hardware, "commit": run.commit}
    lines = [f"- {what}: {value}" for what, value in facts.items()]
    return "\n".join([f"    {run.configuration['command']}", "", *lines])


def load(name: str, folder: Path = FOLDER) -> tuple[Run, Comparison]:
    """What a comparison was, and its runs."""
    about = latest("comparisons", folder, comparison=name)[-1]
    known = about.configuration
    points: list[Point] = []
    measures: dict[str, dict[int, Mapping[str, float]]] = {}
    for run in latest("runs", folder, comparison=name):
        own = run.configuration
        job = Job(own["recipe"], "", "", name, own["seed"], {}, own["point"])
        for factor, figures in {"1": {}, **run.figures["steps"]}.items():
            every = {k: v for k, v in {**run.figures, **figures}.items() if _is_number(v)}
            judged = {k: v for k, v in every.items() if k in MEASURES}
            rest = {k: v for k, v in every.items() if k not in MEASURES}
            point = Point(Outcome(job, Path()), float(factor), rest)
            points.append(point)
            if judged and factor == "1":
                measures.setdefault(point.name, {})[point.seed] = judged
    recipes = dict.fromkeys(known["recipes"], Path())
    order = {label: index for index, label in enumerate(recipes)}
    points.sort(key=lambda point: order[point.label])
    plan = Plan(recipes, name, known["seeds"])
    return about, Comparison(plan, [p.outcome for p in points], points, measures)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _sections(about: Run, comparison: Comparison) -> list[Section]:
    known = about.configuration
    data = f"{known['data']}: {known['train']:,} training and {known['test']:,} test examples"
    intervals = comparison.intervals()
    models = {
        name: {k: comparison_page.cell(v) for k, v in intervals[name].items()}
        for name in comparison.measures
    }
    figures, seeds = {**models, **about.figures["references"]}, len(known["seeds"])
    judged = measures_page.tables(figures, known["judged"], seeds=seeds) if models else {}
    return [
        *comparison_page.figures(comparison, data),
        *comparison_page.equal_rate(comparison),
        *(Section(heading, blocks) for heading, blocks in judged.items()),
        *comparison_page.every_point(comparison, data),
    ]
