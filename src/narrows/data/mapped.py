"""Data larger than memory: a split whose examples stay in files until a batch is cut."""

from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.data.dataset import Split

LARGE = 4 << 30  # bytes from which arrays are mapped instead of read


class MappedSplit(Split):
    """A split over some rows of memory-mapped arrays, cut and converted like any other.

    The system reads the pages that a batch touches and keeps as many as memory allows, shared
    between the processes of one machine.

    Args:
        source: all rows of the file, or of the files one after the other, in the layout of
            `Split.images`, on the CPU: uint8, bool, or floats of any width.
        rows: `[n]` int64, those of this split.
        labels: `[n]` int64 class numbers of these rows, or None.
        device: where batches are made.
        features: as those of `Split`.
        buffer: rows that training shuffles together (`batching.permutation`); None: all.
    """

    sources: tuple[Tensor, ...]
    rows: Tensor
    target: torch.device

    def __init__(
        self,
        source: Tensor | Sequence[Tensor],
        rows: Tensor,
        *,
        labels: Tensor | None = None,
        device: torch.device | str = "cpu",
        features: int | None = None,
        buffer: int | None = None,
    ) -> None:
        sources = (source,) if isinstance(source, Tensor) else (*source,)
        label = None if labels is None else labels[:1]
        checked = Split(_converted(sources[0][: min(1, len(rows))]), label, features)
        starts = torch.tensor([0, *map(len, sources)]).cumsum(0)
        self.__dict__.update(  # the class is frozen
            sources=sources, rows=rows, labels=labels, target=torch.device(device),
            features=checked.features, buffer=buffer, _starts=starts,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All examples, read into memory: only for sets that fit."""
        return self._read(self.rows)

    @property
    def dtype(self) -> torch.dtype:
        """What examples are converted to: uint8 or float32."""
        return torch.uint8 if self._storage.dtype in (torch.bool, torch.uint8) else torch.float32

    @property
    def _storage(self) -> Tensor:
        return self.sources[0]

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.target

    def stored(self, index: Tensor) -> Tensor:
        """Reads these rows from the files and brings them to the split's device."""
        return self._read(self.rows[index.cpu()]).to(self.device, non_blocking=True)

    def to(self, device: torch.device | str) -> "MappedSplit":
        """The same split whose batches are made on another device; the files stay."""
        labels = None if self.labels is None else self.labels.to(device)
        return self._with(self.rows, labels=labels, device=device)

    def take(self, index: Tensor) -> "MappedSplit":
        """These rows as a split of their own; the files stay where they are."""
        return self._with(self.rows[index], labels=self.batch_labels(index), device=self.device)

    def _read(self, rows: Tensor) -> Tensor:
        """Rows by their number in all files, converted."""
        if len(self.sources) == 1:
            return _converted(self.sources[0].index_select(0, rows))
        starts: Tensor = self.__dict__["_starts"]
        file = torch.bucketize(rows, starts, right=True) - 1
        found = torch.empty(len(rows), *self.shape, dtype=self.dtype)
        for number in file.unique().tolist():
            here = (file == number).nonzero()[:, 0]
            part = self.sources[number].index_select(0, rows[here] - starts[number])
            found[here] = _converted(part)
        return found

    def _with(
        self, rows: Tensor, *, labels: Tensor | None, device: torch.device | str
    ) -> "MappedSplit":
        return MappedSplit(
            self.sources, rows, labels=labels, device=device, features=self.features,
            buffer=self.buffer,
        )  # fmt: skip


def _converted(rows: Tensor) -> Tensor:
    """As a split stores them: black and white as 0 and 255, floats as float32."""
    if rows.dtype == torch.bool:
        return rows.to(torch.uint8).mul_(255)
    return rows.float() if rows.is_floating_point() else rows
