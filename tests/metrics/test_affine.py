"""Measures of differences do not change when all data move, and measures of shape not with scale.

The values are multiples of 1/64, so that adding 1,000 rounds nothing in float32: what changes is
the measure's own rounding.
"""

import pytest
import torch

from narrows import metrics


def exact(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers on a grid of 1/64, float32."""
    draws = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return (64 * draws).round() / 64


SHIFTED = {
    "precision_recall": lambda a, b: metrics.precision_recall(a, b),
    "one_nearest_neighbour": lambda a, b: metrics.one_nearest_neighbour_accuracy(a, b),
    "frechet_distance": lambda a, b: metrics.frechet_distance(a, b),
    "nearest": lambda a, b: metrics.nearest(a, b).distance.tolist(),
    "novelty": lambda a, b: metrics.novelty(a, b, heldout=b.flip(1)),
    "mse": lambda a, b: metrics.mse(a, b).tolist(),
    "excess_kurtosis": lambda a, _b: metrics.excess_kurtosis(a).tolist(),
    "near_zero": lambda a, _b: metrics.near_zero(a).tolist(),
    "pca_spectrum": lambda a, _b: metrics.pca_spectrum(a).tolist(),
    "linear_probe": lambda a, b: metrics.linear_probe(labelled(a), labelled(b)),
    "knn_probe": lambda a, b: metrics.knn_probe(labelled(a), labelled(b)),
}


def labelled(codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return codes, (torch.arange(len(codes)) % 3).long()


@pytest.mark.parametrize("name", SHIFTED)
def test_far_from_the_origin_the_figures_are_the_same(name):
    first, second = exact(120, 40), exact(120, 40, seed=1)
    measure = SHIFTED[name]
    near, far = measure(first, second), measure(first + 1000, second + 1000)
    if isinstance(near, dict):
        assert near == far
    else:
        assert far == pytest.approx(near, rel=1e-6, abs=1e-9)


def test_kid_is_computed_in_double():
    first, second = exact(60, 8) + 30, exact(60, 8, seed=1) + 30
    assert metrics.kid(first, second) == pytest.approx(
        metrics.kid(first.double(), second.double()), rel=1e-9
    )


@pytest.mark.parametrize("measure", [metrics.laplacian_variance, metrics.high_frequency_energy])
def test_sharpness_is_that_of_the_differences(measure):
    images = exact(3, 1, 12, 12)
    assert measure(images + 1000).tolist() == pytest.approx(measure(images).tolist(), rel=1e-9)


def test_structural_similarity_sees_the_structure_of_images_far_from_zero():
    images, noise = exact(2, 1, 16, 16) + 1000, exact(2, 1, 16, 16, seed=1)
    found, expected = (metrics.ssim(one, one + noise) for one in (images, images.double()))
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-6)


@pytest.mark.parametrize("measure", [metrics.hoyer, metrics.excess_kurtosis, metrics.near_zero])
def test_the_shape_of_tiny_codes_is_measured(measure):
    codes = exact(50, 6)
    assert measure(codes * 2.0**-90).tolist() == pytest.approx(measure(codes).tolist(), rel=1e-6)


def test_features_of_two_precisions_compare():
    first, second = exact(40, 4), exact(40, 4, seed=1)
    for measure in (metrics.kid, metrics.frechet_distance, metrics.precision_recall):
        assert measure(first.double(), second) == measure(first, second)


def test_a_classifier_of_vectors_learns_in_any_unit():
    labels = torch.arange(90) % 3
    vectors = torch.nn.functional.one_hot(labels, 5).float() + exact(90, 5) / 8
    for scale, shift in ((1.0, 0.0), (1e-6, 0.0), (1.0, 1000.0)):
        images = scale * vectors + shift
        classifier = metrics.train_classifier(images, labels)
        assert metrics.accuracy(classifier, images, labels=labels) > 0.95
