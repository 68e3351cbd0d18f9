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
        source: all rows of the file, in the layout of `Split.images`, on the CPU: uint8, bool, or
            floats of any width.
        rows: `[n]` int64, those of this split.
        labels: `[n]` int64 class numbers of these rows, or None.
        device: where batches are made.
        features: as those of `Split`.
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
        features: int | None = None,
    ) -> None:
        label = None if labels is None else labels[:1]
        checked = Split(_converted(source[: min(1, len(rows))]), label, features)
        self.__dict__.update(  # the class is frozen
            source=source, rows=rows, labels=labels, target=torch.device(device),
            features=checked.features,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All examples, read into memory: only for sets that fit."""
        return _converted(self.source.index_select(0, self.rows))

    @property
    def dtype(self) -> torch.dtype:
        """What examples are converted to: uint8 or float32."""
        return torch.uint8 if self.source.dtype in (torch.bool, torch.uint8) else torch.float32

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
        return _converted(rows).to(self.device, non_blocking=True)

    def to(self, device: torch.device | str) -> "MappedSplit":
        """The same split whose batches are made on another device; the file stays."""
        labels = None if self.labels is None else self.labels.to(device)
        return self._with(self.rows, labels=labels, device=device)

    def take(self, index: Tensor) -> "MappedSplit":
        """These rows as a split of their own; the file stays where it is."""
        return self._with(self.rows[index], labels=self.batch_labels(index), device=self.device)

    def _with(
        self, rows: Tensor, *, labels: Tensor | None, device: torch.device | str
    ) -> "MappedSplit":
        return MappedSplit(self.source, rows, labels=labels, device=device, features=self.features)


def _converted(rows: Tensor) -> Tensor:
    """As a split stores them: black and white as 0 and 255, floats as float32."""
    if rows.dtype == torch.bool:
        return rows.to(torch.uint8).mul_(255)
    return rows.float() if rows.is_floating_point() else rows
