"""Reading ahead: other processes read the batches to come, in the order that was asked for."""

import multiprocessing
from collections.abc import Iterable, Iterator

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from narrows.data.dataset import Split, as_unit


def batches_ahead(split: Split, parts: Iterable[Tensor], *, workers: int) -> Iterator[Tensor]:
    """`Split.batch` of these rows, one part after the other.

    Each worker reads whole parts, in turns; what comes out, and in which order, does not depend
    on how many there are. No random number of the caller's is drawn.

    Args:
        split: to read from.
        parts: row numbers, `[b]` each.
        workers: processes that read ahead; 0 reads here.

    Raises:
        ValueError: if a file of the split has changed, as without workers.

    Example:
        >>> split = Split(torch.arange(8.0)[:, None])
        >>> parts = [torch.tensor([3, 1]), torch.tensor([0])]
        >>> [part.flatten().tolist() for part in batches_ahead(split, parts, workers=2)]
        [[3.0, 1.0], [0.0]]
    """
    if not workers or multiprocessing.current_process().daemon:  # which may have no children
        yield from map(split.batch, parts)
        return
    loader = DataLoader(
        _Parts(split.to("cpu")),  # pyright: ignore[reportArgumentType]
        sampler=(rows.numpy() for rows in parts),  # pyright: ignore[reportArgumentType]
        batch_size=None,
        num_workers=workers,
        generator=torch.Generator(),
        pin_memory=split.device.type == "cuda",
    )
    for found in loader:
        if isinstance(found, Exception):
            raise found
        yield as_unit(found.to(split.device, non_blocking=True))


class _Parts:
    """A split by parts; what goes wrong is handed over, for a worker would wrap it in a trace."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __getitem__(self, rows: NDArray) -> Tensor | Exception:
        try:
            return self.split.stored(torch.from_numpy(rows))
        except (ValueError, OSError) as error:
            return error
