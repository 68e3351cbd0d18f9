"""Regular dictionary learning first: planted atoms, none at all, and only apparent ones."""

import pytest
import torch

from narrows.metrics import linear_dictionary


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def planted(n, k=2, dim=16, size=24, seed=0):
    atoms = randn(size, dim)
    atoms = atoms / atoms.norm(dim=1, keepdim=True)
    generator = torch.Generator().manual_seed(seed + 1)
    chosen = torch.stack([torch.randperm(size, generator=generator)[:k] for _ in range(n)])
    return torch.einsum("nk,nkd->nd", randn(n, k, seed=seed + 2), atoms[chosen])


def test_planted_atoms_are_learned_and_beat_components_and_given_atoms():
    found = linear_dictionary(planted(1500), planted(300, seed=9), size=24, k=2, epochs=20)
    assert found["learned"] < 0.1
    assert found["learned"] < 0.3 * min(found["pca"], found["data"])


def test_a_normal_distribution_has_no_atoms_to_learn():
    """Learning gains nothing over random directions of the same number."""
    found = linear_dictionary(randn(800, 16), randn(300, 16, seed=1), size=24, k=2)
    assert found["learned"] == pytest.approx(found["data"], rel=0.12)


def test_a_plane_misleads_unless_components_stand_beside_it():
    plane = randn(2, 16)
    found = linear_dictionary(
        randn(500, 2, seed=1) @ plane, randn(200, 2, seed=2) @ plane, size=24, k=2
    )
    assert found["learned"] == pytest.approx(0, abs=1e-6)
    assert found["pca"] == pytest.approx(0, abs=1e-9)


def test_images_are_flattened():
    images = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = linear_dictionary(images[:40], images[40:], size=16, k=4)
    assert found == linear_dictionary(images[:40, 0], images[40:, 0], size=16, k=4)
    assert all(0 < value < 1 for value in found.values())


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="at least 24 training examples"):
        linear_dictionary(randn(10, 4), randn(5, 4), size=24, k=1)
    with pytest.raises(ValueError, match="nothing to code"):
        linear_dictionary(torch.ones(30, 4), torch.ones(3, 4), size=4, k=1)
