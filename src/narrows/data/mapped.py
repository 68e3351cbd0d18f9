"""Data larger than memory: a split whose examples stay in a file until a batch is cut."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.data.dataset import Split

LARGE = 4 << 30  # bytes from which arrays are mapped instead of read


class MappedSplit(Split):
    """A split over some rows of a memory-mapped array, cut and converted like any other.

    The system reads the pages that a batch touches and keeps as many as memory allows, shared
    between the processes of one machine.

    Attributes:
        source: all rows of the file, in the layout of `Split.images`, on the CPU.
        rows: `[n]` int64, those of this split.
    """

    source: Tensor
    rows: Tensor

    def __init__(
        self,
        source: Tensor,
        rows: Tensor,
        labels: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        for name, value in (("source", source), ("rows", rows), ("target", torch.device(device))):
            object.__setattr__(self, name, value)  # the class is frozen
        # The labels of all rows in, those of this split kept.
        object.__setattr__(self, "labels", labels)
        Split.__post_init__(self._sample())

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All examples, read into memory: only for sets that fit."""
        return self.source.index_select(0, self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.source.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """How values are stored."""
        return self.source.dtype

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.target  # pyright: ignore[reportAttributeAccessIssue]

    def stored(self, index: Tensor) -> Tensor:
        """Reads these rows from the file and brings them to the split's device."""
        rows = self.source.index_select(0, self.rows[index.cpu()])
        return rows.to(self.device, non_blocking=True)

    def to(self, device: torch.device | str) -> "MappedSplit":
        """The same split whose batches are made on another device; the file stays."""
        labels = None if self.labels is None else self.labels.to(device)
        return MappedSplit(self.source, self.rows, labels, device)

    def head(self, n: int) -> "MappedSplit":
        """The first n examples."""
        labels = None if self.labels is None else self.labels[:n]
        return MappedSplit(self.source, self.rows[:n], labels, self.device)

    def _sample(self) -> Split:
        """The first example as a plain split, for its checks."""
        labels = None if self.labels is None else self.labels[:1]
        return Split(self.source[: min(1, len(self.rows))], labels)


def map_array(path: Path) -> NDArray[Any]:
    """Opens a `.npy` file without reading it; writes to it stay in memory."""
    return np.load(path, mmap_mode="c", allow_pickle=False)
