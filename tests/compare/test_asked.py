"""Runs for a rate that is asked for: what their files hold, how they are brought to the rate."""

import math

import numpy as np
import pytest
import torch

import narrows as nw
from narrows.cli.recipes import find
from narrows.codec import Codec
from narrows.compare.asked import (
    RATE,
    WRITTEN,
    Asked,
    Reached,
    at_asked,
    in_a_file,
    out_of_reach,
    reached,
    rounding_prior,
    slope,
    slopes,
    wider,
)
from narrows.compare.plan import Plan
from narrows.compare.run import Job
from narrows.tasks import Outcome
from narrows.training.priors.fitting import latents_under, mean_bits


@pytest.fixture(scope="module")
def data():
    return nw.data.load("digits", train_examples=300)


def trained(bottleneck, data, **settings):
    torch.manual_seed(0)
    network = nw.networks.Conv(hidden=8, downsamplings=1)
    model = nw.Autoencoder.for_images(data.shape, bottleneck, network=network)
    nw.fit(model, data, epochs=2, show=False, **settings)
    return model


def job(label="vq", rate="0.5", seed=0):
    path = find(label)
    return Asked(label, str(path), path.read_text(), "digits", seed, {}, {RATE: rate})


def ended(bits, quality):
    return Reached(bits, quality, np.ones(3))


def test_figures_are_those_of_the_file(data):
    model = trained(nw.VectorQuantizer(16, 4), data)
    found = in_a_file(model, data, rate=0.5)
    split = data.test.head(WRITTEN)
    examples = split.batch(torch.arange(len(split)))
    codec = Codec(model)
    blob = codec.compress(examples)
    bits = (8 * len(blob) - Codec.header_bits(blob)) / examples.numel()
    assert found["file_bits_per_dimension"] == pytest.approx(bits)
    back = model.decode(codec.codes(blob)).clamp(0, 1)
    mse = (back - examples).square().mean().item()
    assert found["file_mse"] == pytest.approx(mse, rel=1e-5)
    assert found["file_psnr"] == pytest.approx(-10 * math.log10(mse), rel=1e-5)
    assert found["squares"].shape == (len(split),)
    assert found["squares"].mean() == pytest.approx(mse, rel=1e-5)


def test_random_codes_are_rounded_to_the_rate(data):
    model = trained(nw.Variational(2), data)
    prior = rounding_prior(model, data, rate=0.5)
    found = mean_bits(prior, latents_under(model, data.validation, prior=prior))
    assert found / data.dimensions == pytest.approx(0.5, rel=0.02)
    measured = in_a_file(model, data, rate=0.5)
    assert measured["file_bits_per_dimension"] == pytest.approx(0.5, rel=0.1)  # other images


def test_the_command_asks_for_the_rate():
    words = job().arguments(__import__("pathlib").Path("out"))
    asked = words.index("--fit.rate.bits_per_dim")
    assert words[asked + 1] == "0.5"
    assert "--rate" not in words
    assert words[words.index("--fit.rate") + 1] == "narrows.training.Rate"


def test_runs_of_other_rates_are_other_runs():
    assert job(rate="0.5").key != job(rate="1").key
    assert wider(job(rate="0.4")).rate == 0.5
    assert isinstance(wider(job()), Asked)


def test_files_figures_stand_for_the_test_splits():
    figures = job().test_figures({"psnr": 1.0, "file_psnr": 2.0, "loss": 3.0})
    assert figures["psnr"] == 2.0
    assert figures["loss"] == 3.0


def test_a_plan_asks_every_recipe_for_every_rate():
    recipes = {label: find(label) for label in ("vq", "vae")}
    jobs = Plan(recipes, "digits", range(2), sweep={RATE: ["0.5", "1"]}).jobs()
    assert {(j.label, j.rate, j.seed) for j in jobs} == {
        (label, rate, seed) for label in recipes for rate in (0.5, 1.0) for seed in (0, 1)
    }


def test_with_one_rate_the_first_seed_gives_the_slope():
    jobs = Plan({"vq": find("vq")}, "digits", range(2), sweep={RATE: ["0.4"]}).jobs()
    assert sorted((j.rate, j.seed) for j in jobs) == [(0.4, 0), (0.4, 1), (0.5, 0)]
    assert Plan({"vq": find("vq")}, "digits", range(2)).at == []


def test_slope_is_that_between_neighbouring_rates():
    runs = {
        0.5: {0: ended(0.5, 20.0), 1: ended(0.5, 21.0)},
        1.0: {0: ended(1.0, 23.0)},
        4.0: {0: ended(4.0, 90.0)},
    }
    assert slope(runs, 0.5) == pytest.approx(3.0)  # seed 1 has no run at the other rate
    assert math.isnan(slope({0.5: runs[0.5]}, 0.5))
    falling = {0.5: {0: ended(0.5, 20.0)}, 1.0: {0: ended(1.0, 19.0)}}
    assert slope(falling, 0.5) == 0.0


def test_runs_are_brought_to_the_rate_along_their_slope():
    runs = {"a": {0.5: {0: ended(0.51, 20.0)}, 1.0: {0: ended(1.02, 23.0)}}, "b": {2.0: {}}}
    standing = at_asked(runs, 0.5, slopes(runs, 0.5))
    assert standing.values["a"][0] == pytest.approx(20.0 - 3.0 * math.log2(0.51 / 0.5))
    assert list(standing.values) == ["a"]
    assert at_asked(runs, 0.5, {}).values["a"][0] == 20.0


def test_a_rate_out_of_reach_is_no_failure(tmp_path):
    asked = Outcome(job(), tmp_path, error="narrows: asked for 9 bits per dimension, and ...")
    other = Outcome(job(), tmp_path, error="narrows: no such file")
    path = find("vq")
    plain = Job("vq", str(path), path.read_text(), "digits", 0)
    assert out_of_reach(asked)
    assert not out_of_reach(other)
    assert not out_of_reach(Outcome(plain, tmp_path, error="asked for ..."))
    assert reached([asked, other]) == {}
