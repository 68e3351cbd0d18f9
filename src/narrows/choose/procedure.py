"""Answers the question: probes, then races of all rates side by side, as long as there is time."""

import dataclasses
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from narrows.choose.clock import Pace, Probe, affordable, corrected
from narrows.choose.leads import Finish, Finishes
from narrows.choose.question import Choice, Question, Runs, known_slope
from narrows.choose.race import HEATS, Request, Stop, Verdict, race
from narrows.choose.settings import network, settings
from narrows.choose.state import State
from narrows.compare.asked import RATE, Asked, at_asked, reached, wider
from narrows.data.dataset import Dataset
from narrows.saving.trust import trusting
from narrows.saving.writing import sole_writer
from narrows.tasks import Executor, Local, Outcome
from narrows.tasks.executor import threads_each
from narrows.tasks.task import kept

SHORT = 0.35
"""Share of the time that the first heat may take."""
EXPECTED_SEEDS, EXPECTED_FINALISTS = 5, 5
"""Of the last heat, to share out the time before it is known who is left."""
LONGER = 2
"""Times as many epochs as short runs that long ones have at least; they get fewer seeds then."""
MOST_EPOCHS = 300
FEWEST = 12
"""Epochs of the last heat for which the training split is cut down: to steer a rate takes some."""
HELD = 1000
"""Examples for validation, and for test, at most: files hold `WRITTEN` of them."""
FAR = 0.1
"""Share of the rate from which on a run is not compared; nearer ones are brought to it."""
STATE = "choose.json"


def choose(
    question: Question,
    data: Dataset,
    *,
    out: Path,
    workers: int = 1,
    say: Callable[[str], None] = lambda _: None,
    executor: Executor | None = None,
) -> Choice:
    """Runs the races; finished runs in `out` are kept, so that a second call goes on.

    Args:
        question: what is asked.
        data: the data set that it names.
        out: folder that gets `runs/` and `choose.json`.
        workers: processes at a time, unless an executor is given.
        say: called with a line on each run that is finished.
        executor: trains elsewhere, such as `tasks.OnRay`; by default processes of this machine.

    Raises:
        ValueError: if the data cannot be learned from, or the time is too short for one run of
            each contender.
    """
    if len(data.train) < 2 or not data.variance > 0:
        raise ValueError(
            f"{data.name} has {len(data.train)} training examples of variance {data.variance:g}; "
            "there is nothing to learn from it: give at least two examples that differ"
        )
    with trusting(question.class_paths), sole_writer(out):
        return _Procedure(question, data, out, workers, say).run(executor)


Race = Generator[Request, Finishes | Stop, Verdict]


