"""A data set: three splits of examples with what they are."""

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.data.statistics import Statistics, statistics
from narrows.saving.arguments import Part

Array: TypeAlias = NDArray[Any]
"""A NumPy array of any element type."""


@dataclass(frozen=True, eq=False)
class Split(Part):
    """Examples held whole in one tensor, on one device.

    Images stay uint8, a quarter of their size as floats, until a batch is cut, on the device
    that holds them; no Python runs per example.

    Attributes:
        images: `[n, channels, height, width]`, uint8 with 0..255 or float32 with [0, 1]; or
            vectors `[n, d]`, float32 in their own units, or uint8; or float32 `[n, t, d]`.
        labels: `[n]` int64 class numbers, or None.
        features: of data in their own units, which axis of an example holds the features; None for
            images in [0, 1]. Data that cannot be images have the last one by default.
        buffer: examples that training shuffles together, of data that stay on the disk
            (`batching.permutation`); None: all.
    """

    images: Tensor
    labels: Tensor | None = None
    features: int | None = None
    buffer: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        if self.features is None and self.images.dim() != 4:
            object.__setattr__(self, "features", self.images.dim() - 2)
        floats = self.images.dtype == torch.float32
        if self.images.dim() not in (2, 4) and not (floats and self.images.dim() > 2):
            raise ValueError(
                "expected images [n, channels, height, width] or vectors [n, d], got shape "
                f"{tuple(self.images.shape)}; narrows.data.from_array accepts other layouts"
            )
        if self.images.dtype not in (torch.uint8, torch.float32):
            raise ValueError(
                f"expected uint8 or float32, got {self.images.dtype}; narrows.data.from_array "
                "converts other types"
            )
        if self.labels is not None and self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"expected one label for each of {len(self.images)} examples, got labels of "
                f"shape {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return self.images.shape[0]

    def __getitem__(self, row: int) -> Tensor | tuple[Tensor, Tensor]:
        """One example as `batch` gives it, with its label if it has one: for a `DataLoader`."""
        place = operator.index(row)
        if not -len(self) <= place < len(self):
            raise IndexError(f"expected a row in 0..{len(self) - 1}, got {place}")
        index = torch.tensor([place % len(self)])
        labels = self.batch_labels(index)
        return self.batch(index)[0] if labels is None else (self.batch(index)[0], labels[0])

    def __repr__(self) -> str:
        # Without the values: of a mapped split they would be read from the disk.
        labels = "" if self.labels is None else ", labels"
        return f"{type(self).__name__}({len(self)} x {self.shape}, {self.dtype}{labels})"

    @property
    def own_units(self) -> bool:
        """False if values are those of images, in [0, 1]."""
        return self.features is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: `(channels, height, width)`, `(d,)`, ..."""
        return tuple(self.images.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """How values are stored: uint8 or float32."""
        return self.images.dtype

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.images.device

    def stored(self, index: Tensor) -> Tensor:
        """The examples of these rows as they are stored, on the split's device."""
        return self.images.index_select(0, index.to(self.images.device, non_blocking=True))

    def prefetch(self, index: Tensor) -> None:
        """Says that these rows will be read soon: of use to data that stay on the disk."""

    def batch(self, index: Tensor) -> Tensor:
        """The examples of these rows as float32, images in [0, 1], on the split's device.

        Args:
            index: `[b]` int64 row numbers, on any device.
        """
        return as_unit(self.stored(index))

    def batch_labels(self, index: Tensor) -> Tensor | None:
        """The labels of these rows, `[b]` int64, or None."""
        if self.labels is None:
            return None
        return self.labels.index_select(0, index.to(self.labels.device, non_blocking=True))

    def to(self, device: torch.device | str) -> "Split":
        """The same split on another device."""
        labels = None if self.labels is None else self.labels.to(device)
        return Split(self.images.to(device), labels, self.features)

    def take(self, index: Tensor) -> "Split":
        """The examples of these rows as a split of their own."""
        return Split(self.stored(index), self.batch_labels(index), self.features)

    def head(self, n: int) -> "Split":
        """The first n examples."""
        return self.take(torch.arange(min(n, len(self))))


