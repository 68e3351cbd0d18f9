"""How sparse a code is, and how many directions it fills."""

import torch
from torch import Tensor

NORMAL_IQR = 1.3489795003921634
"""Interquartile range of the standard normal."""


def hoyer(codes: Tensor) -> Tensor:
    """(sqrt d - |c|_1 / |c|_2) / (sqrt d - 1) of each vector: 1 for one entry, 0 for all equal.

    Args:
        codes: `[..., d]`, d at least 2.

    Returns:
        `[...]`; NaN for the zero vector, which has no shape to speak of.

    Source: Hoyer (2004), section 3.1.
    """
    codes, d = codes.double(), codes.shape[-1]
    if d < 2:
        raise ValueError(f"expected vectors of at least 2 entries, got {d}")
    ratio = codes.abs().sum(-1) / codes.square().sum(-1).sqrt()
    return (d**0.5 - ratio) / (d**0.5 - 1)


def excess_kurtosis(codes: Tensor) -> Tensor:
    """E[(c - m)^4] / E[(c - m)^2]^2 - 3 of each dimension over the examples.

    0 for a normal, 3 for a Laplace, without bound (and without a limit) for a Cauchy: it speaks
    of the tails, not of zeros. NaN for a constant dimension.

    Args:
        codes: `[n, d]`.

    Returns:
        `[d]`.
    """
    centred = codes.double() - codes.double().mean(0)
    return centred.pow(4).mean(0) / centred.square().mean(0).square() - 3


def near_zero(codes: Tensor, threshold: float = 0.1) -> Tensor:
    """Share of each dimension's entries within +-threshold of its median, at the normal's scale.

    Each dimension is first scaled to the interquartile range of a standard normal, so that
    families compare: at 0.1 normal, Laplace and Cauchy have .080, .098 and .094.

    Args:
        codes: `[n, d]`.
        threshold: in standard deviations of the normal of equal quartiles.

    Returns:
        `[d]`; NaN where half of the entries or more are equal and no scale is left.
    """
    codes = codes.double()
    quantiles = torch.tensor([0.25, 0.5, 0.75], dtype=codes.dtype, device=codes.device)
    low, middle, high = torch.quantile(codes, quantiles, dim=0)
    scale = (high - low) / NORMAL_IQR
    inside = ((codes - middle).abs() <= threshold * scale).to(codes.dtype).mean(0)
    return torch.where(scale > 0, inside, torch.nan)


def l0(codes: Tensor, threshold: float = 0.0) -> Tensor:
    """Number of entries of each vector `[..., d]` above the threshold in size, `[...]`.

    With a threshold of 0 only exact zeros count as inactive; any other threshold has the unit
    of the code and has to be named with the figure.
    """
    return (codes.abs() > threshold).sum(-1)


def pca_spectrum(codes: Tensor) -> Tensor:
    """Share of the variance along each principal component, descending, `[min(n, d)]`.

    Args:
        codes: `[n, d]`, at least two that differ.

    Raises:
        ValueError: if all codes are equal: a collapsed code has no spectrum.
    """
    if codes.dim() != 2:
        raise ValueError(f"expected codes [n, d], got shape {tuple(codes.shape)}; flatten them")
    codes = codes.double()
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