class _Procedure:
    """The races, the time they have, and the runs that they ask for."""

    def __init__(
        self,
        question: Question,
        data: Dataset,
        out: Path,
        workers: int,
        say: Callable[[str], None],
    ) -> None:
        self.question, self.data, self.out, self.workers = question, data, out, workers
        self.say = say
        self.root = out / "runs"
        self.began = time.monotonic()
        self.state = State.read(out / STATE, question, data.fingerprint)
        self.paces: dict[tuple[float, str], Pace] = {}
        self.refused: dict[tuple[float, str], str] = {}
        self.heats: list[Runs] = []
        self.verdicts: dict[float, Verdict] = {}
        self.done = 0

    @property
    def left(self) -> float:
        """Seconds."""
        spent = self.state.spent + time.monotonic() - self.began
        return 60 * self.question.minutes - spent

    def run(self, executor: Executor | None) -> Choice:
        """Probes, and races until all are decided or the time is over."""
        stopped = False
        with executor or Local(self.workers, fresh=self.workers == 1) as trainer:
            self.workers = trainer.at_once
            self._probe()
            races, requests = self._start()
            try:
                while requests:
                    requests = self._round(trainer, races, requests)
            except KeyboardInterrupt:
                stopped = True
                self._interrupt(races, requests)
        self.state.save(self.out / STATE, self.question, time.monotonic() - self.began)
        return Choice(
            self.question, self.state.options or {}, self.verdicts, self.heats, self.refused,
            self.state.spent, stopped,
        )  # fmt: skip

    def _probe(self) -> None:
        """The pace of every contender at every rate; who cannot run at one is refused there."""
        question, source = self.question, self.question.source
        tasks = [
            Probe(
                label, path.read_text(), self._network(rate), source, rate,
                question.batch_size,
            )
            for rate in question.rates
            for label, path in question.recipes.items()
        ]  # fmt: skip
        with Local(1, threads=threads_each(self.workers)) as here:
            outcomes = here.run(tasks, self.root, what="probes")
        for outcome in outcomes:
            key = (outcome.task.rate, outcome.task.label)
            if outcome.error is None:
                seconds = outcome.figures["seconds"] * len(self.data.train) * 1.1  # and validation
                self.paces[key] = Pace(seconds)
            else:
                self.refused[key] = outcome.error
                self.say(f"at {key[0]:g}: {key[1]} is out: {outcome.error}")

    def _network(self, rate: float) -> dict[str, object]:
        """That of all contenders at a rate."""
        features = self.data.train.features if len(self.data.shape) == 2 else None
        return network(self.data.shape, rate, features=features)

    def _start(self) -> tuple[dict[float, Race], dict[float, Request]]:
        """The races with their first requests; the time is shared out."""
        races, requests = dict[float, Race](), dict[float, Request]()
        for rate in self.question.rates:
            labels = [c for c in self.question.recipes if (rate, c) in self.paces]
            races[rate] = race(labels)
            if len(labels):
                requests[rate] = next(races[rate])
            else:
                self.verdicts[rate] = Verdict((), {}, {})
        if requests and self.state.options is None:
            self._cut(requests)
        self.state.options = self.state.options or dict(self.question.source.options)
        self._rescale()
        return races, requests

    def _cut(self, requests: Mapping[float, Request]) -> None:
        """Fewer training examples where the last heat would have too few epochs of all.

        And no more for validation and test than decide anything: every epoch is validated.
        """
        runs = sum(_expected_runs(len(request.contenders)) for request in requests.values())
        seconds = (1 - SHORT) * self.left * self.workers / runs
        slow = sorted(pace.epoch for pace in self.paces.values())[len(self.paces) // 2]
        epochs = max(seconds - Pace(0).start, 0.1 * seconds) / slow
        options = dict(self.question.source.options)
        n = len(self.data.train)
        if epochs < FEWEST and n > 4000 and "train_examples" not in options:
            options["train_examples"] = max(4000, min(n, int(round(n * epochs / FEWEST, -3))))
        if (
            "test_examples" not in options
            and max(len(self.data.validation), len(self.data.test)) > HELD
        ):
            options["test_examples"] = HELD
        self.state.options = options

    def _rescale(self) -> None:
        """Paces on the examples that are trained on."""
        assert self.state.options is not None
        n = len(self.data.train)
        share = min(n, int(str(self.state.options.get("train_examples", n)))) / n
        self.paces = {
            key: dataclasses.replace(pace, epoch=pace.epoch * share)
            for key, pace in self.paces.items()
        }

    def _round(
        self, trainer: Executor, races: Mapping[float, Race], requests: Mapping[float, Request]
    ) -> dict[float, Request]:
        """Runs what all races ask for, and gives it to them; what they ask for next."""
        heat = min(request.heat for request in requests.values())
        now = {rate: request for rate, request in requests.items() if request.heat == heat}
        epochs = self._epochs(heat, now)
        jobs = [job for rate, request in now.items() for job in self._jobs(rate, request, epochs)]
        if heat == 0 and len(self.question.rates) == 1:
            jobs += [wider(job) for job in jobs if job.seed == 0]
        longest = self._longest(now, epochs) if heat else 0  # short runs are begun to the end
        outcomes = trainer.run(
            jobs,
            self.root,
            report=lambda outcome: self._report(outcome, heat),
            go_on=lambda: self.left > longest,
            what=f"heat {heat + 1}",
        )
        self._add(heat, epochs, outcomes)
        self._learn(now, outcomes, epochs)
        self.state.save(self.out / STATE, self.question, time.monotonic() - self.began)
        self.began = time.monotonic()
        following = {rate: request for rate, request in requests.items() if rate not in now}
        for rate in now:
            found = self._finishes(rate, outcomes)
            sent = found if len(outcomes) == len(jobs) else Stop(found)
            if request := self._send(rate, races[rate], sent):
                following[rate] = request
        return following

    def _interrupt(self, races: Mapping[float, Race], requests: Mapping[float, Request]) -> None:
        """Ends all races with what was finished of their last requests."""
        for rate, request in requests.items():
            if request.heat < len(self.state.heats):
                epochs = self.state.heats[request.heat]
                jobs = self._jobs(rate, request, epochs)
                outcomes = [outcome for job in jobs if (outcome := kept(job, self.root))]
                self._add(request.heat, epochs, outcomes)
                self._send(rate, races[rate], Stop(self._finishes(rate, outcomes)))
            else:
                self._send(rate, races[rate], Stop())

    def _add(self, heat: int, epochs: int, outcomes: Sequence[Outcome[Asked]]) -> None:
        """Puts outcomes to those of their heat."""
        if len(self.heats) <= heat:
            self.heats.append(Runs(epochs))
        self.heats[heat] = Runs(epochs, [*self.heats[heat].outcomes, *outcomes])

    def _send(self, rate: float, one: Race, found: Finishes | Stop) -> Request | None:
        """What the race asks for next; None, and its verdict is known, if it has ended."""
        try:
            return one.send(found)
        except StopIteration as end:
            self.verdicts[rate] = end.value
            return None

    def _epochs(self, heat: int, requests: Mapping[float, Request]) -> int:
        """Of each run of a heat; settled when it begins, and kept."""
        if heat < len(self.state.heats):
            return self.state.heats[heat]
        if heat == 0:
            runs: float = HEATS[0].counts[-1] + (len(self.question.rates) == 1)
            share, fewest = SHORT, 1
        else:
            field = [len(request.contenders) for request in requests.values()]
            runs = sum(map(_expected_runs, field)) / sum(field)
            share, fewest = 0.95, LONGER * self.state.heats[-1]
        paces = [
            self.paces[rate, label]
            for rate, request in requests.items()
            for label in request.contenders
        ]
        seconds = share * self.left * self.workers
        epochs = affordable(paces, seconds / runs)
        if heat == 0 and epochs < 1:
            least = sum(pace.seconds(1) for pace in paces) * runs / self.workers / 60
            raise ValueError(
                f"{self.question.minutes:g} minutes are too short for one epoch of {runs:g} runs "
                f"of each of {len(paces)} contenders, which take {least:.1f}, and about three "
                f"times that are needed to decide; give --minutes {math.ceil(least / SHORT)}, or "
                "fewer recipes or rates"
            )
        self.state.heats.append(min(max(epochs, fewest), MOST_EPOCHS))
        return self.state.heats[-1]

    def _longest(self, requests: Mapping[float, Request], epochs: int) -> float:
        """Seconds of the slowest run that is asked for."""
        return max(
            self.paces[rate, label].seconds(epochs)
            for rate, request in requests.items()
            for label in request.contenders
        )

    def _jobs(self, rate: float, request: Request, epochs: int) -> list[Asked]:
        question = self.question
        assert self.state.options is not None
        options = {f"data-options.{name}": str(v) for name, v in self.state.options.items()}
        shared = settings(
            self.data.shape, self._network(rate), epochs=epochs, batch_size=question.batch_size
        )
        own = {**shared, **options, **question.settings}
        return [
            Asked(
                label, str(question.recipes[label]), question.recipes[label].read_text(),
                question.source.data, seed, own, {RATE: f"{rate:g}"},
            )
            for seed in request.seeds
            for label in request.contenders
        ]  # fmt: skip

    def _finishes(self, rate: float, outcomes: Sequence[Outcome[Asked]]) -> Finishes:
        """Brought to the rate along each contender's own slope; NaN too far from it."""
        runs = reached([outcome for outcome in outcomes if outcome.task.rate == rate])
        own = {label: known_slope(self.heats, label, rate) for label in runs}
        found: dict[str, dict[int, Finish]] = {}
        for label, by_seed in at_asked(runs, rate, own).values.items():
            for seed, quality in by_seed.items():
                run = runs[label][rate][seed]
                near = abs(math.log(run.bits / rate)) < math.log1p(FAR)
                finish = Finish(quality if near else math.nan, run.squares)
                found.setdefault(label, {})[seed] = finish
        return found

    def _learn(
        self, requests: Mapping[float, Request], outcomes: Sequence[Outcome[Asked]], epochs: int
    ) -> None:
        """The paces at which runs went, and why some did not."""
        for rate, request in requests.items():
            for label in request.contenders:
                own = [o for o in outcomes if (o.task.rate, o.task.label) == (rate, label)]
                self.paces[rate, label] = corrected(self.paces[rate, label], own, epochs)
                errors = [outcome.error for outcome in own if outcome.error]
                if errors:
                    self.refused[rate, label] = errors[0]

    def _report(self, outcome: Outcome[Asked], heat: int) -> None:
        task, figures = outcome.task, outcome.figures
        self.done += 1
        quality = figures.get("file_psnr", figures.get("file_snr", math.nan))
        said = outcome.error or (
            f"{quality:.2f} dB at {figures['file_bits_per_dimension']:.3g} bits, "
            f"{outcome.cost.seconds:.0f} s"
        )
        self.say(
            f"[{max(self.left, 0) / 60:.0f} min left] heat {heat + 1}, run {self.done}: "
            f"{task.label} at {task.rate:g}, seed {task.seed}: {said}"
        )


def _expected_runs(contenders: int) -> int:
    """Of the last heat at one rate: those at its first look, and the other seeds of finalists."""
    first = HEATS[-1].counts[0]
    return first * contenders + (EXPECTED_SEEDS - first) * min(contenders, EXPECTED_FINALISTS)
