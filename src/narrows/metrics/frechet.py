"""Frechet distance between two sets of features, as if both were normal."""

import torch
from torch import Tensor

from narrows.metrics.kid import check_features


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """|m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1^{1/2} C_2 C_1^{1/2})^{1/2}), in squared features.

    Biased upwards by the number of samples: two sets from the same distribution are above 0,
    by more the fewer they are. So both sets need the same fixed size, and the figure belongs
    beside the same for two sets of real examples (`against_floor`).

    Args:
        first: features `[n, d]`, with n above d.
        second: features `[m, d]`, with m above d.

    Raises:
        ValueError: where there are too few features for a covariance.

    Source: Heusel et al. (2017), equation 6, in other features; Dowson & Landau (1982).
    """
    check_features(first, second, least=first.shape[-1] + 1)
    first, second = first.double(), second.double()
    root = _root(first.mT.cov())
    cross = _root(root @ second.mT.cov() @ root)
    spread = first.mT.cov().trace() + second.mT.cov().trace() - 2 * cross.trace()
    return ((first.mean(0) - second.mean(0)).square().sum() + spread).item()


def _root(matrix: Tensor) -> Tensor:
    """Square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
