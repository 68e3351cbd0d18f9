"""A run that was stopped, however it was, ends with the weights that it would have had."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from safetensors.torch import load_file

import narrows as nw
from narrows.bottlenecks import Identity, SparseDictionary, TopK, Variational, VectorQuantizer
from narrows.networks import Conv
from narrows.training import (
    Callback,
    CheckpointError,
    Checkpoints,
    Engine,
    OneCycle,
    Optimization,
    TrainingInterruptedError,
    WeightAverage,
)
from tests.training.states import equal

NETWORK = Conv(hidden=8, residual_layers=1, residual_hidden=4, downsamplings=1)
OFTEN = Checkpoints(seconds=0)


class Stop(Exception):  # noqa: N818
    """What a crash looks like from inside."""


class StopAfter(Callback):
    """Crashes once, after a number of steps; says nothing of it in its record."""

    steps = None

    def after_step(self, model, loss):
        if StopAfter.steps is not None:
            StopAfter.steps -= 1
            if StopAfter.steps == 0:
                StopAfter.steps = None
                raise Stop


@pytest.fixture(scope="module")
def digits():
    whole = nw.data.load("digits")
    parts = (whole.train, whole.validation, whole.test)
    train, held, test = (part.head(n) for part, n in zip(parts, (200, 60, 60), strict=True))
    return dataclasses.replace(whole, train=train, validation=held, test=test)


def _fit(data, bottleneck, out=None, resume=False, **options):
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(data.shape, bottleneck(), network=NETWORK)
    arguments = {
        "epochs": 3,
        "batch_size": 40,
        "optimization": Optimization(schedule=OneCycle(), clip=1.0),
        "callbacks": [WeightAverage(0.9), StopAfter()],
        "checkpoints": OFTEN,
        "show": False,
    }
    return nw.fit(model, data, out=out, resume=resume, **arguments | options)


BOTTLENECKS = {
    "plain": lambda: Identity(2),
    "variational": lambda: Variational(2),
    "vq": lambda: VectorQuantizer(16, 4),
    "sparse": lambda: SparseDictionary(16, 4, coder=TopK(2)),
}


@pytest.mark.parametrize("name", BOTTLENECKS)
@pytest.mark.parametrize("steps", [3, 5, 11])  # within an epoch, at its end, at the next's
def test_a_crashed_run_that_is_resumed_equals_the_uninterrupted_one(digits, tmp_path, name, steps):
    whole = _fit(digits, BOTTLENECKS[name], tmp_path / "whole")
    StopAfter.steps = steps
    with pytest.raises(Stop):
        _fit(digits, BOTTLENECKS[name], tmp_path / "stopped")
    resumed = _fit(digits, BOTTLENECKS[name], tmp_path / "stopped", resume=True)
    assert equal(whole.model.state_dict(), resumed.model.state_dict())
    assert whole.test == resumed.test
    timeless = [
        [{k: v for k, v in row.items() if k != "examples_per_second"} for row in run.history]
        for run in (whole, resumed)
    ]
    assert timeless[0] == timeless[1]
    rows = (tmp_path / "stopped" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["epoch"] for row in rows] == [1, 2, 3]


def test_another_number_of_threads_is_refused_or_accepted_by_name(digits, tmp_path):
    StopAfter.steps = 3
    with pytest.raises(Stop):
        _fit(digits, BOTTLENECKS["plain"], tmp_path / "run")
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.raises(ValueError, match=r"started with threads.*any-threads"):
            _fit(digits, BOTTLENECKS["plain"], tmp_path / "run", resume=True)
        policy = Checkpoints(seconds=0, any_threads=True)
        _fit(digits, BOTTLENECKS["plain"], tmp_path / "run", resume=True, checkpoints=policy)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("fewer", [0, 40])
def test_changed_data_are_refused_or_accepted_by_name_and_noted(digits, tmp_path, fewer):
    StopAfter.steps = 3
    with pytest.raises(Stop):
        _fit(digits, BOTTLENECKS["plain"], tmp_path / "run")
    train = digits.train.head(len(digits.train) - fewer)
    images = train.images.clone()
    images[0, 0, 0, 0] = 16
    changed = dataclasses.replace(digits, train=dataclasses.replace(train, images=images))
    with pytest.raises(ValueError, match=r"started with data\..*--accept-changed-data"):
        _fit(changed, BOTTLENECKS["plain"], tmp_path / "run", resume=True)
    policy = Checkpoints(seconds=0, changed_data=True)
    run = _fit(changed, BOTTLENECKS["plain"], tmp_path / "run", resume=True, checkpoints=policy)
    assert "resumed in epoch 1 with other data" in run.advice[0]
    assert changed.fingerprint in run.advice[0]
    assert digits.fingerprint in run.advice[0]
    assert nw.training.Run.load(tmp_path / "run").advice == run.advice


def test_a_run_killed_at_random_moments_equals_the_uninterrupted_one(tmp_path):
    """Real processes, `kill -9`, several times, until one comes to its end."""
    script = """
