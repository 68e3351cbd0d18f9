"""Which latent? Several recipes, the same data and budget, several seeds, one page."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from narrows.autoencoder import Autoencoder
from narrows.compare.asked import Runs, at_asked, out_of_reach, reached, slopes
from narrows.compare.bench import Bench, Source
from narrows.compare.equal_rate import Curve, Standing, nearest_points, standings, target_rate
from narrows.compare.parts import Part, sharing
from narrows.compare.plan import Plan, point_name
from narrows.compare.priors import Coded, Request, requests
from narrows.compare.run import RUN, Job, figures
from narrows.compare.statistics import summarize
from narrows.saving.trust import trusting
from narrows.saving.writing import read_json, write_json
from narrows.tasks import Executor, Local, Outcome, Report


@dataclass(frozen=True)
class Point:
    """A finished run, its code rounded to one step: one seed's point of a curve.

    Attributes:
        outcome: of the run.
        factor: of the step that the run was trained and evaluated with.
        figures: test figures, with what the run cost.
    """

    outcome: Outcome[Job]
    factor: float
    figures: Mapping[str, float]

    @property
    def label(self) -> str:
        """The recipe."""
        return self.outcome.task.label

    @property
    def seed(self) -> int:
        """The run's."""
        return self.outcome.task.seed

    @property
    def name(self) -> str:
        """The recipe, and what the sweep and the step set."""
        stepped = {} if self.factor == 1 else {"step": f"x{self.factor:g}"}
        return point_name(self.label, {**self.outcome.task.point, **stepped})


@dataclass(frozen=True)
class Comparison:
    """What came of a plan.

    Attributes:
        plan: what was compared.
        outcomes: of all jobs, failed ones included.
        points: of all finished runs, at every step.
        measures: of the points that stand for their recipe: name -> seed -> figures.
        coded: all finished runs under every prior asked for, failed fits included.
        failed_measures: one sentence for each step or measure that failed.
    """

    plan: Plan
    outcomes: Sequence[Outcome[Job]]
    points: Sequence[Point]
    measures: Mapping[str, Mapping[int, Mapping[str, float]]] = field(default_factory=dict)
    coded: Sequence[Coded] = ()
    failed_measures: Sequence[str] = ()

    @property
    def failures(self) -> list[str]:
        """One sentence for each failed run."""
        return [f"failed: {outcome.task.key}: {outcome.error}" for outcome in self.failed]

    @property
    def failed(self) -> list[Outcome[Job]]:
        """Runs that failed; not those whose model does not reach the rate that is asked for."""
        return [o for o in self.outcomes if o.error and not out_of_reach(o)]

    @property
    def unreached(self) -> list[str]:
        """One sentence for each run whose model does not reach the rate that is asked for."""
        return [f"{o.task.name}: {o.error}" for o in self.outcomes if out_of_reach(o)]

    @property
    def failed_priors(self) -> list[str]:
        """One sentence for each prior that could not be fitted or coded with."""
        return [f"failed: {c.name}, seed {c.seed}: {c.error}" for c in self.coded if c.error]

    @property
    def warnings(self) -> list[str]:
        """What failed, and where recipes differ in more than the latent."""
        failed = (*self.failures, *self.unreached, *self.failed_priors, *self.failed_measures)
        return [*failed, *self.plan.differences()]

    @property
    def over_seeds(self) -> str:
        """What a figure is, in a caption."""
        count = len(self.plan.seeds)
        return "one seed" if count == 1 else f"means over {count} seeds"

    def rows(self) -> list[dict[str, object]]:
        """One row per run and step, and one per prior: what it was, its test figures, its cost."""
        runs: list[dict[str, object]] = [
            {
                "label": point.label,
                "seed": point.seed,
                **point.outcome.task.point,
                "step_factor": point.factor,
                **point.figures,
                **self.measures.get(point.name, {}).get(point.seed, {}),
            }
            for point in self.points
        ]
        return runs + [coded.row() for coded in self.coded if not coded.error]

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

    @property
    def quality(self) -> str:
        """What curves are compared by: "psnr", or "snr" of data that have no peak."""
        return "psnr" if all("psnr" in point.figures for point in self.points) else "snr"

    def curves(self, quality: str | None = None) -> dict[str, dict[int, Curve]]:
        """(bits per dimension, quality in dB) of each recipe by seed, by rising bits."""
        quality = quality or self.quality
        found: dict[str, dict[int, Curve]] = {}
        for point in self.points:
            if "bits_per_dimension" in point.figures:
                pair = (point.figures["bits_per_dimension"], point.figures[quality])
                found.setdefault(point.label, {}).setdefault(point.seed, []).append(pair)
        return {
            label: {seed: sorted(curve) for seed, curve in by_seed.items()}
            for label, by_seed in found.items()
        }

    def asked_runs(self) -> Runs:
        """Where the runs ended that were trained for a rate, by recipe, rate and seed."""
        return reached(self.outcomes)

    def standings(self) -> list[Standing]:
        """The recipes side by side: at the rates asked for, or where their curves meet."""
        if not self.plan.at:
            return standings(self.curves())
        runs = self.asked_runs()
        found = [at_asked(runs, rate, slopes(runs, rate)) for rate in sorted(self.plan.at)]
        return [standing for standing in found if len(standing.values) > 1]

    def representatives(self) -> dict[str, str]:
        """Each recipe's point, as trained, that is nearest to the rate that most recipes reach.

        Never one whose code was rounded more coarsely than in training: its pictures would be
        held against a latent that was not made for that rate.
        """
        return nearest_points(self._rates(as_trained=True), target_rate(self.standings()))

    def at_equal_rate(self) -> tuple[float, dict[str, str]] | None:
        """A rate, and the point within a quarter of it of each recipe that has one."""
        target = target_rate(self.standings())
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
    *,
    workers: int = 1,
    report: Report[Job] | None = None,
    executor: Executor | None = None,
    measures: bool = True,
    part: Part | None = None,
) -> Comparison:
    """Runs a plan; finished runs in `out` are kept, so that a second call does what is missing.

    Several processes, on any machines that share `out`, may each make a part of it; then a call
    without a part measures what needs all runs.

    Args:
        plan: what to run.
        out: folder that gets `runs/`.
        workers: processes at a time.
        report: called with each outcome as it comes.
        executor: trains elsewhere, such as `tasks.OnRay`; by default processes of this machine.
        measures: also measure what needs a classifier, samples or noise.
        part: of the runs; they are also measured one by one, but not against each other.

    Raises:
        FolderInUseError: as `parts.sharing` does.
    """
    source = Source(plan.data, plan.options, plan.after.language)
    jobs, shared = plan.jobs() if part is None else part.of(plan.jobs()), part is not None
    with trusting(plan.class_paths), sharing(out, part):
        _check_content(out / "data.json", source)
        with executor or Local(workers, fresh=True) as trainer:
            outcomes = trainer.run(jobs, out / "runs", report=report, shared=shared)
        with Bench(source, out / "runs", workers, shared=shared) as bench:
            return _measured(plan, outcomes, bench, judged=measures and not shared)


