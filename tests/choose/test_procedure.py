"""The procedure, over runs whose figures are made up: time, order, what is kept, what is said."""

import dataclasses
import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest

import narrows as nw
from narrows.choose import procedure
from narrows.choose.answer import command, gains, sentences, summary
from narrows.choose.clock import Pace, affordable, corrected
from narrows.choose.page import rows, write
from narrows.choose.procedure import choose
from narrows.choose.question import Question
from narrows.choose.settings import network
from narrows.cli.recipes import find
from narrows.compare.asked import SQUARES, Asked
from narrows.compare.bench import Source
from narrows.saving.writing import read_json, write_json
from narrows.tasks import Cost, Executor, Outcome
from narrows.tasks.task import keep

RECIPES = ("vae", "rounded", "vq-entropy")
QUALITY = {"vae": 20.5, "rounded": 21.0, "vq-entropy": 20.4}


class Scripted(Executor):
    """Gives every run the quality that is written here, and a little chance; trains nothing."""

    def __init__(
        self, quality, *, noise=0.05, seconds=2.0, fail=(), interrupt_after=None, run=None
    ):
        super().__init__(1)
        self.quality, self.noise, self.seconds = quality, noise, seconds
        self.fail, self.after, self.model = fail, interrupt_after, run
        self.jobs = []

    def __exit__(self, *_):
        pass

    def compute(self, task, root):
        if self.after is not None and len(self.jobs) >= self.after:
            raise KeyboardInterrupt
        self.jobs.append(task)
        folder = task.folder(root)
        folder.mkdir(parents=True)
        if task.label in self.fail:
            return Outcome(task, folder, error="narrows: it does not work")
        rng = np.random.default_rng([task.seed, sum(map(ord, task.label)), int(100 * task.rate)])
        epochs = int(task.settings["fit.epochs"])
        quality = self.quality[task.label] + 3 * math.log2(task.rate) - 4 / epochs
        quality += rng.normal(0, self.noise)
        result = {
            "file_bits_per_dimension": task.rate * 1.01,
            "file_psnr": quality + 3 * math.log2(1.01),
            "file_nmse": 10 ** (-quality / 10),
            "file_mse": 10 ** (-quality / 10),
            SQUARES: np.full(4, 10 ** (-quality / 10)),
        }
        if self.model is not None:
            self.model.save(folder / "run")
        outcome = Outcome(task, folder, result, Cost(seconds=self.seconds))
        keep(outcome)
        return outcome


@pytest.fixture(autouse=True)
def probed(monkeypatch):
    """Probes take no time, and say so; what they do is tested by itself."""
    from narrows.choose.clock import Probe

    monkeypatch.setattr(Probe, "run", lambda self, folder: {"seconds": 1e-3})


@pytest.fixture(scope="module")
def data():
    return nw.data.load("digits", train_examples=500)


def question(rates=(0.5,), minutes=10.0, recipes=RECIPES, **more):
    source = Source("digits", {"train_examples": 500})
    return Question({label: find(label) for label in recipes}, source, rates, minutes, **more)


def chosen(executor, data, out, **asked):
    said = []
    return choose(question(**asked), data, out=out, say=said.append, executor=executor), said


def test_the_best_is_found_and_named(data, tmp_path):
    executor = Scripted(QUALITY)
    choice, said = chosen(executor, data, tmp_path)
    verdict = choice.verdicts[0.5]
    assert verdict.best == "rounded"
    first, train, *_ = sentences(choice)
    assert "At 0.5 bits per dimension use rounded" in first
    assert "ahead of vae" in first
    assert "95% sure" in first
    assert train.startswith("Train it: narrows train rounded --data digits --fit.epochs ")
    assert "--fit.rate.bits_per_dim 0.5" in train
    assert len(said) == len(executor.jobs)