import os, random, signal, sys, time
from pathlib import Path
import torch
import narrows as nw
from narrows.bottlenecks import VectorQuantizer
from narrows.networks import Conv
from narrows.training import Checkpoints, Engine, EarlyStopping, WeightAverage

torch.set_num_threads(1)
data = nw.data.load("digits")

def train(out):
    torch.manual_seed(0)
    network = Conv(hidden=8, residual_layers=1, residual_hidden=4, downsamplings=1)
    model = nw.Autoencoder.for_images(data.shape, VectorQuantizer(16, 4), network=network)
    nw.fit(model, data, epochs=2, batch_size=16, engine=Engine(accumulate=2), show=False,
           callbacks=[WeightAverage(), EarlyStopping(9)], checkpoints=Checkpoints(seconds=0),
           out=out, resume=True)

def child(out):
    pid = os.fork()
    if pid == 0:
        try:
            train(out)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return pid

assert os.waitpid(child(sys.argv[1]), 0)[1] == 0
checkpoints = Path(sys.argv[2]) / "checkpoints"

def newest():
    stamps = []
    for path in checkpoints.glob("*"):
        try:
            stamps.append(path.stat().st_mtime_ns)
        except FileNotFoundError:
            pass  # renamed meanwhile
    return max(stamps, default=0)

kills, status = 0, None
while kills < 4 and status != 0:
    pid, moment = child(sys.argv[2]), random.Random(kills)
    # By progress and not by time: after some checkpoints, and then a little into whatever comes.
    left, last, ended = moment.randint(1, 10), newest(), 0
    while left and not ended:
        time.sleep(0.0005)
        left, last = (left, last) if newest() == last else (left - 1, newest())
        ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        time.sleep(moment.uniform(0, 0.01))
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    assert status == 0 or os.WIFSIGNALED(status), status
    kills += status != 0
if status != 0:
    assert os.waitpid(child(sys.argv[2]), 0)[1] == 0
