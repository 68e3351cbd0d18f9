"""The order of training: one seeded permutation an epoch, which can be entered anywhere."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

RUNS = 64
"""Places of the data that a shuffle buffer is filled from."""


def permutation(n: int, seed: int, epoch: int, *, buffer: int | None = None) -> Tensor:
    """A permutation of `0..n-1`, `[n]` int64, that depends on seed, epoch and buffer alone.

    Seed and epoch are mixed by NumPy's `SeedSequence`, so that (0, 1) and (1, 0) differ.

    With a buffer smaller than n, rows are cut into runs of `buffer // 64` neighbours, the runs are
    shuffled, and then each `buffer` rows that follow one another. So the disk is read in runs, each
    once an epoch where memory has room for a buffer, and each buffer mixes rows of 64 places.
    """
    words = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))
    if buffer is None or buffer >= n:
        return torch.randperm(n, generator=generator)
    run = max(1, buffer // RUNS)
    runs = torch.randperm(-(-n // run), generator=generator)
    rows = (runs[:, None] * run + torch.arange(run)).flatten()
    parts = rows[rows < n].split(buffer)
    return torch.cat([part[torch.randperm(len(part), generator=generator)] for part in parts])


def batches(  # noqa: PLR0913 (all but two are named)
    n: int,
    size: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    start: int = 0,
    drop_last: bool = True,
    buffer: int | None = None,
    entering: Callable[[Tensor], None] | None = None,
) -> Iterator[Tensor]:
    """Yields the row numbers of one epoch's batches, each `[size]` int64.

    A run that stopped after k batches of an epoch goes on with `start=k`: the order is a
    function of (seed, epoch), so nothing has to be replayed. With several ranks, ask for the
    global batch and take `share(index, rank, world)`: any number of ranks sees the same
    batches.

    Args:
        n: number of examples.
        size: examples in a batch.
        seed: of the run.
        epoch: counted from 0; each has its own order.
        start: number of leading batches to leave out.
        drop_last: whether to leave out the incomplete batch at the end; a set smaller than one
            batch is one incomplete batch, and is kept.
        buffer: rows shuffled together (`Split.buffer`), so that data on a disk are read in runs;
            None: all.
        entering: called with the rows of each buffer before the first of them is needed.

    Raises:
        ValueError: if n, size or buffer is below 1, or start is negative.

    Example:
        >>> first, second = batches(5, 2, seed=0)
        >>> [len(first), len(second)]
        [2, 2]
    """
    if n < 1 or size < 1 or start < 0 or (buffer is not None and buffer < 1):
        raise ValueError(
            f"expected at least 1 example, batches and a buffer of at least 1 and start >= 0, got "
            f"n={n}, size={size}, start={start}, buffer={buffer}"
        )
    order = permutation(n, seed, epoch, buffer=buffer)
    end = n - n % size if drop_last and n >= size else n
    entered = -1
    for first in range(start * size, end, size):
        stop = min(first + size, end)
        if buffer is not None and entering is not None:
            for part in range(max(entered + 1, first // buffer), (stop - 1) // buffer + 1):
                entering(order[part * buffer : (part + 1) * buffer])
                entered = part
        yield order[first:stop]


def steps_per_epoch(n: int, size: int, *, drop_last: bool = True) -> int:
    """Number of batches that `batches(n, size)` yields."""
    return n // size if drop_last and n >= size else -(-n // size)


def share(index: Tensor, rank: int, world: int) -> Tensor:
    """This rank's part of a global batch: equal contiguous parts, in order.

    Raises:
        ValueError: if the batch cannot be divided equally: unequal parts would make the mean
            over ranks differ from the mean over the batch.
    """
    if len(index) % world:
        raise ValueError(
            f"a global batch of {len(index)} cannot be divided equally over {world} ranks; "
            f"choose a batch size that is a multiple of {world}"
        )
    part = len(index) // world
    return index[rank * part : (rank + 1) * part]
