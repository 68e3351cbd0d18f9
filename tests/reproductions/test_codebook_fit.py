"""Which set of vectors restores features: perfect, useless and misleading sets."""

import pytest
import torch

from reproductions.codebook import codebook_fit


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def clusters():
    """Features in 8 tight clusters, and the clusters' middles."""
    middles = 5 * randn(8, 6)
    return middles[torch.arange(800) % 8] + 0.1 * randn(800, 6, seed=1), middles


def test_the_middles_of_clusters_are_as_good_as_k_means(clusters):
    features, middles = clusters
    found = codebook_fit(features, middles)
    assert found["left"] == pytest.approx(found["kmeans"], rel=0.05)
    assert found["left"] < 0.001
    assert 0 < found["core"] <= 8


def test_codes_far_from_all_features_are_worse_than_random_features(clusters):
    features, middles = clusters
    found = codebook_fit(features, middles + 100)
    assert found["left"] > 1 > found["random"]
    assert found["core"] == 0  # not one of them holds anything


def test_a_duplicated_codebook_misleads_by_its_size_and_its_core_says_so(clusters):
    features, middles = clusters
    found = codebook_fit(features, middles[:2].repeat(32, 1))
    assert found["core"] <= 2
    assert found["left"] > 100 * found["kmeans"]


def test_useless_features_are_coded_perfectly_which_is_not_a_good_model():
    """Documented: two points that say nothing of an image are easily restored."""
    features = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64).repeat(50, 1)
    found = codebook_fit(features, features[:2])
    assert found["left"] == 0


def test_the_order_of_the_codes_does_not_matter(clusters):
    features, middles = clusters
    assert codebook_fit(features, middles) == codebook_fit(features, middles.flip(0))


def test_what_makes_no_sense_is_refused(clusters):
    features, middles = clusters
    with pytest.raises(ValueError, match="one width"):
        codebook_fit(features, middles[:, :3])
    with pytest.raises(ValueError, match="at least 16 features"):
        codebook_fit(features[:10], middles)
    with pytest.raises(ValueError, match="all features are equal"):
        codebook_fit(torch.ones(40, 6), middles)
