"""Which latent? Several recipes, the same data and budget, several seeds, one page."""

import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from narrows.experiments import jobs, measuring
from narrows.experiments.equal_rate import Curve, nearest_points, target_rate
from narrows.experiments.jobs import Job, Outcome
from narrows.experiments.statistics import interval
from narrows.recorded import build, spec
from narrows.training import fit

Sweep = Mapping[str, Sequence[str]]
"""Argument -> values; `RECIPE:ARGUMENT` sweeps it for that recipe only."""
Runner = Callable[[Sequence[Job], Path], list[Outcome]]


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        recipes: files by label.
        data: as `narrows.data.load` takes it.
        seeds: one run of everything for each.
        settings: arguments that all runs share, such as `fit.epochs`.
        sweep: arguments that are varied.
        options: of the data set.
        steps: factors of the step to which plain and sparse codes are rounded; each measures a
            finished run again, at another rate.
    """

    recipes: Mapping[str, Path]
    data: str
    seeds: Sequence[int]
    settings: Mapping[str, str] = field(default_factory=dict)
    sweep: Sweep = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[float] = (1.0,)

    def jobs(self) -> list[Job]:
        """Every recipe at every point of its sweep with every seed."""
        options = {f"data-options.{name}": str(value) for name, value in self.options.items()}
        settings = {**self.settings, **options}
        found = []
        for label, path in self.recipes.items():
            text = path.read_text()
            for point in self.points(label):
                for seed in self.seeds:
                    job = Job(label, str(path), text, self.data, seed, settings, point)
                    found.append(job)
        return found

    def points(self, label: str) -> list[dict[str, str]]:
        """The grid of a recipe's own and of shared sweeps; one empty point without any."""
        axes: dict[str, Sequence[str]] = {}
        for name, values in self.sweep.items():
            owner, colon, argument = name.rpartition(":")
            if not colon or owner == label:
                axes[argument] = values
        return [
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        ]

    def differences(self) -> list[str]:
        """Where recipes differ in what should be the same: networks and budgets."""
        found = []
        read = {label: yaml.safe_load(path.read_text()) for label, path in self.recipes.items()}
        for part, pick in (
            ("networks", lambda r: _settled(r.get("model", {}).get("network"))),
            ("likelihoods", lambda r: _settled(r.get("model", {}).get("likelihood"))),
            ("budgets", _budget),
        ):
            kinds: dict[str, list[str]] = {}
            for label, recipe in read.items():
                kinds.setdefault(yaml.safe_dump(pick(recipe)), []).append(label)
            if len(kinds) > 1:
                groups = " | ".join(", ".join(labels) for labels in kinds.values())
                found.append(
                    f"the {part} of these recipes differ ({groups}): differences between their "
                    "figures are not due to the latent alone"
                )
        return found


@dataclass(frozen=True)
class Point:
    """A finished run, its code rounded to one step: one seed's point of a curve.

    Attributes:
        outcome: of the run.
        factor: of the step that the run was trained and evaluated with.
        figures: test figures, with what the run cost.
    """

    outcome: Outcome
    factor: float
    figures: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The recipe."""
        return self.outcome.job.label

    @property
    def seed(self) -> int:
        """The run's."""
        return self.outcome.job.seed

    @property
    def name(self) -> str:
        """The recipe, and what the sweep and the step set."""
        stepped = {} if self.factor == 1 else {"step": f"x{self.factor:g}"}
        return point_name(self.label, {**self.outcome.job.point, **stepped})


