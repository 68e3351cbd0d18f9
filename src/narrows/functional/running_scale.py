"""A running centre and scale of features, the same on all ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.functional.ranks import sum_over_ranks


def follow_scale(
    centre: Tensor, scale: Tensor, rows: Sequence[Tensor], rate: float
) -> tuple[Tensor, Tensor]:
    r"""Moves a centre and one scale for all coordinates towards those of a step's features.

    .. math:: \mu \leftarrow (1 - r)\,\mu + r\,\bar x, \qquad
        s^2 \leftarrow (1 - r)\,s^2 + r\,\overline{\mathrm{var}(x)}

    The variance is the mean over coordinates; features that are constant have none to follow,
    and leave s as it is. Sums run in double precision and over all ranks.

    Args:
        centre: mu, `[dim]`.
        scale: s, scalar.
        rows: the step's features in parts `[n, dim]`, at least one of them on some rank.
        rate: r in 0..1.

    Returns:
        The new mu and s, in the dtype of the old.

    Example:
        >>> rows = [torch.tensor([[1.0, 0.0], [3.0, 4.0]])]
        >>> follow_scale(torch.zeros(2), torch.ones(()), rows, rate=1.0)
        (tensor([2., 2.]), tensor(1.5811))
    """
    dim = len(centre)
    sums = centre.new_zeros(2 * dim + 1, dtype=torch.float64)
    for part in rows:
        wide = part.double()
        sums[:dim] += wide.sum(0)
        sums[dim:-1] += wide.square().sum(0)
        sums[-1] += len(wide)
    sum_over_ranks(sums)
    mean = sums[:dim] / sums[-1]
    variance = (sums[dim:-1] / sums[-1] - mean.square()).clamp_min(0).mean()
    variance = torch.where(variance == 0, scale.double().square(), variance)
    squared = scale.double().square().lerp(variance, rate)
    return centre.lerp(mean.to(centre.dtype), rate), squared.sqrt().to(scale.dtype)