@dataclass(frozen=True)
class Origin:
    """Where a data set came from, and what is known of its examples.

    Attributes:
        source: what `narrows.data.load` was asked for, so that it can be asked again; "" if
            the data were made otherwise.
        options: the keyword arguments it was given.
        skipped: what was left out, each with the reason, if anything was.
        rate: samples per second of sound, `[channels, samples]`; None for other data.
        inputs: leading numbers of an example that are coded and not to be given back, where
            examples are pairs of vectors side by side; 0 where they are to be given back whole.
        known: true features `[M, d]` that vectors, or the targets of pairs, are sums of, where
            that is known.
    """

    source: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    rate: int | None = None
    inputs: int = 0
    known: Tensor | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class Dataset(Part):
    """Three disjoint splits of examples of one shape.

    Attributes:
        name: as shown wherever a number measured on it is shown.
        train: what is learned from.
        validation: what settings and checkpoints are chosen by.
        test: what is reported, once.
        classes: class names by label, or None.
        note: one sentence on where it came from, how it was read and how it was split.
        origin: what was asked for, and what was left out.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] | None = None
    note: str = ""
    origin: Origin = field(default_factory=Origin)

    def __post_init__(self) -> None:
        if self.inputs and not (len(self.shape) == 1 and 0 < self.inputs < self.shape[0]):
            raise ValueError(
                f"{self.name}: pairs are vectors of more than inputs={self.inputs} numbers, got "
                f"examples of shape {self.shape}"
            )
        for part, split in (("validation", self.validation), ("test", self.test)):
            if split.shape != self.train.shape:
                raise ValueError(
                    f"{self.name}: training examples have shape {self.train.shape}, those of "
                    f"{part} {split.shape}; all must agree"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: `(channels, height, width)` or `(d,)`."""
        return self.train.shape

    @property
    def dtype(self) -> torch.dtype:
        """How values are stored: uint8 or float32."""
        return self.train.dtype

    def __repr__(self) -> str:
        parts = (self.train, self.validation, self.test)
        sizes = "train={}, validation={}, test={}".format(*map(len, parts))
        return f"Dataset({self.name!r}, {self.shape}, {self.dtype}, {sizes})"

    @property
    def own_units(self) -> bool:
        """False if values are those of images, in [0, 1]."""
        return self.train.own_units

    @property
    def rate(self) -> int | None:
        """Samples per second of sound; None for other data."""
        return self.origin.rate

    @property
    def inputs(self) -> int:
        """Leading numbers of an example that are an input; 0 where examples are no pairs."""
        return self.origin.inputs

    @property
    def levels(self) -> int | None:
        """Number of values that a stored number can take: 256 for 8 bits, None for floats."""
        return 256 if self.dtype == torch.uint8 else None

    @property
    def dimensions(self) -> int:
        """Numbers in one example; bits per dimension divide by it."""
        return math.prod(self.shape)

    @cached_property
    def variance(self) -> float:
        """Variance of the training split, which NMSE divides by.

        Of images, of all values together about their one mean, in [0, 1] squared; that is the
        measure of the VQ-VAE notebook, `np.var(train_data / 255.0)`. Of data in their own units,
        about each feature's own mean, averaged over features: what does not vary explains nothing.
        Of pairs, of the targets.
        """
        return float(self._known.variance[self.inputs :].mean())

    @property
    def input_variance(self) -> float | None:
        """The same of the inputs of pairs; None where examples are no pairs."""
        return float(self._known.variance[: self.inputs].mean()) if self.inputs else None

    @cached_property
    def means(self) -> Tensor:
        """Mean of each feature over the training split, in float64.

        Features are the axis that `Split.features` names; of images all values are one. The shape
        is such that it broadcasts over examples.
        """
        shape = [1] * len(self.shape)
        shape[self.train.features or 0] = -1
        return self._known.mean.view(shape)

    @cached_property
    def _known(self) -> Statistics:
        return statistics(self.train)

    @cached_property
    def fingerprint(self) -> str:
        """Checksum of the examples and labels of all splits: what a run's figures depend on."""
        digest = self._known.digest.copy()
        for split in (self.train, self.validation, self.test):
            if split is not self.train:
                statistics(split, digest)
            if split.labels is not None:
                digest.update(split.labels.cpu().numpy().data)
        return digest.hexdigest()[:16]

    def to(self, device: torch.device | str) -> "Dataset":
        """The same data set with all splits on another device."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
        )


def as_unit(values: Tensor) -> Tensor:
    """uint8 0..255 as float32 in [0, 1]; floats as they are."""
    if values.dtype == torch.uint8:
        return values.to(torch.float32).div_(255)
    return values