def test_short_runs_come_first_and_drop_who_is_far_behind(data, tmp_path):
    executor = Scripted({"vae": 15.0, "rounded": 21.0, "vq-entropy": 14.0}, noise=0.02)
    choice, _ = chosen(executor, data, tmp_path)
    short, long = (heat.epochs for heat in choice.heats)
    assert long >= 2 * short
    of_long = {j.label for j in executor.jobs if j.settings["fit.epochs"] == str(long)}
    assert of_long == {"rounded"}
    wide = [j for j in executor.jobs if j.rate == 0.625]
    assert {j.label for j in wide} == {*RECIPES}
    assert {j.seed for j in wide} == {0}


def test_near_contenders_run_seed_after_seed_and_pair(data, tmp_path):
    near = {"vae": 20.9, "rounded": 21.0, "vq-entropy": 20.95}
    choice, _ = chosen(Scripted(near, noise=1.0), data, tmp_path)
    verdict = choice.verdicts[0.5]
    assert len(verdict.ranking) > 1
    seeds = {label: set(by_seed) for label, by_seed in verdict.finishes.items()}
    assert all(len(found) > 2 for found in seeds.values())
    assert "It is not decided" in sentences(choice)[0]


def test_equals_are_called_equals(data, tmp_path):
    same = dict.fromkeys(RECIPES, 21.0)
    choice, _ = chosen(Scripted(same, noise=0.001), data, tmp_path)
    assert choice.verdicts[0.5].ended
    assert "none is better by more than 0.0" in sentences(choice)[0]


def test_several_rates_have_their_own_answers(data, tmp_path):
    executor = Scripted(QUALITY)
    choice, _ = chosen(executor, data, tmp_path, rates=(0.5, 1.0))
    assert {rate: v.best for rate, v in choice.verdicts.items()} == {0.5: "rounded", 1.0: "rounded"}
    assert {j.rate for j in executor.jobs} == {0.5, 1.0}
    assert choice.slope("rounded", 0.5) == pytest.approx(3.0, abs=0.3)


def test_qualities_are_those_at_the_rate_asked(data, tmp_path):
    choice, _ = chosen(Scripted(QUALITY, noise=0.0), data, tmp_path)
    # 1 % more bits at 3 dB a doubling are taken off again
    quality = next(iter(choice.verdicts[0.5].finishes["rounded"].values())).quality
    assert quality == pytest.approx(21.0 - 3 - 4 / choice.heats[-1].epochs, abs=1e-6)


def test_a_failing_recipe_is_counted_and_shown_and_stops_nothing(data, tmp_path):
    choice, _ = chosen(Scripted(QUALITY, fail=("vae",)), data, tmp_path)
    assert choice.verdicts[0.5].best == "rounded"
    assert choice.refused[0.5, "vae"] == "narrows: it does not work"


def test_all_fail(data, tmp_path):
    choice, _ = chosen(Scripted(QUALITY, fail=RECIPES), data, tmp_path)
    assert choice.verdicts[0.5].ranking == ()
    assert "there is no answer: vae: narrows: it does not work" in sentences(choice)[0]
    assert summary(choice)["races"][0]["decided"] is None


def test_a_probe_that_fails_keeps_the_contender_out(data, tmp_path, monkeypatch):
    from narrows.choose.clock import Probe

    def run(self, folder):
        if self.label == "rounded":
            raise ValueError("asked for more than it holds")
        return {"seconds": 1e-3}

    monkeypatch.setattr(Probe, "run", run)
    executor = Scripted(QUALITY)
    choice, said = chosen(executor, data, tmp_path)
    assert choice.verdicts[0.5].best == "vae"
    assert "rounded" not in {j.label for j in executor.jobs}
    assert said[0] == "at 0.5: rounded is out: ValueError: asked for more than it holds"


