"""What is asked, and what came of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from narrows.choose.race import Verdict
from narrows.compare.asked import Asked, reached, slopes
from narrows.compare.bench import Source
from narrows.saving.trust import dotted_names
from narrows.tasks import Outcome


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        recipes: files of the contenders, by label.
        source: the data set.
        rates: bits per dimension.
        minutes: of wall-clock, for all of it.
        settings: arguments that all runs share, over those that are chosen.
        batch_size: examples of a step.
    """

    recipes: Mapping[str, Path]
    source: Source
    rates: Sequence[float]
    minutes: float
    settings: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 64

    @property
    def class_paths(self) -> list[str]:
        """What recipes and settings name: the user trusts it."""
        texts = [path.read_text(errors="replace") for path in self.recipes.values()]
        return dotted_names("\n".join([*texts, *self.settings.values()]))


@dataclass(frozen=True)
class Runs:
    """All runs of one length.

    Attributes:
        epochs: of each.
        outcomes: failed ones included.
    """

    epochs: int
    outcomes: Sequence[Outcome[Asked]] = ()

    def of(self, label: str, rate: float) -> list[Outcome[Asked]]:
        """The finished runs of a contender at a rate."""
        key = (label, rate)
        return [o for o in self.outcomes if not o.error and (o.task.label, o.task.rate) == key]


@dataclass(frozen=True)
class Choice:
    """What came of a question.

    Attributes:
        question: what was asked.
        options: of the data set, with what was cut down.
        verdicts: by rate.
        heats: the runs of each heat that was begun.
        refused: rate and label -> why the contender had no run there.
        seconds: of wall-clock, over all sittings.
        stopped: True if it was interrupted.
    """

    question: Question
    options: Mapping[str, Any]
    verdicts: Mapping[float, Verdict]
    heats: Sequence[Runs]
    refused: Mapping[tuple[float, str], str]
    seconds: float
    stopped: bool = False

    def slope(self, label: str, rate: float) -> float:
        """A contender's gain in dB for each doubling of the bits; NaN if unknown."""
        return known_slope(self.heats, label, rate)


def known_slope(heats: Sequence[Runs], label: str, rate: float) -> float:
    """A contender's slope in the longest runs that tell it, dB for each doubling of the bits."""
    for heat in reversed(heats):
        gain = slopes(reached(heat.outcomes), rate).get(label, math.nan)
        if math.isfinite(gain):
            return gain
    return math.nan
