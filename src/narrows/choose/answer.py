"""What a choice says: in sentences, and as plain data."""

import math
import shlex

import numpy as np

from narrows.choose.leads import mean
from narrows.choose.question import Choice
from narrows.choose.race import CLOSE, ERROR, Verdict
from narrows.compare.asked import at_asked, reached

_SURE = f"{1 - ERROR:.0%} sure over the whole race"
_GAIN = 0.1
"""dB for each doubling of the epochs; below it a contender counts as trained to its end."""


def sentences(choice: Choice) -> list[str]:
    """The answer at each rate, how sure it is, who was still improving, and the command."""
    said = []
    for rate, verdict in choice.verdicts.items():
        said.append(_answer(choice, rate, verdict))
        if verdict.ranking:
            said.append(f"Train it: {command(choice, rate, verdict.ranking[0])}")
    if choice.stopped:
        said.append("It was stopped before it had ended; the same command goes on.")
    return said


def _answer(choice: Choice, rate: float, verdict: Verdict) -> str:
    at = f"At {rate:g} bits per dimension"
    if not verdict.ranking:
        return f"{at} there is no answer: {_nobody(choice, rate, verdict)}."
    first, *others = verdict.ranking
    own = mean(verdict.finishes[first])
    parts = [f"{at} use {first} ({own:.2f} dB from files of equal size"]
    rivals = {c: found for c, found in verdict.leads.items() if math.isfinite(found.half)}
    if not verdict.leads:
        parts.append(f"): {_no_rival(verdict)}")
    elif verdict.best:
        second = min(verdict.leads, key=lambda c: verdict.leads[c].mean)
        found = verdict.leads[second]
        parts.append(
            f"): {found.mean:.2f} dB{_fewer(choice, rate, first, found.mean)} ahead of {second}, "
            f"the next, and {_between(found.low, found.high)}; {_SURE}"
        )
    elif known := [label for label in others if label in rivals]:
        most = max(-rivals[label].low for label in known)
        names = ", ".join(known)
        if verdict.ended and most < CLOSE and known == others:
            parts.append(
                f"): {names} may be as good, but none is better by more than "
                f"{max(most, 0):.2f} dB; {_SURE}"
            )
        else:
            parts.append(
                f"), which leads, though {names} may be better by up to {most:.2f} dB; {_SURE}. "
                f"It is not decided{'' if verdict.ended else ': more --minutes give more seeds'}"
            )
    else:
        parts.append("), which leads, from too few runs at this rate to tell it from chance")
    improving = _improving(choice, rate, verdict)
    tail = f" {improving}" if improving else ""
    return f"{''.join(parts)}.{tail}"


def _between(low: float, high: float) -> str:
    return f"between {low:.2f} and {high:.2f}"


def _fewer(choice: Choice, rate: float, label: str, lead: float) -> str:
    """A lead in bytes, by the slope of who leads."""
    gain = choice.slope(label, rate)
    if not gain > 0 or lead <= 0:
        return ""
    return f" (worth some {1 - 2 ** (-lead / gain):.0%} of the bytes)"


def _nobody(choice: Choice, rate: float, verdict: Verdict) -> str:
    """Why no contender is left: what each said."""
    if not verdict.ended:
        return "no run was finished in time"
    reasons = {label: text for (r, label), text in choice.refused.items() if r == rate}
    return "; ".join(f"{label}: {text.rstrip('.')}" for label, text in reasons.items())


def _no_rival(verdict: Verdict) -> str:
    """What is said of the only one that ran to the end."""
    behind = [one for one in verdict.dropped if one.seeds]
    if behind:
        nearest = min(behind, key=lambda one: one.lead.mean)
        return (
            f"after short runs all others were far behind, {nearest.label} the least, by "
            f"{nearest.lead.mean:.2f} dB ({_between(nearest.lead.low, nearest.lead.high)}); {_SURE}"
        )
    return "no other recipe finished a run at this rate"


def gains(choice: Choice, rate: float, verdict: Verdict) -> dict[str, float]:
    """dB that each doubling of the epochs brought a contender, from short runs to long ones."""
    if verdict.heat == 0 or choice.heats[1].epochs <= choice.heats[0].epochs:
        return {}
    doublings = math.log2(choice.heats[1].epochs / choice.heats[0].epochs)
    short, found = reached(choice.heats[0].outcomes), dict[str, float]()
    slopes = {label: choice.slope(label, rate) for label in verdict.finishes}
    before = at_asked(short, rate, slopes).values
    for label, by_seed in verdict.finishes.items():
        shared = before.get(label, {}).keys() & by_seed.keys()
        change = [by_seed[seed].quality - before[label][seed] for seed in shared]
        change = [one for one in change if math.isfinite(one)]
        if change:
            found[label] = float(np.mean(change)) / doublings
    return found


def _improving(choice: Choice, rate: float, verdict: Verdict) -> str:
    """Contenders for which more epochs still help, or that it is not known."""
    known = gains(choice, rate, verdict)
    if not known and verdict.finishes:
        epochs = choice.heats[verdict.heat].epochs
        return f"All runs had {epochs} epochs: whether longer ones change the order is not known."
    found = {c: gain for c, gain in known.items() if gain > _GAIN}
    if not found:
        return ""
    listed = ", ".join(f"{label} {gain:.2f} dB" for label, gain in found.items())
    return f"Still improving with each doubling of the epochs: {listed}."


def command(choice: Choice, rate: float, label: str) -> str:
    """What trains a contender as the last heat did."""
    task = next(run.task for heat in reversed(choice.heats) for run in heat.of(label, rate))
    options = [word for name, value in task.words.items() for word in (f"--{name}", value)]
    return shlex.join(["narrows", "train", task.recipe_name, "--data", task.data, *options])


def summary(choice: Choice) -> dict[str, object]:
    """The answer as plain data."""
    return {
        "answer": sentences(choice),
        "answers": [_answer(choice, rate, one) for rate, one in choice.verdicts.items()],
        "seconds": choice.seconds,
        "epochs": [heat.epochs for heat in choice.heats],
        "races": [
            {
                "bits_per_dimension": rate,
                "ranking": list(verdict.ranking),
                "decided": verdict.best,
                "ended": verdict.ended,
                "leads": {c: [found.mean, found.half] for c, found in verdict.leads.items()},
                "quality": {
                    c: {str(seed): run.quality for seed, run in by_seed.items()}
                    for c, by_seed in verdict.finishes.items()
                },
                "dropped": [[one.label, one.heat, one.by] for one in verdict.dropped],
                "refused": {c: why for (r, c), why in choice.refused.items() if r == rate},
                "gains": gains(choice, rate, verdict),
            }
            for rate, verdict in choice.verdicts.items()
        ],
    }
