"""How many directions codes really use."""

import torch
from torch import Tensor


def pca_spectrum(codes: Tensor) -> Tensor:
    """Share of the variance along each principal component, descending, `[min(n, d)]`.

    Args:
        codes: `[n, d]`, at least two that differ.

    Raises:
        ValueError: if all codes are equal: a collapsed code has no spectrum.
    """
    if codes.dim() != 2:
        raise ValueError(f"expected codes [n, d], got shape {tuple(codes.shape)}; flatten them")
    codes = codes if codes.dtype == torch.float64 else codes.double()
    energies = torch.linalg.svdvals(codes - codes.mean(0)).square()
    total = energies.sum()
    if not total > torch.finfo(torch.float64).eps ** 2 * codes.square().sum():
        raise ValueError("all codes are equal: a collapsed code has no spectrum")
    return energies / total


def effective_rank(codes: Tensor) -> float:
    """exp of the entropy of `pca_spectrum`: d for an isotropic code, 1 for codes on a line.

    It does not change when dimensions are duplicated or rotated, but it does when they are
    rescaled: a large dimension of noise can hide the rest.

    Args:
        codes: `[n, d]`.

    Source: Roy & Vetterli (2007), equation 4, of the covariance matrix.
    """
    shares = pca_spectrum(codes)
    return torch.special.entr(shares).sum().exp().item()


def components_for(codes: Tensor, share: float = 0.95) -> int:
    """Fewest principal components that hold a share of the variance.

    Args:
        codes: `[n, d]`.
        share: between 0 and 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"expected a share of the variance in (0, 1], got {share}")
    held = pca_spectrum(codes).cumsum(0)
    # Rounding may leave the last sum just below 1.
    return int((held < share * (1 - 1e-12)).sum().clamp(max=len(held) - 1).item()) + 1
