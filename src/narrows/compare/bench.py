"""Finished runs measured further, as tasks of worker processes that load the data once."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self, TypeVar

from narrows import data as sources
from narrows.autoencoder import Autoencoder
from narrows.compare import priors
from narrows.compare.judge import Judge
from narrows.compare.pages import gallery
from narrows.compare.priors import Request
from narrows.compare.run import RUN
from narrows.compare.sweeps import with_step
from narrows.data.dataset import Dataset
from narrows.interop.language import Language
from narrows.interop.splicing import LossRecovered, check_origin, folder_of, spliced_loss
from narrows.report.images import tile, to_png
from narrows.saving.writing import write_bytes
from narrows.tasks import Local, Outcome, Result, Task
from narrows.training.evaluation import evaluate
from narrows.training.run import Run

EXAMPLES, EPOCHS = 1000, 12
"""Of each split that are used, and of the classifier's training."""
COLUMNS = 8
"""Samples in a row."""


@dataclass(frozen=True)
class Source:
    """A data set by name, loaded once in each process.

    Attributes:
        data: as `narrows.data.load` takes it.
        options: of the data set.
        language: the language model that activations came from, if it is at hand.
    """

    data: str
    options: Mapping[str, Any]
    language: str = ""

    @property
    def configuration(self) -> Mapping[str, object]:
        """What is not the default, as plain data."""
        named = {"data": self.data, "options": dict(self.options)}
        return {**named, "language": self.language} if self.language else named

    def load(self) -> Dataset:
        """The data set."""
        return _load(json.dumps(self.configuration))

    def judge(self) -> Judge:
        """The judge of its models, with its classifier."""
        return _judge(json.dumps(self.configuration))


@lru_cache(maxsize=1)
def _load(configuration: str) -> Dataset:
    named = json.loads(configuration)
    return sources.load(named["data"], **named["options"])


@lru_cache(maxsize=1)
def _judge(configuration: str) -> Judge:
    named, data = json.loads(configuration), _load(configuration)
    recover = language_of(named["language"], data) if named.get("language") else None
    return Judge(data, examples=EXAMPLES, epochs=EPOCHS, recover=recover)


def check_language(name: str, data: Dataset) -> None:
    """Looks whether a language model is there, and the one that the data came from.

    Raises:
        ValueError: as `language_of`.
    """
    if name:
        language_of(name, data)


def language_of(name: str, data: Dataset) -> Callable[[Autoencoder], LossRecovered]:
    """Measures the loss recovered of dictionaries on activations of a language model.

    Raises:
        ValueError: if the data are no activations, or another model's.
    """
    folder = folder_of(data)
    language = Language.load(name)
    check_origin(language, folder)
    return partial(spliced_loss, language, folder=folder, data=data)


@dataclass(frozen=True)
class _OfRun(Task):
    """Something to measure of a finished run, in a folder beside the run's own."""

    job: str
    data: Source

    @property
    def within(self) -> str:
        return self.job

    def model(self, folder: Path) -> Autoencoder:
        return Run.load(folder.parent / RUN).model


@dataclass(frozen=True)
class _Step(_OfRun):
    """Test figures at another step of the code; none where the code has no step."""

    factor: float

    @property
    def name(self) -> str:
        return f"step-x{self.factor:g}"

    @property
    def configuration(self) -> Mapping[str, object]:
        return {**self.data.configuration, "factor": self.factor}

    def run(self, folder: Path) -> Result:
        model, data = self.model(folder), self.data.load()
        if not with_step(model, self.factor, data.train):
            return {}
        return evaluate(model, data.test, variance=data.variance)


@dataclass(frozen=True)
class _Judging(_Step):
    """The judge's measures, at a factor of the code's step."""

    @property
    def name(self) -> str:
        return f"measures-x{self.factor:g}"

    def run(self, folder: Path) -> Result:
        model = self.model(folder)
        with_step(model, self.factor, self.data.load().train)
        return self.data.judge().judge(model)


@dataclass(frozen=True)
class _Coding(_OfRun):
    """Figures of a run's codes under a prior, and decoded samples of it as a picture."""

    request: Request

    @property
    def name(self) -> str:
        return f"coded-{self.request.kind}-x{self.request.factor:g}"

    @property
    def configuration(self) -> Mapping[str, object]:
        return {**self.data.configuration, **self.request.configuration}

    @property
    def imports(self) -> tuple[str, ...]:
        return (str(self.request.configuration.get("class_path", "")),)

    def run(self, folder: Path) -> Result:
        model, data = self.model(folder), self.data.load()
        figures, prior = priors.measure(model, data, self.request)
        if gallery.shows_images(data) and self.request.factor == 1:
            picture = tile(priors.samples(model, prior, gallery.SAMPLES).numpy(), COLUMNS)
            write_bytes(folder / priors.SAMPLES, to_png(picture))
        return figures


M = TypeVar("M", bound=_OfRun)


class Bench:
    """Measures runs of one data set: in this process, or in several.

    Args:
        source: the data set.
        root: folder of all runs.
        workers: processes; each loads the data and trains the judge's classifier once.
        shared: other processes may measure other runs of this folder meanwhile.
    """

    def __init__(
        self, source: Source, root: Path, workers: int = 1, *, shared: bool = False
    ) -> None:
        self.source: Source = source
        self.root: Path = root
        self.shared: bool = shared
        self.executor: Local = Local(workers)
        self.failures: list[str] = []  # one sentence for each step or measure that failed

    def __enter__(self) -> Self:
        self.executor.__enter__()
        return self

    def __exit__(self, *given: object) -> None:
        self.executor.__exit__(*given)

    def steps(
        self, jobs: Sequence[str], factors: Sequence[float]
    ) -> list[dict[float, dict[str, float]]]:
        """Test figures of every run at other steps of its code, by factor."""
        wanted = [factor for factor in factors if factor != 1]
        tasks = [_Step(job, self.source, factor) for job in jobs for factor in wanted]
        found: dict[str, dict[float, dict[str, float]]] = {job: {} for job in jobs}
        for outcome in self._all(tasks, "rates"):
            if figures := self._figures(outcome):
                found[outcome.task.job][outcome.task.factor] = figures
        return list(found.values())

    def judge(self, chosen: Sequence[tuple[str, float]]) -> list[dict[str, float]]:
        """The judge's measures of every run, at a factor of its step."""
        tasks = [_Judging(job, self.source, factor) for job, factor in chosen]
        return [self._figures(outcome) for outcome in self._all(tasks, "measures")]

    def code(self, chosen: Sequence[tuple[str, Request]]) -> list[Outcome[_Coding]]:
        """Figures of every run under a prior; what was said where it failed."""
        tasks = [_Coding(job, self.source, request) for job, request in chosen]
        return self._all(tasks, "priors")

    def _all(self, tasks: Sequence[M], what: str) -> list[Outcome[M]]:
        return self.executor.run(tasks, self.root, shared=self.shared, what=what)

    def _figures(self, outcome: Outcome[M]) -> dict[str, float]:
        """What was measured; nothing if it failed, which is noted and stops nothing."""
        if outcome.error is not None:
            self.failures.append(
                f"failed: {outcome.task.name} of {outcome.task.job}: {outcome.error}"
            )
        return outcome.figures
