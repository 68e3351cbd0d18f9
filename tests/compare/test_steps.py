"""Rounding a code more coarsely costs quality and saves bits; other codes have no step."""

import pytest
import torch

import narrows as nw
from narrows.compare.sweeps import measured_at_steps, with_step


@pytest.fixture(scope="module")
def data():
    return nw.data.load("digits", train_examples=300, test_examples=100)


def fitted(data, bottleneck):
    torch.manual_seed(0)
    network = nw.networks.Conv(hidden=8, residual_layers=0, downsamplings=1)
    model = nw.Autoencoder.for_images(data.shape, bottleneck, network=network)
    return nw.fit(model, data, epochs=3, show=False).model


@pytest.mark.parametrize("kind", ["plain", "sparse"])
def test_bits_fall_and_errors_rise_with_the_step(data, kind):
    code = nw.bottlenecks.TopK(2)
    bottleneck = {
        "plain": lambda: nw.bottlenecks.Identity(2),
        "sparse": lambda: nw.bottlenecks.SparseDictionary(16, 4, coder=code),
    }[kind]()
    model = fitted(data, bottleneck)
    prior = model.prior
    found = measured_at_steps(model, data, [0.5, 1.0, 4.0])
    assert model.prior is prior, "measuring must leave the model as it was"
    assert set(found) == {0.5, 4.0}, "a factor of 1 is the run's own evaluation"
    bits = {factor: figures["bits_per_example"] for factor, figures in found.items()}
    own = nw.training.evaluate(model, data.test, variance=data.variance)
    assert bits[0.5] > own["bits_per_example"] > bits[4.0]
    assert found[4.0]["mse"] > own["mse"]


def test_a_step_is_kept_in_units_of_the_first(data):
    model = fitted(data, nw.bottlenecks.Identity(2))
    before = model.prior.steps.clone()
    assert with_step(model, 2.0, data.train)
    assert torch.allclose(model.prior.steps, 2 * before)


def test_an_integer_code_has_no_step(data):
    model = fitted(data, nw.bottlenecks.VectorQuantizer(8, 4))
    prior = model.prior
    assert measured_at_steps(model, data, [0.5, 2.0]) == {}
    assert not with_step(model, 2.0, data.train)
    assert model.prior is prior
