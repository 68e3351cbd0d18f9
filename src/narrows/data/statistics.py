"""What is known of a split after one pass over it: its checksum, its means and variances."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from narrows.data.dataset import Split

    Digest: TypeAlias = hashlib._Hash

_CHUNK = 1 << 22  # values looked at together, so that a pass needs little memory


def row_slices(shape: Sequence[int]) -> Iterator[slice]:
    """The rows of an array `[n, ...]` in their order, a slice of some millions of values at a time.

    Example:
        >>> [*row_slices((5, 1 << 21))]
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, _CHUNK // max(1, math.prod(shape[1:])))
    return (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))


@dataclass(frozen=True)
class Statistics:
    """Moments of the stored values of a split, in float64.

    Attributes:
        digest: checksum of the split's size and type, and of its values in their order.
        mean: `[features]`; of images in [0, 1], of all values together, `[1]`.
        variance: about it, `[features]`.
    """

    digest: "Digest"
    mean: Tensor
    variance: Tensor


def statistics(split: "Split", digest: "Digest | None" = None) -> Statistics:
    """Reads a split once.

    Moments of parts are combined as M2 = M2_a + M2_b + (mean_b - mean_a)^2 n_a n_b / n, which
    does not cancel where means are far from 0. Those of 8-bit images come from counts of the
    levels, exact but for the last sum.

    Args:
        split: to read.
        digest: that goes on with this split; by default a SHA-256 that begins here.

    Source: Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance".
    """
    digest = digest or hashlib.sha256()
    digest.update(f"{len(split)} {split.shape} {split.dtype} {split.features}".encode())
    levels = torch.zeros(256, dtype=torch.int64)
    count, mean, squares = 0, torch.zeros(1).double(), torch.zeros(1).double()
    eight_bits = split.features is None and split.dtype == torch.uint8
    for rows in row_slices((len(split), *split.shape)):
        part = split.stored(torch.arange(rows.start, rows.stop)).cpu().contiguous()
        digest.update(part.numpy().data)
        if eight_bits:
            levels += torch.bincount(part.flatten(), minlength=256)
            continue
        values = _by_feature(part, split.features)
        n, own = len(values), values.mean(0)
        squares = squares + (values - own).square().sum(0)
        squares = squares + (own - mean).square() * (count * n / (count + n))
        mean = mean + (own - mean) * (n / (count + n))
        count += n
    if eight_bits:
        value, count = torch.arange(256).double() / 255, int(levels.sum())
        mean = ((levels * value).sum() / count)[None]
        squares = (levels * (value - mean).square()).sum()[None]
    return Statistics(digest, mean, squares / count)


def _by_feature(values: Tensor, features: int | None) -> Tensor:
    """`[numbers, features]` in float64; of images all numbers as one feature."""
    unit = values.double() / 255 if values.dtype == torch.uint8 else values.double()
    return (
        unit.reshape(-1, 1) if features is None else unit.movedim(1 + features, -1).flatten(0, -2)
    )
