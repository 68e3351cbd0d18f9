"""A user's own array as a data set: what it is taken for is said, what is unclear is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from narrows.data.checks import (
    IMAGES,
    Extent,
    Layout,
    channels_first,
    check_type,
    check_values,
    choose_layout,
    extent,
)
from narrows.data.dataset import Array, Dataset, Split
from narrows.data.joined import Joined, numbers, tensor_of
from narrows.data.mapped import MappedSplit
from narrows.data.splitting import Rows, split_rows
from narrows.data.statistics import row_slices


@dataclass(frozen=True)
class Division:
    """Which examples are for training, for validation and for test.

    Attributes:
        fractions: shares for validation and test, of all or of the training examples.
        seed: of what is set aside.
        parts: `[n]`, "train", "validation" or "test" of each example; a part that no example has
            is set aside from training. None divides all.
    """

    fractions: tuple[float, float] = (0.1, 0.1)
    seed: int = 0
    parts: NDArray[np.str_] | None = None

    def rows(self, n: int, labels: Rows | None) -> tuple[Rows, Rows, Rows]:
        """Rows of the three parts, which are never empty, stratified by labels `[n]`."""
        if not (min(self.fractions) > 0 and sum(self.fractions) < 1):
            raise ValueError(
                "expected two shares above 0 that leave some for training, got "
                f"{tuple(self.fractions)}"
            )
        parts = np.full(n, "train") if self.parts is None else self.parts
        given = [np.flatnonzero(parts == part) for part in ("train", "validation", "test")]
        pool = given[0]
        shares = zip(self.fractions, given[1:], strict=True)
        validation, test = (
            0 if len(rows) else max(1, round(len(pool) * share)) for share, rows in shares
        )
        if validation + test >= len(pool):
            raise ValueError(f"{len(pool)} training examples leave none once parts are set aside")
        own = None if labels is None else labels[pool]
        train, held, tested = split_rows(len(pool), (validation, test), self.seed, own)
        return (
            pool[train],
            given[1] if not validation else pool[held],
            given[2] if not test else pool[tested],
        )

    def __str__(self) -> str:
        if self.parts is None:
            return f"seed {self.seed}"
        return f"parts as given ({', '.join(np.unique(self.parts))}), seed {self.seed}"


def from_array(
    array: ArrayLike | Tensor,
    labels: ArrayLike | Tensor | None = None,
    *,
    name: str = "array",
    layout: Layout = "auto",
    fractions: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
) -> Dataset:
    """Makes a data set of images or vectors; `note` says what they were taken for.

    Images are uint8 with 0..255, bool, or floats with [0, 1], as `[n, channels, height,
    width]`, `[n, height, width, channels]` or `[n, height, width]`. Vectors `[n, d]` are kept in
    their own units as float32. Floats that are all multiples of 1/255 are kept as uint8, which
    loses nothing. A memory-mapped array (`np.load(..., mmap_mode="c")`) stays in its file.

    Args:
        array: the examples.
        labels: `[n]` classes, integers or names; the split is stratified by them. None: no labels.
        name: shown with every number.
        layout: what the axes are; "auto" infers it where only one reading is possible. Data in
            their own units: "nct" for sequences `[n, channels, t]`, "ntd" for `[n, t, d]`, "own"
            for maps and latents `[n, channels, height, width]`.
        fractions: shares of the examples for validation and test.
        seed: of the split.

    Raises:
        ValueError: if the array has no examples to speak of, is constant, holds NaN, values
            outside the range or an unsuitable type, or can be read in two ways.

    Example:
        >>> data = from_array(np.arange(500, dtype=np.uint8).reshape(20, 5, 5) // 2)
        >>> data.shape, data.note
        ((1, 5, 5), '20 images, layout nhw, uint8 with range 0 to 127, seed 0')
    """
    division = Division(fractions, seed)
    return divide(array, labels, name=name, layout=layout, division=division)


def pairs(
    inputs: Tensor,
    targets: Tensor,
    *,
    name: str = "pairs",
    fractions: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
) -> Dataset:
    """Vectors with a target for each, for a `Transcoder` with the network `Pairs`.

    Args:
        inputs: `[n, d]`, what is coded.
        targets: `[n, e]`, what the code is to give.
        name: shown with every number.
        fractions: shares of the examples for validation and test.
        seed: of the split.

    Raises:
        ValueError: if there is not one target for each input, or `from_array` refuses one.

    Example:
        >>> data = pairs(torch.randn(50, 3), torch.randn(50, 2))
        >>> data.shape, data.inputs
        ((5,), 3)
    """
    if inputs.dim() != 2 or targets.dim() != 2 or len(inputs) != len(targets):
        raise ValueError(
            f"expected inputs [n, d] and targets [n, e], one for each, got {list(inputs.shape)} "
            f"and {list(targets.shape)}"
        )
    both = torch.cat([inputs, targets.to(inputs)], 1)
    made = from_array(both, name=name, layout="own", fractions=fractions, seed=seed)
    return replace(made, origin=replace(made.origin, inputs=inputs.shape[1]))


def divide(
    array: ArrayLike | Tensor | Joined,
    labels: ArrayLike | Tensor | None,
    *,
    name: str,
    division: Division,
    layout: Layout = "auto",
    classes: Sequence[str] = (),
) -> Dataset:
    """`from_array` for examples that may have their parts and their classes already.

    Args:
        array: the examples, or where they are.
        labels: `[n]` classes, or None.
        name: shown with every number.
        division: which examples are for what.
        layout: what the axes are.
        classes: names of the labels 0, 1, ..., if they have any.
    """
    given = array if isinstance(array, Joined) else _Held(numbers(array))
    values = given.header
    check_type(values, layout)
    chosen = choose_layout(values.shape, layout)
    images = chosen in IMAGES
    low, high = check_values(given.extents(), values.dtype, images=images)
    names, found = _classes(labels, len(values), tuple(map(str, classes)))
    rows = division.rows(len(values), found)
    features = None if images else int(chosen == "ntd")
    whole = given.split(
        chosen, None if found is None else torch.from_numpy(found), features=features
    )
    train, held, test = (whole.take(torch.from_numpy(part)) for part in rows)
    kind = "images" if images else "vectors" if values.ndim == 2 else "examples in their own units"
    note = (
        f"{len(values)} {kind}, layout {chosen}, {values.dtype} with range {low:.4g} to "
        f"{high:.4g}, {division}"
    )
    note += f", shuffled in buffers of {whole.buffer:,}" if whole.buffer else ""
    return Dataset(name, train, held, test, classes=names, note=note)


@dataclass(frozen=True)
class _Held:
    """Examples in one array, in memory or mapped."""

    header: Array

    def extents(self) -> list[Extent]:
        """Smallest and largest value."""
        return [extent(self.header[rows] for rows in row_slices(self.header.shape))]

    def split(self, layout: Layout, labels: Tensor | None, *, features: int | None) -> Split:
        """All examples, in memory or where a mapped array has them."""
        values = channels_first(self.header, layout)
        if isinstance(values, np.memmap):
            rows = torch.arange(len(values))
            return MappedSplit(tensor_of(values), rows, labels=labels, features=features)
        if features is not None and values.ndim > 2:
            values = values.astype(np.float32)
        elif values.dtype == bool:
            values = values.astype(np.uint8) * np.uint8(255)
        elif features is None and values.dtype.kind == "f":
            scaled = values.astype(np.float32, copy=False) * np.float32(255)
            # Half a float32 step of 255 is 8e-6: closer than this, v was k/255 when it was made.
            exact = np.abs(scaled - np.rint(scaled)).max() < 3e-5
            values = np.rint(scaled).astype(np.uint8) if exact else values
        if values.dtype != np.uint8:
            values = values.astype(np.float32)
        return Split(torch.from_numpy(np.ascontiguousarray(values)), labels, features)


def _classes(
    labels: ArrayLike | Tensor | None, n: int, known: tuple[str, ...]
) -> tuple[tuple[str, ...] | None, Rows | None]:
    """Class names and `[n]` class numbers of labels that may be names or integers."""
    if labels is None:
        return None, None
    given = np.asarray(numbers(labels))
    way_out = "; to go without labels, pass labels=None (in a file of arrays: labels=none)"
    if given.shape != (n,):
        hint = " (one-hot: use .argmax(1))" if given.shape[:1] == (n,) and given.ndim == 2 else ""
        raise ValueError(
            f"expected {n} labels, one for each example, got shape {given.shape}{hint}{way_out}"
        )
    if given.dtype == object and all(isinstance(label, str) for label in given):
        given = given.astype(str)
    if given.dtype.kind not in "biuUS":
        raise ValueError(
            f"expected labels that are integers or names, got {given.dtype}; convert class numbers "
            f"with .astype(int){way_out}"
        )
    if known and given.dtype.kind in "iu" and given.min() >= 0 and given.max() < len(known):
        return known, given.astype(np.int64)
    names, places = np.unique(given, return_inverse=True)
    text = np.char.decode(names, "utf-8", "replace") if names.dtype.kind == "S" else names
    return tuple(str(label) for label in text), places.astype(np.int64)
