"""How long runs take, and how many epochs the minutes allow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import yaml

from narrows.autoencoder import Autoencoder
from narrows.compare.asked import Asked
from narrows.compare.bench import Source
from narrows.data.splitting import subset
from narrows.recorded import build
from narrows.tasks import Outcome, Result, Task
from narrows.training.fit import fit
from narrows.training.optimization import Optimization
from narrows.training.rate import Rate

START = 2.0
"""Seconds of a run before its first step and after its last, unless measured."""
_BATCHES = 8  # of a probe


@dataclass(frozen=True)
class Pace:
    """What a run of one recipe takes.

    Attributes:
        epoch: seconds of one.
        start: seconds that do not depend on the number of epochs.
    """

    epoch: float
    start: float = START

    def seconds(self, epochs: int) -> float:
        """Of a run."""
        return self.start + self.epoch * epochs


def affordable(paces: Sequence[Pace], seconds: float) -> int:
    """Epochs that one run of each may have in a time, 0 if none."""
    each = sum(pace.epoch for pace in paces)
    return max(0, math.floor((seconds - sum(pace.start for pace in paces)) / each)) if each else 0


def corrected(pace: Pace, outcomes: Sequence[Outcome[Asked]], epochs: int) -> Pace:
    """The pace at which finished runs really went; those with errors say nothing."""
    seconds = [outcome.cost.seconds for outcome in outcomes if outcome.error is None]
    if not seconds:
        return pace
    took = sum(seconds) / len(seconds)
    return Pace(max(took - pace.start, 0.1 * took) / epochs, min(pace.start, 0.9 * took))


@dataclass(frozen=True)
class Probe(Task):
    """A few steps of a recipe at a rate: whether it runs, and `seconds` for each example.

    Attributes:
        label: of the recipe.
        recipe_text: the recipe's content.
        network: class path and arguments of the network; empty for the default of vectors.
        data: the data set.
        rate: bits per dimension.
        batch_size: of a step.
    """

    label: str
    recipe_text: str
    network: Mapping[str, object]
    data: Source
    rate: float
    batch_size: int

    @property
    def name(self) -> str:
        """The recipe, and that it is a probe."""
        return f"probe-{self.label.replace('/', '-')}"

    @property
    def configuration(self) -> Mapping[str, object]:
        """Everything; the network and the data as plain data."""
        return {**asdict(self), "data": self.data.configuration, "network": dict(self.network)}

    def run(self, folder: Path) -> Result:  # noqa: ARG002 (a probe keeps nothing)
        """Trains twice for a few steps: the first time also loads what is loaded once."""
        whole = self.data.load()
        data = subset(whole, train_examples=_BATCHES * self.batch_size, test_examples=16)
        parts = yaml.safe_load(self.recipe_text)["model"]
        torch.manual_seed(0)
        make = Autoencoder.for_own_units if whole.own_units else Autoencoder
        model = make(
            whole.shape,
            bottleneck=build(parts["bottleneck"]),
            network=build(self.network) if self.network else None,
            likelihood=build(parts["likelihood"]) if "likelihood" in parts else None,
        )
        run = fit(
            model, data, epochs=2, batch_size=self.batch_size, rate=Rate(self.rate),
            optimization=Optimization(2e-3, clip=1.0), show=False,
        )  # fmt: skip
        return {"seconds": 1 / run.history[-1]["examples_per_second"]}