def test_stopped_it_gives_the_best_answer_so_far_and_goes_on_from_there(data, tmp_path):
    first = Scripted(QUALITY, interrupt_after=5)
    choice, _ = chosen(first, data, tmp_path)
    assert choice.stopped
    assert choice.verdicts[0.5].ranking[0] == "rounded"
    assert "the same command goes on" in sentences(choice)[-1]
    second = Scripted(QUALITY)
    again, _ = chosen(second, data, tmp_path)
    assert again.verdicts[0.5].best == "rounded"
    assert not {j.key for j in first.jobs} & {j.key for j in second.jobs}


def test_the_same_question_again_runs_nothing(data, tmp_path):
    choice, _ = chosen(Scripted(QUALITY), data, tmp_path)
    nothing = Scripted(QUALITY, interrupt_after=0)
    again, _ = chosen(nothing, data, tmp_path)
    assert again.verdicts[0.5].ranking == choice.verdicts[0.5].ranking
    assert not again.stopped
    assert nothing.jobs == []


def test_with_the_time_spent_what_was_run_still_answers(data, tmp_path):
    choice, _ = chosen(Scripted(QUALITY), data, tmp_path)
    state = read_json(tmp_path / "choose.json", "")
    write_json(tmp_path / "choose.json", {**state, "spent": 600.0})
    nothing = Scripted(QUALITY, interrupt_after=0)
    again, _ = chosen(nothing, data, tmp_path)
    assert again.verdicts[0.5].leads == choice.verdicts[0.5].leads
    assert nothing.jobs == []


def test_another_question_in_the_same_folder_is_refused(data, tmp_path):
    chosen(Scripted(QUALITY), data, tmp_path)
    with pytest.raises(ValueError, match="the answer to another question; give another --out"):
        chosen(Scripted(QUALITY), data, tmp_path, rates=(0.7,))


def test_another_content_of_the_data_in_the_same_folder_is_refused(data, tmp_path):
    chosen(Scripted(QUALITY), data, tmp_path)
    fewer = dataclasses.replace(data, test=data.test.head(9))
    with pytest.raises(ValueError, match="digits has changed since; give another --out"):
        chosen(Scripted(QUALITY), fewer, tmp_path)


def test_too_little_time_says_how_much_is_needed(data, tmp_path, monkeypatch):
    from narrows.choose.clock import Probe

    monkeypatch.setattr(Probe, "run", lambda self, folder: {"seconds": 1.0})
    with pytest.raises(ValueError, match=r"0.5 minutes are too short .* give --minutes \d+"):
        chosen(Scripted(QUALITY), data, tmp_path, minutes=0.5)


