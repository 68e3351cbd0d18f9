"""Lloyd's k-means."""

import math

import torch
from torch import Tensor

from narrows.functional.nearest import nearest

_CANDIDATES = 3  # for each center
_REDUCED = 4096  # centers; choosing among candidates costs their square


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

    First three candidates for each center, drawn in `rounds` rounds with probability in proportion
    to the squared distance to the nearest candidate so far, so that a large set is searched a few
    times and not `size` times. Then centers among the candidates, one at a time, each candidate
    standing for the rows that are nearest to it: of 2 + log(size) drawn ones the one that lowers
    the error most. Above 4,096 centers the first half alone.

    Args:
        rows: `[n, dim]`, n >= 1.
        size: number of centers; rows repeat where there are fewer distinct ones.
        generator: a CPU generator.
        rounds: how often the distances are refreshed.

    Source: Arthur & Vassilvitskii (2007), the greedy choice after their section 6; many a round
        and weighted candidates as in Bahmani et al. (2012), algorithm 2.

    Example:
        >>> rows = torch.tensor([[0.0], [0.0], [7.0]])
        >>> sorted(kmeans_plus_plus(rows, 2, torch.Generator().manual_seed(0)).flatten().tolist())
        [0.0, 7.0]
    """
    if size > _REDUCED:
        return _spread(rows, size, generator, rounds)
    candidates = _spread(rows, _CANDIDATES * size, generator, rounds)
    weight = torch.zeros_like(candidates[:, 0]).index_add_(
        0, nearest(rows, candidates), torch.ones_like(rows[:, 0])
    )
    return _greedy(candidates, weight, size, generator)


def _spread(rows: Tensor, size: int, generator: torch.Generator | None, rounds: int) -> Tensor:
    """Rows drawn in proportion to their squared distance to those drawn in earlier rounds."""
    first = int(torch.randint(rows.shape[0], (1,), generator=generator))
    centers = rows[first : first + 1]
    distance = (rows - centers).square().sum(1)
    for left in range(min(rounds, size - 1), 0, -1):
        number = -(-(size - centers.shape[0]) // left)
        new = rows[_in_proportion(distance, number, generator)]
        distance = torch.minimum(distance, (rows - new[nearest(rows, new)]).square().sum(1))
        centers = torch.cat([centers, new])
    return centers


def _greedy(rows: Tensor, weight: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
    """Weighted k-means++ that takes the best of a few draws each time."""
    chosen = _in_proportion(weight, 1, generator)
    distance = (rows - rows[chosen]).square().sum(1)
    trials = 2 + int(math.log(size))
    for _ in range(size - 1):
        drawn = _in_proportion(weight * distance, trials, generator)
        left = torch.stack([(rows - rows[one]).square().sum(1) for one in drawn])
        left = torch.minimum(left, distance)
        best = int((left * weight).sum(1).argmin())
        distance, chosen = left[best], torch.cat([chosen, drawn[best : best + 1]])
    return rows[chosen]


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
