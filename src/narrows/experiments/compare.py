"""Which latent? Several recipes, the same data and budget, several seeds, one page."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from narrows.experiments import jobs
from narrows.experiments.jobs import Job, Outcome
from narrows.experiments.statistics import interval
from narrows.metrics.rate_curve import at_rate

Sweep = Mapping[str, Sequence[str]]
"""Argument -> values; `RECIPE:ARGUMENT` sweeps it for that recipe only."""


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        recipes: files by label.
        data: as `narrows.data.load` takes it.
        seeds: one run of everything for each.
        settings: arguments that all runs share, such as `fit.epochs`.
        sweep: arguments that are varied.
    """

    recipes: Mapping[str, Path]
    data: str
    seeds: Sequence[int]
    settings: Mapping[str, str]
    sweep: Sweep

    def jobs(self) -> list[Job]:
        """Every recipe at every point of its sweep with every seed."""
        found = []
        for label, path in self.recipes.items():
            text = path.read_text()
            for point in self.points(label):
                for seed in self.seeds:
                    job = Job(label, str(path), text, self.data, seed, self.settings, point)
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
            ("networks", lambda r: r.get("model", {}).get("network")),
            ("likelihoods", lambda r: r.get("model", {}).get("likelihood")),
            ("budgets", lambda r: {k: v for k, v in r.get("fit", {}).items() if k != "callbacks"}),
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
class Comparison:
    """What came of a plan.

    Attributes:
        plan: what was compared.
        outcomes: of all jobs, failed ones included.
    """

    plan: Plan
    outcomes: Sequence[Outcome]

    @property
    def failures(self) -> list[str]:
        """One sentence for each failed run."""
        return [f"failed: {o.job.key}: {o.error}" for o in self.outcomes if o.error]

    def rows(self) -> list[dict[str, Any]]:
        """One row per finished run: what it was, its test figures, what it cost."""
        return [
            {"label": o.job.label, "seed": o.job.seed, **o.job.point, **jobs.figures(o)}
            for o in self.outcomes
            if o.error is None
        ]

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each recipe and sweep point, by a label that names both."""
        found: dict[str, list[dict[str, Any]]] = {}
        for outcome, row in zip(
            (o for o in self.outcomes if not o.error), self.rows(), strict=True
        ):
            found.setdefault(point_name(outcome.job), []).append(row)
        return found

    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Mean and half width of the 95 % interval over seeds, for every figure."""
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for name, rows in self.groups().items():
            keys = [k for k, v in rows[0].items() if isinstance(v, (int, float)) and k != "seed"]
            shared = [k for k in keys if all(math.isfinite(row.get(k, math.nan)) for row in rows)]
            found[name] = {k: interval([row[k] for row in rows]) for k in shared}
        return found

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """(bits per dimension, NMSE) of each recipe, means over seeds, by rising bits."""
        found: dict[str, list[tuple[float, float]]] = {}
        for name, figures in self.intervals().items():
            if "bits_per_dimension" in figures:
                label = self.label_of(name)
                point = (figures["bits_per_dimension"][0], figures["nmse"][0])
                found.setdefault(label, []).append(point)
        return {label: sorted(points) for label, points in found.items()}

    def label_of(self, name: str) -> str:
        """The recipe that a group belongs to."""
        return next(o.job.label for o in self.outcomes if point_name(o.job) == name)


def compare(
    plan: Plan,
    out: Path,
    workers: int = 1,
    report: Callable[[Outcome], None] | None = None,
) -> Comparison:
    """Runs a plan; finished runs in `out` are kept, so that a second call does what is missing."""
    return Comparison(plan, jobs.run(plan.jobs(), out / "runs", workers, report))


def at_equal_rate(comparison: Comparison, bits: float | None = None) -> dict[str, float]:
    """PSNR in dB of each curve that covers a rate; by default one that most curves cover.

    Args:
        comparison: with at least two points on some curve.
        bits: per dimension.
    """
    groups: dict[str, list[tuple[float, float]]] = {}
    for name, figures in comparison.intervals().items():
        if "bits_per_dimension" in figures:
            point = (figures["bits_per_dimension"][0], figures["psnr"][0])
            groups.setdefault(comparison.label_of(name), []).append(point)
    upper = {label: _upper_hull(points) for label, points in groups.items()}
    usable = {label: points for label, points in upper.items() if len(points) > 1}
    if bits is None:
        bits = _common_rate(list(usable.values()))
    if bits is None:
        return {}
    return {
        label: at_rate(points, bits)
        for label, points in usable.items()
        if points[0][0] <= bits <= points[-1][0]
    }


def _upper_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both rate and quality."""
    kept: list[tuple[float, float]] = []
    for bits, quality in sorted(points):
        if not kept or (quality > kept[-1][1] and bits > kept[-1][0]):
            kept.append((bits, quality))
    return kept


def _common_rate(curves: Sequence[Sequence[tuple[float, float]]]) -> float | None:
    """The rate that most curves cover, None if there is no curve."""
    ends = sorted({bits for curve in curves for bits in (curve[0][0], curve[-1][0])})
    middles = [math.sqrt(a * b) for a, b in itertools.pairwise(ends)]

    def covered(bits: float) -> int:
        return sum(curve[0][0] <= bits <= curve[-1][0] for curve in curves)

    return max(middles, key=covered, default=None)


def point_name(job: Job) -> str:
    """The label, and what the sweep set."""
    point = ", ".join(f"{name.rpartition('.')[2]}={value}" for name, value in job.point.items())
    return f"{job.label} ({point})" if point else job.label