def test_time_that_runs_out_ends_it(data, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(procedure, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    class Slow(Scripted):
        def compute(self, task, root):
            clock[0] += 20.0
            return super().compute(task, root)

    near = {"vae": 20.9, "rounded": 21.0, "vq-entropy": 20.95}
    executor = Slow(near, noise=0.5, seconds=20.0)
    choice, _ = chosen(executor, data, tmp_path, minutes=8)
    verdict = choice.verdicts[0.5]
    assert not verdict.ended
    assert choice.seconds <= 8 * 60
    assert 9 + 6 <= len(executor.jobs) < 9 + 24  # what a race that is not stopped would run
    assert json.loads((tmp_path / "choose.json").read_text())["spent"] == choice.seconds


def test_slow_data_are_cut_so_that_a_rate_can_be_steered(tmp_path, data, monkeypatch):
    from narrows.choose.clock import Probe

    monkeypatch.setattr(Probe, "run", lambda self, folder: {"seconds": 1e-3})
    whole = Question({"vae": find("vae")}, Source("digits", {}), (0.5,), 10.0)
    made = procedure._Procedure(whole, data, tmp_path, 1, print)
    images = np.zeros((40_000, 1, 8, 8), np.float32)
    images[::2] = 1
    made.data = nw.data.from_array(images)
    made._probe()
    made._start()
    assert 4000 <= made.state.options["train_examples"] < 36_000
    assert made.state.options["test_examples"] == procedure.HELD


def test_data_that_teach_nothing_are_refused(data, tmp_path):
    one = dataclasses.replace(data, train=data.train.head(1))
    with pytest.raises(ValueError, match=r"1 training examples .* nothing to learn from"):
        choose(question(), one, out=tmp_path)


def test_page_and_figures(data, tmp_path):
    model = nw.Autoencoder.for_images(data.shape, nw.VectorQuantizer(16, 4))
    choice, _ = chosen(Scripted(QUALITY, run=model), data, tmp_path)
    folder = tmp_path / "page"
    page = write(choice, data, out=folder, command="narrows choose")
    text = page.read_text()
    assert "use rounded" in text
    assert "<details>" in text
    assert (folder / "report.md").is_file()
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["races"][0]["decided"] == "rounded"
    assert len(rows(choice)) == sum(len(heat.outcomes) for heat in choice.heats)
    assert len((folder / "results.csv").read_text().splitlines()) == len(rows(choice)) + 1


def test_who_still_improves_is_said(data, tmp_path):
    class Learning(Scripted):
        def compute(self, task, root):
            self.quality = {
                label: quality + (0.5 * math.log2(int(task.settings["fit.epochs"])))
                for label, quality in QUALITY.items()
            }
            return super().compute(task, root)

    choice, _ = chosen(Learning(QUALITY, noise=0.01), data, tmp_path)
    found = gains(choice, 0.5, choice.verdicts[0.5])
    assert found["rounded"] > 0.5
    said = sentences(choice)[0]
    assert re.search("Still improving with each doubling of the epochs: .*rounded", said)
    assert command(choice, 0.5, "rounded").startswith("narrows train rounded --data digits ")


def test_where_long_runs_were_no_longer_nothing_is_said_to_be_settled(data, tmp_path, monkeypatch):
    monkeypatch.setattr(procedure, "MOST_EPOCHS", 3)
    choice, _ = chosen(Scripted(QUALITY), data, tmp_path)
    assert [heat.epochs for heat in choice.heats] == [3, 3]
    assert "All runs had 3 epochs: whether longer ones change the order" in sentences(choice)[0]


@pytest.mark.parametrize(
    ("shape", "rate", "halvings"),
    [((1, 8, 8), 0.5, 1), ((1, 28, 28), 0.5, 2), ((1, 28, 28), 1.0, 1), ((3, 32, 32), 0.15, 2),
     ((3, 32, 32), 2.0, 1), ((3, 64, 64), 0.03, 3)],
)  # fmt: skip
def test_the_network_leaves_room_for_the_rate(shape, rate, halvings):
    made = network(shape, rate)
    assert made["init_args"]["downsamplings"] == halvings


def test_sequences_have_a_network_along_time():
    assert network((1, 256), 0.5, features=0)["init_args"]["downsamplings"] == 4
    assert network((16, 256), 0.5, features=0)["init_args"]["downsamplings"] == 1
    assert network((64, 7), 0.1, features=1) == {
        "class_path": "narrows.networks.Transformer", "init_args": {"patch": 8},
    }  # fmt: skip


def test_vectors_have_the_default_network():
    assert network((20,), 0.5) == {}


def test_epochs_that_a_time_allows():
    assert affordable([Pace(2.0, 10.0), Pace(3.0, 10.0)], 70.0) == 10
    assert affordable([Pace(2.0, 10.0)], 5.0) == 0
    assert affordable([], 5.0) == 0


def test_paces_follow_what_runs_took(tmp_path):
    path = find("vq")
    task = Asked("vq", str(path), path.read_text(), "digits", 0, {}, {"rate": "1"})
    done = [Outcome(task, tmp_path, cost=Cost(seconds=30.0)), Outcome(task, tmp_path, error="no")]
    assert corrected(Pace(1.0, 10.0), done, 5) == Pace(4.0, 10.0)
    assert corrected(Pace(1.0, 10.0), done[1:], 5) == Pace(1.0, 10.0)
