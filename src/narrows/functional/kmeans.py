"""Lloyd's k-means."""

import torch
from torch import Tensor

from narrows.functional.nearest import nearest


def kmeans(
    rows: Tensor, centers: Tensor, iterations: int = 10, tolerance: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Moves centers to the means of the rows nearest to them, again and again.

    A center that no row is nearest to is moved to the row farthest from its own center, so that
    no center stays empty while there are more distinct rows than centers.

    Args:
        rows: `[n, dim]`, n >= 1.
        centers: where to start, `[size, dim]`; not changed.
        iterations: number of times that all centers move.
        tolerance: stop early once the summed squared movement is no more than this.

    Returns:
        The centers `[size, dim]`, and how many rows each was the mean of, `[size]`.

    Raises:
        ValueError: if there is no row, or iterations is less than 1.

    Source: Lloyd 1982; the treatment of empty clusters is scikit-learn's.

    Example:
        >>> rows = torch.tensor([[0.0], [1.0], [9.0], [11.0]])
        >>> kmeans(rows, rows[:2])[0]
        tensor([[ 0.5000],
                [10.0000]])
    """
    if rows.shape[0] < 1 or iterations < 1:
        raise ValueError(
            f"kmeans: expected rows and iterations of at least 1, got {rows.shape[0]} and "
            f"{iterations}"
        )
    counts = rows.new_zeros(centers.shape[0])
    for _ in range(iterations):
        index = nearest(rows, centers)
        index = _fill_empty(rows, centers, index)
        moved, counts = means(rows, index, centers)
        shift = (moved - centers).square().sum()
        centers = moved
        if bool(shift <= tolerance):
            break
    return centers, counts


def kmeans_plus_plus(
    rows: Tensor, size: int, generator: torch.Generator | None = None, rounds: int = 32
) -> Tensor:
    """Draws rows far from one another, as centers to start k-means from.

    In each of at most `rounds` rounds, draws with probability in proportion to the squared
    distance to the nearest center so far: k-means++ where size <= rounds, and for more centers
    as many a round as it takes, so that all of it costs one search and not `size` passes.

    Args:
        rows: `[n, dim]`, n >= 1.
        size: number of centers; rows repeat where there are fewer distinct ones.
        generator: a CPU generator.
        rounds: how often the distances are refreshed.

    Source: Arthur and Vassilvitskii 2007; drawing several a round as Bahmani et al. 2012.

    Example:
        >>> rows = torch.tensor([[0.0], [0.0], [7.0]])
        >>> sorted(kmeans_plus_plus(rows, 2, torch.Generator().manual_seed(0)).flatten().tolist())
        [0.0, 7.0]
    """
    first = int(torch.randint(rows.shape[0], (1,), generator=generator))
    centers = rows[first : first + 1]
    distance = (rows - centers).square().sum(1)
    for left in range(min(rounds, size - 1), 0, -1):
        number = -(-(size - centers.shape[0]) // left)
        new = rows[_in_proportion(distance, number, generator)]
        distance = torch.minimum(distance, (rows - new[nearest(rows, new)]).square().sum(1))
        centers = torch.cat([centers, new])
    return centers


def _in_proportion(weight: Tensor, number: int, generator: torch.Generator | None) -> Tensor:
    """Indices drawn with probability in proportion to `weight` (all alike where it is 0)."""
    total = weight.double().cumsum(0)
    draws = torch.rand(number, generator=generator, dtype=torch.float64).to(weight.device)
    if not bool(total[-1] > 0):
        return (draws * len(weight)).long()
    return torch.searchsorted(total, draws * total[-1], right=True).clamp_(max=len(weight) - 1)


def means(rows: Tensor, index: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and number of the rows at each index; an empty one keeps its center."""
    sums = torch.zeros_like(centers).index_add_(0, index, rows)
    counts = torch.zeros_like(centers[:, 0]).index_add_(0, index, torch.ones_like(rows[:, 0]))
    filled = (counts > 0).unsqueeze(1)
    return torch.where(filled, sums / counts.clamp_min(1).unsqueeze(1), centers), counts


def _fill_empty(rows: Tensor, centers: Tensor, index: Tensor) -> Tensor:
    """Hands each empty center one of the rows that are farthest from their own."""
    empty = torch.bincount(index, minlength=centers.shape[0]).eq(0).nonzero().flatten()
    if empty.numel() == 0:
        return index
    distance = (rows - centers[index]).square().sum(1)
    number = min(empty.numel(), int((distance > 0).sum()))
    if number == 0:
        return index
    farthest = distance.topk(number).indices
    return index.index_copy(0, farthest, empty[:number])
