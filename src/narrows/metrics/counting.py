"""Entropy and information of what takes few values, from tables of counts."""

from collections.abc import Iterator

import torch
from torch import Tensor

_CELLS = 2**24  # of a table held at a time


def entropies(columns: Tensor) -> Tensor:
    """-sum_v f_v log f_v of each column's frequencies, `[units]` nats.

    The n rows are the whole population: exact for them, at most log n, and as an estimate for
    more examples too small, by about (values - 1) / 2n.

    Args:
        columns: `[n, units]`, whole numbers, or values that repeat exactly.

    Source: Shannon (1948), section 6; the bias, Miller (1955).

    Example:
        >>> import torch
        >>> entropies(torch.tensor([[0, 7], [1, 7]]))
        tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    return torch.cat(
        [
            _entropy(t.sum(2))
            for t in _counts(columns, torch.zeros_like(columns[:, 0], dtype=torch.int64))
        ]
    )


def class_information(columns: Tensor, classes: Tensor) -> Tensor:
    """I(column; class) = H(column) + H(class) - H(column, class), `[units]` nats.

    At most H(class), which a column of n different values always reaches: read it against the
    same with shuffled classes.

    Args:
        columns: `[n, units]`, whole numbers, or values that repeat exactly.
        classes: `[n]`, numbered from 0.
    """
    found = []
    for table in _counts(columns, classes):
        both = _entropy(table.flatten(1))
        found.append(_entropy(table.sum(2)) + _entropy(table.sum(1)) - both)
    return torch.cat(found).clamp(min=0)


def _counts(columns: Tensor, classes: Tensor) -> Iterator[Tensor]:
    """Tables `[units, values, classes]` of some columns after the other."""
    _, index = columns.unique(return_inverse=True)
    values, kinds = int(index.max()) + 1, int(classes.max()) + 1
    for some in index.split(max(1, _CELLS // (values * kinds)), 1):
        units = some.shape[1]
        place = (torch.arange(units, device=some.device) * values + some) * kinds + classes[:, None]
        counts = place.flatten().bincount(minlength=units * values * kinds)
        yield counts.reshape(units, values, kinds).double()


def _entropy(counts: Tensor) -> Tensor:
    """Of each row of counts."""
    share = counts / counts.sum(1, keepdim=True)
    return torch.special.entr(share).sum(1)
