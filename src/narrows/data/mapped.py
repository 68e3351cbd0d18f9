"""Data larger than memory: a split whose examples stay in a file until a batch is cut."""

import torch
from torch import Tensor

from narrows.data.dataset import Split

LARGE = 4 << 30  # bytes from which arrays are mapped instead of read


class MappedSplit(Split):
    """A split over some rows of a memory-mapped array, cut and converted like any other.

    The system reads the pages that a batch touches and keeps as many as memory allows, shared
    between the processes of one machine.

    Args:
        source: all rows of the file, in the layout of `Split.images`, on the CPU.
        rows: `[n]` int64, those of this split.
        labels: `[n]` int64 class numbers of these rows, or None.
        device: where batches are made.
    """

    source: Tensor
    rows: Tensor
    target: torch.device

    def __init__(
        self,
        source: Tensor,
        rows: Tensor,
        *,
        labels: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.__dict__.update(  # the class is frozen
            source=source, rows=rows, labels=labels, target=torch.device(device)
        )
        Split(source[: min(1, len(rows))], None if labels is None else labels[:1])  # its checks

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All examples, read into memory: only for sets that fit."""
        return self.source.index_select(0, self.rows)

    @property
    def _storage(self) -> Tensor:
        return self.source

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.target

    def stored(self, index: Tensor) -> Tensor:
        """Reads these rows from the file and brings them to the split's device."""
        rows = self.source.index_select(0, self.rows[index.cpu()])
        return rows.to(self.device, non_blocking=True)

    def to(self, device: torch.device | str) -> "MappedSplit":
        """The same split whose batches are made on another device; the file stays."""
        labels = None if self.labels is None else self.labels.to(device)
        return MappedSplit(self.source, self.rows, labels=labels, device=device)

    def take(self, index: Tensor) -> "MappedSplit":
        """These rows as a split of their own; the file stays where it is."""
        labels = self.batch_labels(index)
        return MappedSplit(self.source, self.rows[index], labels=labels, device=self.device)
