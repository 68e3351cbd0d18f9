"""Runs coded under priors: what was found, by prior and over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narrows.compare.coding import Request
from narrows.compare.plan import point_name
from narrows.compare.statistics import summarize
from narrows.compare.tasks import Outcome


@dataclass(frozen=True)
class Coded:
    """One finished run under one prior.

    Attributes:
        outcome: of the run.
        request: the prior.
        figures: of `coding.measure`; empty if it failed.
        error: what it said if it failed, else None.
    """

    outcome: Outcome
    request: Request
    figures: Mapping[str, float]
    error: str | None = None

    @property
    def label(self) -> str:
        """The recipe."""
        return self.outcome.job.label

    @property
    def seed(self) -> int:
        """The run's."""
        return self.outcome.job.seed

    @property
    def family(self) -> str:
        """Recipe and kind of prior: what a line of the figure joins."""
        return f"{self.label}, {self.request.kind}"

    @property
    def name(self) -> str:
        """The recipe, what the sweep set, the prior, and its step."""
        factor = self.request.settings.coarseness
        step = "" if factor == 1 else f", step x{factor:g}"
        run = point_name(self.label, self.outcome.job.point)
        return f"{run}, {self.request.kind}{step}"

    @property
    def picture(self) -> Path:
        """Where samples are, if any were drawn."""
        return self.outcome.folder / f"{self.request.stem}.png"

    def row(self) -> dict[str, Any]:
        """Of the table of all figures."""
        return {
            "label": self.label,
            "seed": self.seed,
            **self.outcome.job.point,
            "step_factor": self.request.settings.coarseness,
            "prior": self.request.kind,
            **self.figures,
        }


def by_name(coded: Sequence[Coded]) -> dict[str, list[Coded]]:
    """Those that did not fail, over seeds."""
    found: dict[str, list[Coded]] = {}
    for one in coded:
        if not one.error:
            found.setdefault(one.name, []).append(one)
    return found


def intervals(coded: Sequence[Coded]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and half width of the 95 % interval over seeds of every figure, by name."""
    return {name: summarize([one.figures for one in ones]) for name, ones in by_name(coded).items()}
