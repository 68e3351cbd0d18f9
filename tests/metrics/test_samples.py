"""Measures of samples: on real examples, copies, noise and half of the classes."""

import numpy as np
import pytest
import torch

from narrows.metrics.nearest import nearest, novelty
from narrows.metrics.samples import (
    against_floor,
    frechet_distance,
    kid,
    one_nearest_neighbour_accuracy,
    precision_recall,
)


def normal(n, d=8, seed=0, mean=0.0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return mean + scale * torch.randn(n, d, dtype=torch.float64, generator=generator)


def test_kid_is_unbiased_where_the_frechet_distance_is_not():
    pairs = [(normal(60, seed=2 * i), normal(60, seed=2 * i + 1)) for i in range(200)]
    kids = np.array([kid(*pair) for pair in pairs])
    frechets = np.array([frechet_distance(*pair) for pair in pairs])
    assert abs(kids.mean()) < 4 * kids.std() / len(kids) ** 0.5
    assert frechets.mean() > 100 * abs(kids.mean())
    assert frechets.min() > 0.3


def test_kid_is_the_sum_over_all_pairs():
    a, b = normal(5, 3), normal(4, 3, seed=1, mean=0.5)

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    def mean(values):
        return sum(values) / len(values)

    expected = (
        mean([kernel(a[i], a[j]) for i in range(5) for j in range(5) if i != j])
        + mean([kernel(b[i], b[j]) for i in range(4) for j in range(4) if i != j])
        - 2 * mean([kernel(x, y) for x in a for y in b])
    )
    assert kid(a, b) == pytest.approx(expected.item())


def test_the_frechet_distance_is_scipys_and_that_of_normals_in_closed_form():
    from scipy.linalg import sqrtm

    a, b = normal(40, 4), normal(50, 4, seed=1, mean=0.3, scale=2.0)
    c, d = np.cov(a.numpy().T), np.cov(b.numpy().T)
    expected = (a.mean(0) - b.mean(0)).square().sum().item()
    expected += np.trace(c + d - 2 * sqrtm(c @ d).real)
    assert frechet_distance(a, b) == pytest.approx(expected)
    # Of one set shifted and scaled about its mean m: |shift|^2 + (scale - 1)^2 tr C.
    moved = (a - a.mean(0)) * 3 + a.mean(0) + 0.5
    assert frechet_distance(a, moved) == pytest.approx(4 * 0.25 + 4 * np.trace(c))


def test_real_examples_lie_on_the_floor_and_worse_samples_further_above():
    real = normal(800)
    for measure in (kid, frechet_distance):
        same, floor = against_floor(measure, normal(400, seed=5), real=real)
        near, _ = against_floor(measure, normal(400, seed=5, mean=0.2), real=real)
        far, _ = against_floor(measure, normal(400, seed=5, mean=1.0), real=real)
        assert abs(same - floor) < 0.2 * near
        assert near < 0.2 * far


def test_half_of_the_classes_have_perfect_precision_and_half_the_recall():
    generator = torch.Generator().manual_seed(0)
    centres = 20 * torch.randn(10, 8, dtype=torch.float64, generator=generator)
    real = centres.repeat(40, 1) + normal(400)
    every = centres.repeat(40, 1) + normal(400, seed=1)
    half = centres[:5].repeat(80, 1) + normal(400, seed=1)
    noise = normal(400, seed=1, scale=500)
    perfect, dropped, useless = (precision_recall(s, real) for s in (every, half, noise))
    assert min(perfect.values()) > 0.85
    assert dropped["precision"] > 0.85
    assert 0.3 < dropped["recall"] < 0.6
    assert 0.3 < dropped["coverage"] <= 0.5
    assert useless["precision"] == useless["density"] == useless["coverage"] == 0


def test_one_outlier_misleads_recall_but_not_coverage():
    # Samples collapsed to a point, but for one ring of outliers with enormous balls.
    real = normal(200)
    collapsed = normal(200, seed=1, scale=0.01)
    collapsed[:5] = normal(5, seed=2, scale=100)
    measures = precision_recall(collapsed, real)
    assert measures["recall"] > 0.9
    assert measures["coverage"] < 0.5


def test_precision_and_recall_count_balls_by_hand():
    real = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    samples = torch.tensor([[0.5], [10.0], [10.5]], dtype=torch.float64)
    # Radii to the nearest other: real 1, 1, 2; samples 9.5, 0.5, 0.5.
    assert precision_recall(samples, real, k=1) == pytest.approx(
        {"precision": 1 / 3, "recall": 1.0, "density": 2 / 3, "coverage": 2 / 3}
    )


def test_copies_are_found_as_their_originals():
    train, heldout = normal(300), normal(100, seed=1)
    found = nearest(train[[7, 3]], train)
    assert found.index.tolist() == [7, 3]
    assert found.distance.tolist() == [0, 0]
    assert novelty(train[:50], train, heldout=heldout) == 0
    assert novelty(normal(100, seed=2), train, heldout=heldout) == pytest.approx(1, abs=0.1)
    assert novelty(normal(100, seed=2, scale=3), train, heldout=heldout) > 1.5


def test_the_nearest_of_images_is_that_of_scipy():
    from scipy.spatial.distance import cdist

    train, queries = torch.rand(30, 1, 4, 4), torch.rand(9, 1, 4, 4)
    distances = cdist(queries.flatten(1), train.flatten(1))
    found = nearest(queries, train)
    assert found.index.tolist() == distances.argmin(1).tolist()
    np.testing.assert_allclose(found.distance, distances.min(1), rtol=1e-5)


def test_a_neighbour_cannot_tell_equals_apart_tells_noise_and_is_misled_by_copies():
    real = normal(300)
    same = one_nearest_neighbour_accuracy(normal(300, seed=1), real)
    assert same == pytest.approx(0.5, abs=3 * 0.5 / 600**0.5)
    assert one_nearest_neighbour_accuracy(normal(300, seed=1, mean=9), real) == 1
    assert one_nearest_neighbour_accuracy(real + 1e-9, real) == 0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="at least 9 features"):
        frechet_distance(normal(8), normal(50))
    with pytest.raises(ValueError, match="of one width"):
        kid(normal(10, 3), normal(10, 4))
    with pytest.raises(ValueError, match="NaN or infinite"):
        kid(normal(10) * torch.nan, normal(10))
    with pytest.raises(ValueError, match="at least 4 features"):
        precision_recall(normal(3), normal(50))
    with pytest.raises(ValueError, match="sets of one size"):
        one_nearest_neighbour_accuracy(normal(5), normal(6))
    with pytest.raises(ValueError, match="no reference"):
        novelty(normal(5), normal(9), heldout=normal(9))
    with pytest.raises(ValueError, match="of shape"):
        nearest(normal(5, 3), normal(9, 4))
    with pytest.raises(ValueError, match="4 real examples"):
        against_floor(kid, normal(5), real=normal(3))