def _measured(
    plan: Plan, outcomes: Sequence[Outcome[Job]], bench: Bench, *, judged: bool
) -> Comparison:
    """The runs under other steps and priors, and the judge's measures if they are asked for."""
    finished = [outcome for outcome in outcomes if outcome.error is None]
    stepped = bench.steps([o.task.key for o in finished], plan.after.steps)
    coded = _coded(plan, finished, bench)
    comparison = Comparison(plan, outcomes, _points(finished, stepped), coded=coded)
    found: dict[str, dict[int, Mapping[str, float]]] = {}
    if judged and finished:
        chosen = [p for p in comparison.points if p.name in comparison.representatives().values()]
        measures = bench.judge([(p.outcome.task.key, p.factor) for p in chosen])
        for point, own in zip(chosen, measures, strict=True):
            found.setdefault(point.name, {})[point.seed] = own
    return dataclasses.replace(comparison, measures=found, failed_measures=bench.failures)


def _check_content(path: Path, source: Source) -> None:
    """Refuses examples that are others than those of the runs that were kept.

    Raises:
        ValueError: if the data have changed.
    """
    name, content = json.dumps(source.configuration), source.load().fingerprint
    known = read_json(path, "delete it if the data are as they were") if path.is_file() else {}
    if known.get(name, content) != content:
        raise ValueError(
            f"{path.parent} holds runs on other examples: {source.data} has changed since; give "
            "another --out"
        )
    write_json(path, {**known, name: content})


def _points(
    outcomes: Sequence[Outcome[Job]], stepped: Sequence[Mapping[float, Mapping[str, float]]]
) -> list[Point]:
    found = []
    for outcome, by_factor in zip(outcomes, stepped, strict=True):
        own = figures(outcome)
        found.append(Point(outcome, 1.0, own))
        found += [Point(outcome, f, {**own, **by_factor[f]}) for f in sorted(by_factor)]
    return found


def _coded(plan: Plan, outcomes: Sequence[Outcome[Job]], bench: Bench) -> list[Coded]:
    """Every finished run under every prior that was asked for and suits it."""
    wanted: list[tuple[Outcome[Job], Request]] = []
    after = plan.after
    for outcome in outcomes if after.priors else []:
        seed = outcome.task.seed
        try:
            model = Autoencoder.load(outcome.folder / RUN)
            asked = requests(model, after.priors, factors=after.steps, seed=seed, files=after.files)
        except Exception as error:  # one run that cannot be coded stops no other
            bench.failures.append(f"failed: priors of {outcome.task.key}: {error}")
            continue
        wanted += [(outcome, request) for request in asked]
    found = bench.code([(outcome.task.key, request) for outcome, request in wanted])
    return [
        Coded(outcome, request, coding.figures, coding.error, coding.folder)
        for (outcome, request), coding in zip(wanted, found, strict=True)
    ]


def _mean(points: Sequence[Point], key: str) -> float:
    """Mean over seeds, NaN where a figure is missing."""
    values = [point.figures.get(key, math.nan) for point in points]
    return sum(values) / len(values)
