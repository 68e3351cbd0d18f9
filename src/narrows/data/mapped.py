"""Data larger than memory: a split whose examples stay in files until a batch is cut."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from narrows.data.checks import Extent
from narrows.data.dataset import Split

LARGE = 4 << 30  # bytes from which arrays are mapped instead of read
_GAP = 8  # rows that are read with their neighbours rather than skipped
_BUFFER = 1 << 29  # bytes of the rows that are shuffled together by default


class Source(ABC):
    """A file of examples that reads some of them on demand.

    Attributes:
        shape: `(n, *example)`.
        dtype: uint8, bool, or floats of any width.
        extent: of all its values, if it is known.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    extent: Extent | None = None

    @abstractmethod
    def read(self, rows: Tensor) -> Tensor:
        """The examples of these rows, `[b, *example]`.

        Raises:
            ValueError: if the file is no longer what it was when it was opened.
        """

    def will_need(self, first: int, stop: int) -> None:  # noqa: B027 (of use to some)
        """Says that rows first..stop-1 will be read soon; by default nothing comes of it."""


Rows: TypeAlias = Tensor | Source
"""Where examples come from: a tensor, which may be mapped, or a source."""


@dataclass(frozen=True)
class Stamp:
    """A file as it was when it was opened: whoever reads it later, reads the same.

    A mapped file that becomes shorter would end the process, and one that is written anew would
    give an epoch two kinds of examples.
    """

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """The stamp of a file as it is now."""
        found = path.stat()
        return cls(path, found.st_size, found.st_mtime_ns)

    def check(self) -> None:
        """Refuses a file that is not what it was.

        Raises:
            ValueError: with the file and what to do.
        """
        remedy = "put back what was there, and resume; or start a new run on what is there now"
        try:
            now = os.stat(self.path)  # for each file of each batch: in few microseconds
        except FileNotFoundError:
            raise ValueError(f"{self.path} is gone since it was opened: {remedy}") from None
        if now.st_size != self.size or now.st_mtime_ns != self.changed:
            raise ValueError(
                f"{self.path} has changed since it was opened ({self.size:,} bytes then, "
                f"{now.st_size:,} now): {remedy}"
            )


class MappedSplit(Split):
    """A split over some rows of files, cut and converted like any other.

    Of mapped arrays the system reads the pages that a batch touches and keeps as many as memory
    allows, shared between the processes of one machine.

    Args:
        source: all rows of the file, or of the files one after the other, in the layout of
            `Split.images`, on the CPU.
        rows: `[n]` int64, those of this split.
        labels: `[n]` int64 class numbers of these rows, or None.
        device: where batches are made.
        features: as those of `Split`.
        buffer: rows that training shuffles together (`batching.permutation`); None: all.
    """

    sources: tuple[Rows, ...]
    rows: Tensor
    target: torch.device

    def __init__(
        self,
        source: Rows | Sequence[Rows],
        rows: Tensor,
        *,
        labels: Tensor | None = None,
        device: torch.device | str = "cpu",
        features: int | None = None,
        buffer: int | None = None,
    ) -> None:
        sources = (*source,) if isinstance(source, Sequence) else (source,)
        label = None if labels is None else labels[:1]
        empty = torch.empty(min(1, len(rows)), *sources[0].shape[1:], dtype=sources[0].dtype)
        checked = Split(_converted(empty), label, features)
        starts = torch.tensor([0, *(one.shape[0] for one in sources)]).cumsum(0)
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
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: `(channels, height, width)`, `(d,)`, ..."""
        return tuple(self.sources[0].shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """What examples are converted to: uint8 or float32."""
        return torch.uint8 if self.sources[0].dtype in (torch.bool, torch.uint8) else torch.float32

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.target

    def stored(self, index: Tensor) -> Tensor:
        """Reads these rows from the files and brings them to the split's device."""
        return self._read(self.rows[index.cpu()]).to(self.device, non_blocking=True)

    def prefetch(self, index: Tensor) -> None:
        """Has the system read the runs of the disk that hold these rows, before they are needed.

        Otherwise each row that is met first makes it read megabytes around, again and again where
        memory is short.
        """
        rows = self.rows[index].sort().values
        starts: Tensor = self.__dict__["_starts"]
        file = torch.bucketize(rows, starts, right=True) - 1
        ends = (rows.diff() > _GAP) | (file.diff() > 0)
        last = torch.cat([ends, ends.new_ones(min(1, len(rows)))]).nonzero()[:, 0]
        first = torch.cat([last.new_zeros(min(1, len(rows))), last[:-1] + 1])
        for number, one, other in zip(file[last], rows[first], rows[last], strict=True):
            source, start = self.sources[int(number)], int(starts[number])
            if not isinstance(source, Tensor):
                source.will_need(int(one) - start, int(other) + 1 - start)

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
            return _converted(read(self.sources[0], rows))
        starts: Tensor = self.__dict__["_starts"]
        file = torch.bucketize(rows, starts, right=True) - 1
        order = file.argsort(stable=True)
        counts = file.bincount(minlength=len(self.sources)).tolist()
        parts = (rows - starts[file])[order].split(counts)
        both = zip(self.sources, parts, strict=True)
        found = [read(one, own) for one, own in both if len(own) or not len(rows)]
        return _converted(torch.cat(found).index_select(0, order.argsort()))

    def _with(
        self, rows: Tensor, *, labels: Tensor | None, device: torch.device | str
    ) -> "MappedSplit":
        return MappedSplit(
            self.sources, rows, labels=labels, device=device, features=self.features,
            buffer=self.buffer,
        )  # fmt: skip


def read(source: Rows, rows: Tensor) -> Tensor:
    """Some rows of a tensor or a source."""
    return source.index_select(0, rows) if isinstance(source, Tensor) else source.read(rows)


def usual_buffer(example: Sequence[int], dtype: torch.dtype) -> int:
    """Rows of this shape and type that half a GiB holds, and at least 1,024."""
    values = torch.Size(example).numel()
    return max(1024, _BUFFER // max(1, values * dtype.itemsize))


def _converted(rows: Tensor) -> Tensor:
    """As a split stores them: black and white as 0 and 255, floats as float32."""
    if rows.dtype == torch.bool:
        return rows.to(torch.uint8).mul_(255)
    return rows.float() if rows.is_floating_point() else rows
