import math
import re
import signal

import pytest
import torch

import narrows as nw
from narrows.cli import parsing
from narrows.cli.train import parser
from narrows.data import Dataset, Split
from narrows.training import RateUnreachableError
from narrows.training.loop import Loop
from tests.training.states import equal


def entropy_constrained(size=256, **learning):
    learning = {"init": "kmeans", "warmup": 60, "revive_after": None} | learning
    return nw.VectorQuantizer(
        size, 16, learning=nw.CodebookLearning(entropy_constraint=0.05, **learning)
    )


@pytest.fixture(scope="module")
def digits():
    return nw.data.load("digits")


@pytest.fixture(scope="module")
def small(digits):
    def part(split, n):
        return Split(split.images[:n])

    return Dataset("small", part(digits.train, 96), part(digits.validation, 32), digits.test)


def model_of(bottleneck, hidden=16, likelihood=None):
    torch.manual_seed(0)
    network = nw.Conv(hidden=hidden, downsamplings=1)
    return nw.Autoencoder.for_images((1, 8, 8), bottleneck, network=network, likelihood=likelihood)


def fitted(bottleneck, data, bits, **options):
    optimization = nw.Optimization(0.003, clip=1.0)
    options = {"epochs": 40, "optimization": optimization, "show": False} | options
    return nw.fit(model_of(bottleneck), data, rate=nw.Rate(bits), **options)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    "make",
    [lambda: nw.Variational(8), lambda: nw.Rounded(4), lambda: entropy_constrained(1024)],
    ids=["variational", "rounded", "entropy-constrained"],
)
def test_the_validation_rate_ends_within_2_per_cent_of_what_was_asked(make, bits, digits):
    run = fitted(make(), digits, bits)
    assert run.validation["bits_per_dimension"] == pytest.approx(bits, rel=0.02)
    assert not any("asked for" in sentence for sentence in run.advice)


def test_a_short_run_already_comes_near_what_is_asked(digits):
    run = fitted(nw.Variational(8), digits, 0.5, epochs=10)
    assert run.validation["bits_per_dimension"] == pytest.approx(0.5, rel=0.15)
    assert run.history[-1]["asked_bits_per_dimension"] == 0.5
    assert run.history[-1]["rate_weight"] == pytest.approx(run.model.beta)


def test_lambda_is_steered_where_the_choice_pays_for_bits(small):
    learning = nw.CodebookLearning(entropy_constraint=0.05)
    run = fitted(nw.VectorQuantizer(16, 16, learning=learning), small, 0.3, epochs=4)
    assert run.model.beta == 1.0
    assert run.model.bottleneck.rate_weight > 0.05
    assert run.history[-1]["rate_weight"] == pytest.approx(run.model.bottleneck.rate_weight)


def test_nothing_is_steered_before_there_are_codes(small):
    run = fitted(entropy_constrained(16), small, 0.5, epochs=2)
    assert run.history[-1]["rate_weight"] == pytest.approx(0.05)


@pytest.mark.parametrize("make", [lambda: nw.Rounded(2), lambda: entropy_constrained(8, warmup=2)])
def test_a_resumed_run_ends_bit_for_bit_alike(make, small, tmp_path, monkeypatch):
    whole = fitted(make(), small, 0.3, epochs=4)
    step, taken = Loop._step, []

    def press(self, *arguments):
        taken.append(1)
        if len(taken) == 3:
            signal.raise_signal(signal.SIGINT)
        return step(self, *arguments)

    monkeypatch.setattr(Loop, "_step", press)
    with pytest.raises(KeyboardInterrupt):
        fitted(make(), small, 0.3, epochs=4, out=tmp_path / "run")
    parts = fitted(make(), small, 0.3, epochs=4, out=tmp_path / "run", resume=True)
    assert equal(whole.model.state_dict(), parts.model.state_dict())
    assert whole.model.beta == parts.model.beta
    assert [row["rate_weight"] for row in whole.history] == [
        row["rate_weight"] for row in parts.history
    ]


@pytest.mark.parametrize("sigma", ["optimal", 0.2])
def test_accumulated_steps_steer_as_steps_of_one_batch_do(sigma, small):
    weights = []
    for batch, accumulate in ((32, 1), (8, 4)):
        engine = nw.Engine(accumulate=accumulate, accelerator="cpu")
        run = nw.fit(
            model_of(entropy_constrained(16, warmup=0, init="data"), likelihood=nw.Normal(sigma)),
            small, epochs=3, batch_size=batch, rate=nw.Rate(0.5), engine=engine, show=False,
        )  # fmt: skip
        weights.append([row["rate_weight"] for row in run.history])
    assert weights[0] == pytest.approx(weights[1], rel=1e-3)


def test_a_rate_that_the_codes_cannot_hold_is_refused_before_training(small):
    with pytest.raises(RateUnreachableError, match=r"hold at most 0\.75"):
        fitted(entropy_constrained(8), small, 0.8)


def test_a_rate_out_of_reach_stops_training_and_names_the_nearest(small):
    rate = nw.Rate(3.0, bounds=(0.5, 2.0))
    with pytest.raises(RateUnreachableError, match="nearest that this model reached is") as error:
        nw.fit(model_of(nw.Variational(1)), small, epochs=200, rate=rate, show=False)
    nearest = float(re.search(r"reached is ([\d.e-]+)", str(error.value)).group(1))
    assert 0 < nearest < 3


@pytest.mark.parametrize("bottleneck", [nw.Identity(2), nw.VectorQuantizer(8, 4)], ids=repr)
def test_a_bottleneck_without_a_rate_in_its_training_is_refused(bottleneck, small):
    with pytest.raises(TypeError, match=f"nothing to steer.*{type(bottleneck).__name__}"):
        fitted(bottleneck, small, 0.5)


def test_a_run_that_ends_elsewhere_says_so(small):
    run = fitted(nw.Variational(4), small, 3.0, epochs=1)
    assert any("asked for 3 bits per dimension, ended at" in sentence for sentence in run.advice)


def test_the_live_line_shows_asked_and_present_rate(small, capsys):
    fitted(nw.Variational(4), small, 0.5, epochs=1, show=True)
    assert re.search(r"[\d.]+ bits per dimension, asked 0\.5", capsys.readouterr().err)


def test_the_command_line_asks_for_a_rate():
    recipe = "src/narrows/recipes/rounded.yaml"
    options = ["--fit.rate", "narrows.training.Rate", "--fit.rate.bits_per_dim", "0.7"]
    config = parsing.parse(parser(), ["--config", recipe, *options])
    assert parsing.instantiate(parser(), config).fit.rate.bits_per_dim == 0.7


@pytest.mark.parametrize(
    "arguments",
    [{"bits_per_dim": 0.0}, {"bits_per_dim": math.inf}, {"speed": 0.0}, {"decay": 1.0},
     {"bounds": (2.0, 1.0)}],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="Rate: "):
        nw.Rate(**({"bits_per_dim": 1.0} | arguments))