@dataclass(frozen=True)
class Comparison:
    """What came of a plan.

    Attributes:
        plan: what was compared.
        outcomes: of all jobs, failed ones included.
        points: of all finished runs, at every step.
        measures: of the points that stand for their recipe: name -> seed -> figures.
    """

    plan: Plan
    outcomes: Sequence[Outcome]
    points: Sequence[Point]
    measures: Mapping[str, Mapping[int, Mapping[str, float]]] = field(default_factory=dict)

    @property
    def failures(self) -> list[str]:
        """One sentence for each failed run."""
        return [f"failed: {o.job.key}: {o.error}" for o in self.outcomes if o.error]

    def rows(self) -> list[dict[str, Any]]:
        """One row per run and step: what it was, its test figures, what it cost."""
        return [
            {
                "label": point.label,
                "seed": point.seed,
                **point.outcome.job.point,
                "step_factor": point.factor,
                **point.figures,
                **self.measures.get(point.name, {}).get(point.seed, {}),
            }
            for point in self.points
        ]

    def groups(self) -> dict[str, list[Point]]:
        """The points of each recipe, sweep and step over seeds, by a name that says all three."""
        found: dict[str, list[Point]] = {}
        for point in self.points:
            found.setdefault(point.name, []).append(point)
        return found

    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Mean and half width of the 95 % interval over seeds, for every figure."""
        found = {}
        for name, points in self.groups().items():
            own = self.measures.get(name, {})
            found[name] = summarize([{**p.figures, **own.get(p.seed, {})} for p in points])
        return found

    def curves(self, quality: str = "psnr") -> dict[str, dict[int, Curve]]:
        """(bits per dimension, quality) of each recipe by seed, by rising bits."""
        found: dict[str, dict[int, Curve]] = {}
        for point in self.points:
            if "bits_per_dimension" in point.figures:
                pair = (point.figures["bits_per_dimension"], point.figures[quality])
                found.setdefault(point.label, {}).setdefault(point.seed, []).append(pair)
        return {
            label: {seed: sorted(curve) for seed, curve in by_seed.items()}
            for label, by_seed in found.items()
        }

    def representatives(self) -> dict[str, str]:
        """Each recipe's point, as trained, that is nearest to the rate that most recipes reach.

        Never one whose code was rounded more coarsely than in training: its pictures would be
        held against a latent that was not made for that rate.
        """
        return nearest_points(self._rates(as_trained=True), target_rate(self.curves()))

    def at_equal_rate(self) -> tuple[float, dict[str, str]] | None:
        """A rate, and the point within a quarter of it of each recipe that has one."""
        target = target_rate(self.curves())
        if target is None:
            return None
        return target, nearest_points(self._rates(), target, within=0.25)

    def _rates(self, as_trained: bool = False) -> dict[str, tuple[str, float]]:
        """Recipe and mean rate of each point."""
        return {
            name: (points[0].label, _mean(points, "bits_per_dimension"))
            for name, points in self.groups().items()
            if points[0].factor == 1 or not as_trained
        }


def compare(
    plan: Plan,
    out: Path,
    workers: int = 1,
    report: Callable[[Outcome], None] | None = None,
    *,
    runner: Runner | None = None,
    measures: bool = True,
) -> Comparison:
    """Runs a plan; finished runs in `out` are kept, so that a second call does what is missing.

    Args:
        plan: what to run.
        out: folder that gets `runs/`.
        workers: processes at a time.
        report: called with each outcome as it comes.
        runner: runs the jobs elsewhere; by default they are processes of this machine.
        measures: also measure what needs a classifier, samples or noise.
    """
    if runner is None:
        outcomes = jobs.run(plan.jobs(), out / "runs", workers, report)
    else:
        outcomes = runner(plan.jobs(), out / "runs")
    finished = [outcome for outcome in outcomes if outcome.error is None]
    with measuring.Bench(plan.data, plan.options, workers) as bench:
        stepped = bench.steps([o.folder for o in finished], plan.steps)
        comparison = Comparison(plan, outcomes, _points(finished, stepped))
        if not measures or not finished:
            return comparison
        chosen = [p for p in comparison.points if p.name in comparison.representatives().values()]
        judged = bench.judge([(p.outcome.folder, p.factor) for p in chosen])
    found: dict[str, dict[int, Mapping[str, float]]] = {}
    for point, figures in zip(chosen, judged, strict=True):
        found.setdefault(point.name, {})[point.seed] = figures
    return Comparison(plan, outcomes, comparison.points, found)


def _points(
    outcomes: Sequence[Outcome], stepped: Sequence[Mapping[float, Mapping[str, float]]]
) -> list[Point]:
    found = []
    for outcome, by_factor in zip(outcomes, stepped, strict=True):
        own = jobs.figures(outcome)
        found.append(Point(outcome, 1.0, own))
        found += [Point(outcome, f, {**own, **by_factor[f]}) for f in sorted(by_factor)]
    return found


def summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Mean and half width of the interval of every figure that all rows have."""
    keys = [k for k, v in rows[0].items() if isinstance(v, (int, float))]
    shared = [k for k in keys if all(math.isfinite(row.get(k, math.nan)) for row in rows)]
    return {k: interval([row[k] for row in rows]) for k in shared}


def _mean(points: Sequence[Point], key: str) -> float:
    """Mean over seeds, NaN where a figure is missing."""
    values = [point.figures.get(key, math.nan) for point in points]
    return sum(values) / len(values)


def _budget(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe spends, defaults filled in; schedules of its own belong to a latent."""
    given = recipe.get("fit", {})
    known = inspect.signature(fit).parameters
    names = ("epochs", "batch_size", "optimization", "engine")
    return {name: _settled(given.get(name, known[name].default)) for name in names}


def _settled(value: Any) -> Any:
    """Plain data with defaults filled in and numbers as numbers, so that equals look equal."""
    if isinstance(value, Mapping):
        value = {key: _settled(part) for key, part in value.items()}
        return spec(build(value)) if "class_path" in value else value
    if isinstance(value, str):  # YAML 1.1 reads 2e-3 as a word
        try:
            return float(value)
        except ValueError:
            return value
    return [_settled(part) for part in value] if isinstance(value, list) else value


def point_name(label: str, point: Mapping[str, str]) -> str:
    """The label, and what the sweep set."""
    said = ", ".join(f"{name.rpartition('.')[2]}={value}" for name, value in point.items())
    return f"{label} ({said})" if said else label
