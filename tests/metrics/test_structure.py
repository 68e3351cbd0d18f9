"""Structure in codes: planted, absent, and only apparent."""

import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from narrows.metrics.dictionaries import (
    explained_by_atoms,
    explained_by_learned_atoms,
    self_expression,
    subspace_clusters,
)


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def union():
    """About 150 codes in each of three random planes of 12 dimensions."""
    planes = randn(3, 2, 12)
    labels = torch.arange(451) % 3
    return torch.einsum("nk,nkd->nd", randn(451, 2, seed=1), planes[labels]), labels


def test_a_union_of_planes_expresses_itself_with_two_codes(union):
    found = self_expression(union[0], k=2)
    assert found["ratio"] < 0.02
    assert found["normal"] > 0.01


def test_one_normal_distribution_does_not_even_in_a_low_dimensional_space():
    assert self_expression(randn(400, 12), k=2)["ratio"] == pytest.approx(1, abs=0.1)
    flat = randn(400, 4) @ randn(4, 12, seed=1)
    assert self_expression(flat, k=2)["ratio"] == pytest.approx(1, abs=0.15)


def test_tight_clusters_mislead_as_documented():
    clusters = randn(5, 12)[torch.arange(400) % 5] + 0.05 * randn(400, 12, seed=1)
    assert self_expression(clusters, k=1)["ratio"] < 0.1


def test_the_planes_are_found(union):
    codes, labels = union
    found = subspace_clusters(codes, 3)
    assert adjusted_rand_score(labels, found) > 0.95
    assert found.shape == labels.shape


def test_too_few_codes_and_zero_codes():
    with pytest.raises(ValueError, match="at least 6 codes"):
        self_expression(randn(5, 3))
    codes = randn(40, 6)
    codes[3] = 0
    assert 0 < self_expression(codes)["residual"] < 1


def test_planted_atoms_explain_what_no_other_basis_does():
    atoms = randn(40, 16)
    atoms = atoms / atoms.norm(dim=1, keepdim=True)
    chosen = torch.stack(
        [torch.randperm(40, generator=torch.Generator().manual_seed(i))[:2] for i in range(300)]
    )
    vectors = torch.einsum("nk,nkd->nd", randn(300, 2, seed=1), atoms[chosen])
    found = explained_by_atoms(vectors, 3 * atoms, k=2)
    assert found["atoms"] > 0.97
    assert max(found["random"], found["pca"]) < 0.75


def test_learned_atoms_explain_new_pairs_of_planted_ones_and_no_noise():
    """Pairs of 24 directions: learned where they are, no better than chance where they are not."""
    atoms = randn(24, 16)
    chosen = torch.stack(
        [torch.randperm(24, generator=torch.Generator().manual_seed(i))[:2] for i in range(1200)]
    )
    vectors = 5 + torch.einsum("nk,nkd->nd", randn(1200, 2, seed=1), atoms[chosen])
    found = explained_by_learned_atoms(vectors[:900], vectors[900:], size=24, k=2)
    assert found["atoms"] > 0.9
    assert max(found["random"], found["pca"]) < 0.75
    noise = explained_by_learned_atoms(randn(900, 16), randn(300, 16, seed=1), size=24, k=2)
    assert noise["atoms"] == pytest.approx(noise["random"], abs=0.05)


def test_random_atoms_explain_no_more_than_random_atoms():
    found = explained_by_atoms(randn(300, 16), randn(40, 16, seed=1), k=2)
    assert found["atoms"] == pytest.approx(found["random"], abs=0.05)


def test_one_plane_misleads_unless_pca_stands_beside_it():
    plane = randn(300, 2) @ randn(2, 16, seed=1)
    atoms = torch.cat([torch.linalg.svd(plane, full_matrices=False).Vh[:2], randn(10, 16, seed=2)])
    found = explained_by_atoms(plane, atoms, k=2)
    assert found["atoms"] == pytest.approx(1)
    assert found["pca"] == pytest.approx(1)


def test_atoms_of_another_width_and_zero_vectors_are_refused():
    with pytest.raises(ValueError, match="of one width"):
        explained_by_atoms(randn(5, 3), randn(5, 4), k=1)
    with pytest.raises(ValueError, match="nothing to explain"):
        explained_by_atoms(torch.zeros(5, 3), randn(5, 3), k=1)
