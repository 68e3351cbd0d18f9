"""Ranks that are known."""

import pytest
import torch

from narrows.metrics.sparsity import components_for, effective_rank, pca_spectrum


@pytest.fixture
def isotropic():
    """Exactly equal variance in each of 6 dimensions."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(200, 6, dtype=torch.float64, generator=generator)
    return torch.linalg.qr(codes - codes.mean(0))[0]


def test_an_isotropic_code_uses_all_its_dimensions(isotropic):
    assert effective_rank(isotropic) == pytest.approx(6)
    assert pca_spectrum(isotropic).tolist() == pytest.approx([1 / 6] * 6)
    assert components_for(isotropic) == 6
    assert components_for(isotropic, 0.5) == 3


def test_codes_on_a_line_use_one(isotropic):
    line = isotropic[:, :1] * torch.arange(1.0, 5.0, dtype=torch.float64) + 3
    assert effective_rank(line) == pytest.approx(1)
    assert components_for(line, 1.0) == 1


def test_duplicates_and_rotations_add_nothing(isotropic):
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    assert effective_rank(isotropic @ rotation) == pytest.approx(6)
    assert effective_rank(torch.cat([isotropic, isotropic], 1)) == pytest.approx(6)


def test_a_loud_dimension_of_noise_misleads(isotropic):
    loud = isotropic * torch.tensor([1000.0, 1, 1, 1, 1, 1], dtype=torch.float64)
    assert effective_rank(loud) < 1.01


def test_scikit_learn_agrees(isotropic):
    from sklearn.decomposition import PCA

    codes = isotropic * torch.arange(1.0, 7.0, dtype=torch.float64)
    expected = PCA().fit(codes.numpy()).explained_variance_ratio_
    assert pca_spectrum(codes).tolist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize("constant", [torch.zeros(5, 3), torch.full((5, 3), 0.1)])
def test_a_collapsed_code_is_named_so(constant):
    with pytest.raises(ValueError, match="collapsed"):
        effective_rank(constant)


def test_what_makes_no_sense_is_refused(isotropic):
    with pytest.raises(ValueError, match="flatten"):
        pca_spectrum(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match="share"):
        components_for(isotropic, 0)
