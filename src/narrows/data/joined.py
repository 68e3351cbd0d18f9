"""Examples in several arrays or files, one after the other: alike, checked, left where they are."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from narrows.data.checks import Extent, Layout, channels_first, extent
from narrows.data.dataset import Array
from narrows.data.mapped import MappedSplit, Rows, Source, read
from narrows.data.statistics import row_slices


@dataclass(frozen=True)
class Joined:
    """Sources of one shape and type, of which `split` makes a split that leaves them in place.

    Attributes:
        sources: tensors, which may be mapped, and files.
        names: of the sources, for messages.
        buffer: rows that training shuffles together; None: all.

    Raises:
        ValueError: if there is no source, or one is empty or unlike the first.
    """

    sources: tuple[Rows, ...]
    names: tuple[str, ...]
    buffer: int | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("expected at least one array, got none")
        first = self.sources[0]
        for name, one in zip(self.names, self.sources, strict=True):
            if not one.shape or not one.shape[0]:
                raise ValueError(f"{name} is empty (shape {tuple(one.shape)}); leave it out")
            if one.shape[1:] != first.shape[1:] or one.dtype != first.dtype:
                raise ValueError(
                    f"all parts must hold examples of one shape and type: {self.names[0]} has "
                    f"{_kind(first)}, {name} {_kind(one)}; convert them, or load them apart"
                )
        if self.buffer is not None and self.buffer < 1:
            raise ValueError(f"expected a buffer of at least 1 row, got {self.buffer}")

    @property
    def header(self) -> Array:
        """An array of the shape and type of all examples, without their values."""
        n, first = sum(one.shape[0] for one in self.sources), self.sources[0]
        stand_in = numbers(torch.zeros((), dtype=first.dtype))
        return np.broadcast_to(stand_in, (n, *first.shape[1:]))

    def extents(self) -> list[Extent]:
        """Smallest and largest values of each source, which reads what does not know its own."""
        known = [None if isinstance(one, Tensor) else one.extent for one in self.sources]
        both = zip(known, self.sources, strict=True)
        return [extent(_slices(one)) if own is None else own for own, one in both]

    def split(self, layout: Layout, labels: Tensor | None, *, features: int | None) -> MappedSplit:
        """All examples, where they are."""
        rows = torch.arange(len(self.header))
        arranged = [_arranged(one, layout) for one in self.sources]
        return MappedSplit(arranged, rows, labels=labels, features=features, buffer=self.buffer)


def numbers(array: ArrayLike | Tensor) -> Array:
    """The numbers of an array or a tensor; bfloat16 and float8, which NumPy lacks, as float32."""
    if not isinstance(array, Tensor):
        try:
            return np.asanyarray(array)
        except ValueError as error:  # of lists of unequal lengths
            raise ValueError(f"expected an array, all rows of one shape, got {error}") from None
    tensor = array.detach().cpu()
    foreign = tensor.is_floating_point() and (tensor.dtype == torch.bfloat16 or tensor.itemsize < 2)
    return (tensor.float() if foreign else tensor).numpy()


def tensor_of(values: Array) -> Tensor:
    """A NumPy array as a tensor on the same memory, or the same file.

    Raises:
        ValueError: if its bytes are in another order than this machine's, or no tensor can have
            its type.
    """
    if not values.dtype.isnative:
        raise ValueError(f"a mapped array must have this machine's byte order: {values.dtype}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        try:
            return torch.from_numpy(values)
        except TypeError as error:
            raise ValueError(f"expected uint8, bool or floats, got {values.dtype}") from error


def _slices(source: Rows) -> Iterator[Array]:
    """A source a few rows at a time."""
    for rows in row_slices(source.shape):
        yield numbers(read(source, torch.arange(rows.start, rows.stop)))


def _arranged(source: Rows, layout: Layout) -> Rows:
    """The same source whose rows are channels first."""
    if isinstance(source, Tensor):
        return channels_first(source, layout)
    return _Arranged(source, layout) if layout in ("nhw", "nhwc") else source


class _Arranged(Source):
    """A source of images in another layout, channels first."""

    def __init__(self, source: Source, layout: Layout) -> None:
        self.source: Source = source
        self.layout: Layout = layout
        meta = torch.empty(source.shape, device="meta")
        self.shape, self.dtype = tuple(channels_first(meta, layout).shape), source.dtype

    def read(self, rows: Tensor) -> Tensor:
        """The examples of these rows."""
        return channels_first(self.source.read(rows), self.layout)

    def will_need(self, first: int, stop: int) -> None:
        """Says that rows first..stop-1 will be read soon."""
        self.source.will_need(first, stop)


class InColour(Source):
    """Pictures in colour, of a source `[n, 1 or 3, height, width]`."""

    def __init__(self, source: Source) -> None:
        self.source: Source = source
        self.shape, self.dtype = (source.shape[0], 3, *source.shape[2:]), source.dtype
        self.extent = source.extent

    def read(self, rows: Tensor) -> Tensor:
        """The examples of these rows."""
        return self.source.read(rows).expand(-1, 3, -1, -1)

    def will_need(self, first: int, stop: int) -> None:
        """Says that rows first..stop-1 will be read soon."""
        self.source.will_need(first, stop)


def _kind(source: Rows) -> str:
    return f"{str(source.dtype).removeprefix('torch.')} of shape {tuple(source.shape[1:])}"
