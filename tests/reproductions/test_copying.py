"""Measures of copies behind the claims."""

import math

import numpy as np
import pytest
import torch

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import OMP, Identity, SparseDictionary, VectorQuantizer
from narrows.likelihoods import Bernoulli, Normal
from narrows.networks import Conv
from reproductions.copying import at_bits, epochs_to, rate_points, training_nmse
from reproductions.training import subset


def test_error_at_a_rate_lies_on_the_best_points_and_is_not_extrapolated():
    points = np.array([[10, 0.5], [20, 0.3], [15, 0.9], [40, 0.2], [40, 0.25]])
    assert at_bits(points, 10) == pytest.approx(0.5)
    assert at_bits(points, 20) == pytest.approx(0.3)  # the beaten point at 15 bends nothing
    assert 0.2 < at_bits(points, 30) < 0.3
    assert at_bits(points, 1000) == pytest.approx(0.2)
    assert at_bits(points, 1) == pytest.approx(0.5)
    assert at_bits(points[:1], 99) == 0.5


def test_epochs_to_a_level_are_counted_in_parts():
    curve = [0.8, 0.4, 0.2]
    assert epochs_to(curve, 0.8) == 1
    assert epochs_to(curve, 0.6) == pytest.approx(1.5)
    assert epochs_to(curve, 0.2) == 3
    assert epochs_to(curve, 0.9) == pytest.approx(0.5)
    assert epochs_to(curve, 0.1) == math.inf
    assert epochs_to([0.5, 0.7, 0.5], 0.6) < 1  # the first time counts


@pytest.mark.parametrize("sigma", [0.70711, "optimal"])
def test_the_nmse_behind_a_training_loss_is_that_of_the_copies(sigma):
    data = subset("digits", 64, 8)
    torch.manual_seed(0)
    model = Autoencoder(
        data.shape,
        Identity(2),
        likelihood=Normal(sigma),
        network=Conv(4, 1, residual_hidden=2, downsamplings=1),
    ).train()
    x = data.train.batch(torch.arange(64))
    loss = model.loss(x)
    expected = (loss.output - x).square().mean().item() / data.variance
    assert training_nmse(loss.nll.mean().item(), model, data) == pytest.approx(expected, rel=1e-4)


def test_a_likelihood_that_hides_its_squared_error_is_refused():
    data = subset("digits", 64, 8)
    model = Autoencoder(
        data.shape,
        Identity(2),
        likelihood=Bernoulli(),
        network=Conv(4, 1, residual_hidden=2, downsamplings=1),
    )
    with pytest.raises(TypeError, match="fixed or optimal sigma"):
        training_nmse(1.0, model, data)


def test_finer_values_cost_more_bits_and_an_index_has_one_rate():
    data = subset("digits", 128, 64)
    torch.manual_seed(0)
    model = Autoencoder(
        data.shape,
        SparseDictionary(8, 4, coder=OMP(2)),
        network=Conv(4, 1, residual_hidden=2, downsamplings=1),
    )
    before = model.prior
    points = rate_points(model.eval(), data)
    assert (np.diff(points[:, 0]) >= 0).all()
    assert points[-1, 0] > points[0, 0] + 10
    assert model.prior is before
    model = Autoencoder(
        data.shape, VectorQuantizer(8, 4), network=Conv(4, 1, residual_hidden=2, downsamplings=1)
    )
    points = rate_points(model.eval(), data)
    assert points.shape == (1, 2)
    assert points[0, 0] <= 16 * 3 + 1  # 16 sites of at most 3 bits, and half a pseudo-count