print("kills", kills)
"""
    folders = [str(tmp_path / name) for name in ("whole", "killed")]
    done = subprocess.run(
        [sys.executable, "-c", script, *folders], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[-1]) >= 2, done.stdout
    files = [tmp_path / name / "model.safetensors" for name in ("whole", "killed")]
    assert equal(*map(load_file, files))
    figures = [
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "killed")
    ]
    for figure in figures:  # the history holds times
        del figure["history"], figure["checksum"]
    assert figures[0] == figures[1]


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(digits, tmp_path):
    class Press(Callback):
        def after_step(self, model, loss):
            if not (tmp_path / "pressed").exists():
                (tmp_path / "pressed").touch()
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    options = {"callbacks": [Press()], "checkpoints": Checkpoints(seconds=1e9)}
    with pytest.raises(KeyboardInterrupt, match=r"after optimiser step 1, .* --resume ") as caught:
        _fit(digits, BOTTLENECKS["vq"], tmp_path / "run", **options)
    assert caught.type is TrainingInterruptedError
    assert signal.getsignal(signal.SIGINT) is before
    resumed = _fit(digits, BOTTLENECKS["vq"], tmp_path / "run", resume=True, **options)
    whole = _fit(digits, BOTTLENECKS["vq"], **options)
    assert equal(whole.model.state_dict(), resumed.model.state_dict())


def test_a_second_ctrl_c_does_not_wait(digits):
    class Press(Callback):
        def after_step(self, model, loss):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    # A process that a shell started in the background ignores SIGINT until told otherwise.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            _fit(digits, BOTTLENECKS["plain"], callbacks=[Press()])
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught.type is KeyboardInterrupt


def test_training_in_another_thread_leaves_signals_alone(digits):
    runs = []
    thread = threading.Thread(
        target=lambda: runs.append(_fit(digits, BOTTLENECKS["plain"], epochs=1))
    )
    thread.start()
    thread.join()
    assert len(runs) == 1


def test_a_damaged_checkpoint_is_refused_and_the_previous_leads_to_the_same_end(digits, tmp_path):
    StopAfter.steps = 9
    with pytest.raises(Stop):
        _fit(digits, BOTTLENECKS["vq"], tmp_path)
    last = tmp_path / "checkpoints" / "last.safetensors"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"truncated.*'previous' is whole"):
        _fit(digits, BOTTLENECKS["vq"], tmp_path, resume=True)
    resumed = _fit(digits, BOTTLENECKS["vq"], tmp_path, resume="previous")
    whole = _fit(digits, BOTTLENECKS["vq"])
    assert equal(whole.model.state_dict(), resumed.model.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 50}, "batch_size = 40, now it is 50"),
        ({"seed": 1}, "seed = 0, now it is 1"),
        ({"epochs": 5}, "epochs = 3, now it is 5"),
        ({"engine": Engine(accumulate=2)}, "accumulate = None|engine"),
    ],
)
def test_other_settings_are_refused_by_name(digits, tmp_path, change, message):
    StopAfter.steps = 2
    with pytest.raises(Stop):
        _fit(digits, BOTTLENECKS["plain"], tmp_path)
    with pytest.raises(ValueError, match=message):
        _fit(digits, BOTTLENECKS["plain"], tmp_path, resume=True, **change)


def test_a_finished_run_is_not_resumed_and_an_unstarted_one_starts(digits, tmp_path):
    _fit(digits, BOTTLENECKS["plain"], tmp_path / "run", resume=True, epochs=1)
    with pytest.raises(ValueError, match="is finished"):
        _fit(digits, BOTTLENECKS["plain"], tmp_path / "run", resume=True, epochs=1)
    with pytest.raises(ValueError, match="resume needs out"):
        _fit(digits, BOTTLENECKS["plain"], resume=True)


def test_the_best_epochs_weights_are_kept(digits, tmp_path):
    run = _fit(digits, BOTTLENECKS["plain"], tmp_path, callbacks=[])
    best = nw.training.checkpoint.load_checkpoint(tmp_path / "checkpoints", "best")
    losses = [row["validation_loss"] for row in run.history]
    assert best["row"]["validation_loss"] == min(losses)
    run.model.load_state_dict(best["model"])
    figures = nw.evaluate(run.model, digits.validation, variance=digits.variance)
    assert figures["nmse"] == pytest.approx(best["row"]["validation_nmse"], rel=1e-6)


def test_checkpoints_are_not_written_more_often_than_asked(digits, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        nw.training.checkpoint_writer,
        "save_checkpoint",
        lambda *a: written.append(time.monotonic()),
    )
    _fit(digits, BOTTLENECKS["plain"], tmp_path, checkpoints=Checkpoints(seconds=1e9))
    assert len(written) == 2  # at the end: the best and the last
    assert os.listdir(tmp_path)


def test_a_run_does_not_go_on_with_data_of_other_content(digits, tmp_path):
    StopAfter.steps = 7
    with pytest.raises(Stop):
        _fit(digits, Variational2, tmp_path)
    for part in ("train", "validation", "test"):
        images = getattr(digits, part).images.clone()
        images[3, 0, 2, 2] ^= 1
        split = dataclasses.replace(getattr(digits, part), images=images)
        with pytest.raises(ValueError, match=r"data.content = '\w{16}', now it is"):
            _fit(dataclasses.replace(digits, **{part: split}), Variational2, tmp_path, resume=True)
    assert len(_fit(digits, Variational2, tmp_path, resume=True).history) == 3


def Variational2():  # noqa: N802
    return Variational(2)
