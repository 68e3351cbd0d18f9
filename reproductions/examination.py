"""Claims one after the other, within a budget of time."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from narrows.report import Block
from narrows.tasks import Call, Local, Outcome, kept
from reproductions import floor
from reproductions.claim import Claim, Evidence, Hypothesis, Plain, Scale
from reproductions.verdict import Estimate, Verdict, judge, together


@dataclass(frozen=True)
class Finding:
    """A hypothesis and what was measured."""

    hypothesis: Hypothesis
    estimate: Estimate

    @property
    def verdict(self) -> Verdict:
        """By rule."""
        return judge(self.estimate, self.hypothesis.relation, self.hypothesis.bound)


@dataclass(frozen=True)
class Examined:
    """A claim and what came of it.

    Attributes:
        claim: the claim.
        scale: of its runs.
        findings: one per hypothesis; none if it was not run.
        figures: blocks for the page.
        seconds: of computing of all its trials, those of earlier commands included.
        trials: how many.
        problems: sentences on what failed or was not run.
        settings: arguments that all trials share.
        shortfalls: sentences on models below their floor: no verdict may rest on them.
        advice: what the runs themselves warned of.
        models: how many were measured against their floor.
    """

    claim: Claim
    scale: Scale
    findings: Sequence[Finding] = ()
    figures: Sequence[Block] = field(default_factory=tuple)
    seconds: float = 0.0
    trials: int = 0
    problems: Sequence[str] = field(default_factory=tuple)
    settings: Mapping[str, Plain] = field(default_factory=dict)
    shortfalls: Sequence[str] = ()
    advice: Sequence[str] = ()
    models: int = 0

    @property
    def verdict(self) -> Verdict:
        """Of the whole claim; "undertrained" if a model of it is below its floor."""
        if self.findings and self.shortfalls:
            return "undertrained"
        return together([finding.verdict for finding in self.findings])


class Budget:
    """Minutes of wall clock, and the speed of this machine as it shows itself.

    Args:
        minutes: None for no end.
        jobs: processes that share the work.
    """

    def __init__(self, minutes: float | None, jobs: int) -> None:
        self.minutes, self.jobs = minutes, jobs
        self.began = time.monotonic()
        self.foreseen, self.taken = 0.0, 0.0

    @property
    def left(self) -> float:
        """Minutes."""
        if self.minutes is None:
            return float("inf")
        return self.minutes - (time.monotonic() - self.began) / 60

    def price(self, claim: Claim, scale: Scale, missing: float) -> float:
        """Minutes of wall clock that the missing share of a claim's trials will take."""
        if scale.size != "default":
            return 0.0  # nobody has timed it here; the clock itself is the limit
        # One claim alone says little; the machine's speed counts once a minute was spent.
        speed = self.taken / self.foreseen if self.foreseen > 1 else 1.0
        return claim.minutes * scale.seeds / 5 * missing * speed / self.jobs

    def spent(self, claim: Claim, scale: Scale, missing: float, seconds: float) -> None:
        """Notes what trials took that were just run."""
        self.foreseen += claim.minutes * scale.seeds / 5 * missing
        self.taken += seconds / 60


def examine(
    claims: Sequence[Claim],
    scale: Scale,
    out: Path,
    *,
    jobs: int = 1,
    minutes: float | None = None,
    report: Callable[[Claim, Outcome[Call]], None] | None = None,
) -> list[Examined]:
    """Runs what is missing of the claims' trials and judges each claim by its hypotheses.

    Args:
        claims: in this order.
        scale: of the runs.
        out: `out/trials` keeps finished trials.
        jobs: processes at a time.
        minutes: of wall clock; a claim whose trials will not fit into what is left is not
            begun, and says so. None for no limit.
        report: called with each trial that was run.
    """
    found = []
    budget = Budget(minutes, jobs)
    root = out / "trials"
    with Local(jobs, threads=1) as workers:  # rounding depends on the number of threads
        for claim in claims:
            trials = list(claim.trials(scale))
            missing = [trial for trial in trials if kept(trial, root) is None]
            share = len(missing) / len(trials)
            if claim.lacks:
                found.append(Examined(claim, scale, problems=[claim.lacks], trials=len(trials)))
                continue
            price = budget.price(claim, scale, share)
            if missing and price > budget.left:
                text = (
                    f"not run: it needs about {price:.1f} minutes of {max(budget.left, 0):.1f} left"
                )
                found.append(Examined(claim, scale, problems=[text], trials=len(trials)))
                continue

            def tell(outcome: Outcome[Call], claim: Claim = claim) -> None:
                if report is not None and not outcome.reused:
                    report(claim, outcome)

            outcomes = workers.run(
                trials, root, report=tell, go_on=lambda: budget.left > 0, what="trials"
            )
            seconds = sum(o.cost.seconds for o in outcomes if not o.reused)
            budget.spent(claim, scale, share, seconds)
            found.append(_judged(claim, scale, trials, outcomes))
    return found


def _judged(
    claim: Claim, scale: Scale, trials: Sequence[Call], outcomes: Sequence[Outcome[Call]]
) -> Examined:
    problems = [
        f"failed: {o.task.key} {dict(o.task.arguments)}: {o.error}" for o in outcomes if o.error
    ]
    if len(outcomes) < len(trials):
        count = len(trials) - len(outcomes)
        problems.append(f"not run: {count} of {len(trials)} trials did not fit into the budget")
    seconds = sum(outcome.cost.processor_seconds for outcome in outcomes)
    if problems:  # a claim is not judged by the runs that happened to end well
        return Examined(claim, scale, seconds=seconds, trials=len(trials), problems=problems)
    evidence = Evidence(outcomes)
    findings = [Finding(h, h.estimate(evidence)) for h in claim.hypotheses]
    figures = list(claim.figures(evidence))
    below, advice, models = _floors(outcomes, claim.course)
    return Examined(
        claim, scale, findings, figures, seconds, len(trials), settings=shared(trials),
        shortfalls=below, advice=advice, models=models,
    )  # fmt: skip


def shared(trials: Sequence[Call]) -> dict[str, Plain]:
    """The arguments that are equal in all trials."""
    first = dict(trials[0].arguments)
    return {k: v for k, v in first.items() if all(t.arguments.get(k) == v for t in trials)}


def _floors(outcomes: Sequence[Outcome[Call]], course: bool) -> tuple[list[str], list[str], int]:
    """What models lack, what their runs warned of, and how many there are."""
    common = shared([outcome.task for outcome in outcomes])
    below, advice, models = list[str](), Counter[str](), 0
    for outcome in outcomes:
        varied = {k: v for k, v in outcome.task.arguments.items() if k not in common}
        words = ", ".join(f"{k}={v}" for k, v in varied.items()) or outcome.task.name
        for one in floor.read(outcome.folder):
            models += 1
            below += [f"{words}: {text}" for text in one.shortfalls(course=course)]
            advice.update(one.advice)
    return below, [f"{text} ({n} of {models} models)" for text, n in advice.items()], models
