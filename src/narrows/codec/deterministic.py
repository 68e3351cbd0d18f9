"""Running networks so that the same input gives the same numbers, on one machine and build.

Lossless coding needs the decoder's output bit for bit twice: when writing and when reading. A
network's last bits depend on the batch and on the number of threads, so both are held: groups of
16 examples, padded with zeros, on one thread. Across machines nothing is promised; a file read
where the numbers differ fails its check and is refused.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

GROUP = 16


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread and deterministic kernels for the duration."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def in_one_group(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function(x) for at most 16 examples, computed as for 16."""
    n = x.shape[0]
    padded = torch.cat([x, x.new_zeros(GROUP - n, *x.shape[1:])]) if n < GROUP else x
    return function(padded)[:n]


def groups(n: int) -> Iterator[slice]:
    """Slices of 16."""
    return (slice(start, min(start + GROUP, n)) for start in range(0, n, GROUP))
