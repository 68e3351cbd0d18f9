"""Early stopping, weight averages and loggers: what a run writes and ends with."""

import dataclasses
import json
import sys

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import Identity, VectorQuantizer
from narrows.networks import Mlp
from narrows.training import (
    Callback,
    EarlyStopping,
    Frozen,
    TensorBoard,
    WeightAverage,
    WeightsAndBiases,
)
from tests.training.states import equal


@pytest.fixture(scope="module")
def digits():
    whole = nw.data.load("digits")
    parts = (whole.train.head(120), whole.validation.head(40), whole.test.head(40))
    return dataclasses.replace(whole, train=parts[0], validation=parts[1], test=parts[2])


def fitted(data, bottleneck=lambda: Identity(2), **options):
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(data.shape, bottleneck(), network=Mlp([16]))
    arguments = {"epochs": 3, "batch_size": 40, "show": False} | options
    return nw.fit(model, data, **arguments)


def snapshot(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


class Weights(Callback):
    """Keeps the weights after every step and every epoch."""

    def __init__(self):
        self.steps, self.epochs = [], []

    def begin(self, model, folder):
        self.first = snapshot(model)

    def after_step(self, model, loss):
        self.steps.append(snapshot(model))

    def after_epoch(self, model, row):
        self.epochs.append(snapshot(model))
        return False


class Scripted(Callback):
    """Puts a made-up measure into each epoch's row, before those who read it."""

    def __init__(self, values):
        self.values = values

    def after_epoch(self, model, row):
        row["made_up"] = self.values[int(row["epoch"]) - 1]
        return False


@pytest.mark.parametrize(
    ("values", "measure", "epochs", "best"),
    [
        ([5, 4, 4.5, 4.2, 1, 0], "made_up", 4, 2),  # two epochs without improvement end it
        ([5, 4, 4.5, 3, 3.5, 2], "made_up", 6, 6),  # one does not
        ([1, 2, 2, 1, 9, 9], "-made_up", 4, 2),  # the largest is wanted; equal is no improvement
        ([5, float("nan"), float("nan"), 1, 1, 1], "made_up", 3, 1),
    ],
)
def test_early_stopping_waits_its_patience_and_goes_back(digits, values, measure, epochs, best):
    kept = Weights()
    callbacks = [kept, Scripted(values), EarlyStopping(patience=2, measure=measure)]
    run = fitted(digits, epochs=6, callbacks=callbacks)
    assert len(run.history) == epochs
    final = {k: v for k, v in run.model.state_dict().items() if not k.startswith("prior")}
    expected = {k: v for k, v in kept.epochs[best - 1].items() if not k.startswith("prior")}
    assert equal(dict(final), expected)


def test_early_stopping_on_a_measure_that_is_not_there_names_those_that_are(digits):
    with pytest.raises(ValueError, match=r"no measure 'validaton_loss'; this run has .*nmse"):
        fitted(digits, callbacks=[EarlyStopping(measure="validaton_loss")])


def test_the_weight_average_is_the_recursion_over_every_step(digits):
    kept, decay = Weights(), 0.7
    run = fitted(digits, lambda: VectorQuantizer(4, 2), callbacks=[kept, WeightAverage(decay)])
    names = [name for name, _ in run.model.named_parameters()]
    average = {name: kept.first[name].double() for name in names}
    for step, weights in enumerate(kept.steps):
        d = min(decay, (1 + step) / (10 + step))
        average = {n: d * average[n] + (1 - d) * weights[n].double() for n in names}
    final = run.model.state_dict()
    for name in names:
        torch.testing.assert_close(final[name].double(), average[name], rtol=1e-5, atol=1e-6)
    for name, buffer in run.model.bottleneck.named_buffers():  # the codebook is an average already
        assert torch.equal(buffer, kept.steps[-1][f"bottleneck.{name}"]), name


def test_validation_sees_the_averaged_weights_and_training_goes_on_with_its_own(digits):
    kept = Weights()
    run = fitted(digits, epochs=1, callbacks=[WeightAverage(0.7), kept])
    assert run.history[-1]["validation_nmse"] == pytest.approx(run.validation["nmse"], rel=0.2)
    own = fitted(digits, epochs=1)
    assert run.history[-1]["validation_nll"] != own.history[-1]["validation_nll"]
    assert equal(kept.epochs[-1], kept.steps[-1])


def test_jsonl_and_tensorboard_hold_the_runs_history(digits, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fitted(digits, callbacks=[TensorBoard()], out=tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == run.history
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(run.history[0]) - {"epoch"}
    for name in events.Tags()["scalars"]:
        read = [(event.step, event.value) for event in events.Scalars(name)]
        wanted = [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in run.history]
        assert read == wanted, name


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("wandb", WeightsAndBiases, "wandb"),
        ("torch.utils.tensorboard.writer", TensorBoard, "tensorboard"),
    ],
)
def test_a_logger_that_is_not_installed_says_so_before_training(
    digits, tmp_path, monkeypatch, module, make, extra
):
    monkeypatch.setitem(sys.modules, module, None)
    kept = Weights()
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'narrows\[{extra}\]'"):
        fitted(digits, callbacks=[make(), kept], out=tmp_path / "run")
    assert not kept.steps


def test_weights_and_biases_is_given_every_row(digits, tmp_path, monkeypatch):
    """Against a stand-in with its three calls: the real one is not among the test's packages."""
    import types

    class Session:
        rows, finished = [], False

        def log(self, row, step):
            self.rows.append((step, row))

        def finish(self):
            self.finished = True

    session, asked = Session(), {}
    stand_in = types.ModuleType("wandb")
    stand_in.init = lambda **options: asked.update(options) or session
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    run = fitted(digits, callbacks=[WeightsAndBiases("shapes")], out=tmp_path / "run")
    assert session.rows == [(row["epoch"], row) for row in run.history]
    assert session.finished
    assert (asked["project"], asked["name"], asked["mode"]) == ("shapes", "run", "offline")


def test_a_frozen_dictionary_stays_whatever_the_rest_learns(digits):
    began = []

    class Begin(Callback):
        def begin(self, model, _folder, /):
            began.append(snapshot(model))

    def bottleneck():
        return nw.SparseDictionary(16, 8, coder=nw.OMP(2))

    run = fitted(digits, bottleneck, callbacks=[Begin(), Frozen()])
    after = run.model.state_dict()
    assert torch.equal(after["bottleneck.dictionary"], began[0]["bottleneck.dictionary"])
    changed = [name for name, _ in run.model.named_parameters() if "dictionary" not in name]
    assert not any(torch.equal(after[name], began[0][name]) for name in changed)
    with pytest.raises(ValueError, match=r"no parameter 'bottleneck.atoms'; it has encoder"):
        fitted(digits, bottleneck, callbacks=[Frozen("bottleneck.atoms")])
