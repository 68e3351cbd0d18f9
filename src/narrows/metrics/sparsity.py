"""How sparse codes are, by measures that also mean something without exact zeros.

They disagree where they should: a Cauchy code has an enormous kurtosis and yet no more mass
near zero than a Laplace one. Only exact zeros save work and bits; where a code has none, its
"L0" does not exist and `near_zero` says how concentrated it is.
"""

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
    d = codes.shape[-1]
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
    centred = codes - codes.mean(0)
    return centred.pow(4).mean(0) / centred.square().mean(0).square() - 3


def near_zero(codes: Tensor, width: float = 0.1) -> Tensor:
    """Share of each dimension's entries within +-width of its median, at the normal's scale.

    Each dimension is first scaled to the interquartile range of a standard normal, so that
    families compare: at 0.1 normal, Laplace and Cauchy have .080, .098 and .094.

    Args:
        codes: `[n, d]`.
        width: half width, in standard deviations of the normal of equal quartiles.

    Returns:
        `[d]`; NaN where half of the entries or more are equal and no scale is left.
    """
    quantiles = torch.tensor([0.25, 0.5, 0.75], dtype=codes.dtype, device=codes.device)
    low, middle, high = torch.quantile(codes, quantiles, dim=0)
    scale = (high - low) / NORMAL_IQR
    inside = ((codes - middle).abs() <= width * scale).to(codes.dtype).mean(0)
    return torch.where(scale > 0, inside, torch.nan)


def l0(codes: Tensor, threshold: float = 0.0) -> Tensor:
    """Number of entries of each vector `[..., d]` above the threshold in size, `[...]`.

    With a threshold of 0 only exact zeros count as inactive; any other threshold has the unit
    of the code and has to be named with the figure.
    """
    return (codes.abs() > threshold).sum(-1)
