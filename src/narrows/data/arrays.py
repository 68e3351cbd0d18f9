"""A user's own array as a data set: what it is taken for is said, what is unclear is refused."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from narrows.data.dataset import Array, Dataset, Split
from narrows.data.mapped import MappedSplit
from narrows.data.splitting import Rows, split_rows

Layout = Literal["auto", "nchw", "nhwc", "nhw", "nd"]
FEWEST = 10  # below this a validation and a test split would say nothing
_CHANNELS = (1, 3)
_AXES = {"nchw": 4, "nhwc": 4, "nhw": 3, "nd": 2}


def from_array(
    array: Array | Tensor,
    labels: Array | Tensor | None = None,
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
        labels: `[n]` classes, integers or names; the split is stratified by them.
        name: shown with every number.
        layout: what the axes are; "auto" infers it where only one reading is possible.
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
    values = array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asanyarray(array)
    _check_type(values)
    chosen = infer_layout(values.shape) if layout == "auto" else _check_layout(values, layout)
    low, high = _check_values(values, images=chosen != "nd")
    classes, numbers = _classes(labels, len(values))
    whole = _whole(values, chosen, None if numbers is None else torch.from_numpy(numbers))
    rows = _rows(len(values), numbers, fractions, seed)
    parts = [whole.take(torch.from_numpy(part)) for part in rows]
    kind = "vectors" if chosen == "nd" else "images"
    note = (
        f"{len(values)} {kind}, layout {chosen}, {values.dtype} with range {low:.4g} to "
        f"{high:.4g}, seed {seed}"
    )
    return Dataset(name, *parts, classes=classes, note=note)


def infer_layout(shape: tuple[int, ...]) -> Layout:
    """Reads the layout off a shape where only one reading is possible.

    Raises:
        ValueError: if there is none, or more than one.
    """
    if len(shape) == 2:
        return "nd"
    if len(shape) == 3:
        if shape[-1] in _CHANNELS:
            raise ValueError(
                f"shape {shape} is one image of [height, width, channels] or {shape[0]} images "
                f"of {shape[1]}x{shape[2]}; add the missing axis, or pass layout='nhw'"
            )
        return "nhw"
    if len(shape) == 4:
        first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
        if first and last:
            raise ValueError(
                f"shape {shape} can be [n, channels, height, width] or [n, height, width, "
                "channels]; pass layout='nchw' or layout='nhwc'"
            )
        if first or last:
            return "nchw" if first else "nhwc"
        raise ValueError(
            f"expected 1 or 3 channels in axis 1 or 3, got shape {shape}; pass layout='nchw' or "
            "layout='nhwc' if the number of channels is meant"
        )
    raise ValueError(
        f"expected vectors [n, d] or images [n, height, width] or with channels, got shape "
        f"{shape}; reshape to one of these"
    )


def to_tensor(values: Array, layout: Layout) -> Tensor:
    """Stores checked values as uint8 or float32 with channels first."""
    if values.dtype == bool:
        values = values.astype(np.uint8) * np.uint8(255)
    elif layout != "nd" and values.dtype.kind == "f":
        scaled = values.astype(np.float32, copy=False) * np.float32(255)
        # Half a float32 step of 255 is 8e-6: closer than this, v was k/255 when it was made.
        exact = np.abs(scaled - np.rint(scaled)).max() < 3e-5
        values = np.rint(scaled).astype(np.uint8) if exact else values
    if values.dtype != np.uint8:
        values = values.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(channels_first(values, layout)))


def channels_first(values: Array, layout: Layout) -> Array:
    """The same numbers as `[n, channels, height, width]` or `[n, d]`, without copying."""
    if layout == "nhw":
        return values[:, None]
    return np.moveaxis(values, -1, 1) if layout == "nhwc" else values


def _check_type(values: Array) -> None:
    if values.dtype == object or (values.dtype.kind not in "bfu" and values.dtype != np.uint8):
        convert = ".astype('uint8')" if values.dtype.kind in "iu" else ".astype('float32')"
        raise ValueError(
            f"expected uint8 with 0..255, bool, or floats, got {values.dtype}; convert with "
            f"{convert} once the values are in that range"
        )
    if values.dtype.kind == "u" and values.dtype != np.uint8:
        raise ValueError(
            f"expected uint8 with 0..255, got {values.dtype}; scale to 0..255 and convert with "
            ".astype('uint8'), or divide by the largest level to floats in [0, 1]"
        )
    if values.ndim == 0 or len(values) < FEWEST:
        found = 0 if values.ndim == 0 else len(values)
        raise ValueError(
            f"too few examples: at least {FEWEST} are needed for training, validation and test, "
            f"got {found} (shape {values.shape}; the first axis counts examples)"
        )
    if values.size == 0:
        raise ValueError(f"the array is empty: shape {values.shape}")


def _check_layout(values: Array, layout: Layout) -> Layout:
    if layout not in _AXES:
        raise ValueError(f"expected a layout of auto, {', '.join(_AXES)}, got {layout!r}")
    if values.ndim != _AXES[layout]:
        raise ValueError(
            f"layout {layout!r} has {_AXES[layout]} axes, got shape {values.shape}; choose the "
            "layout that the array has"
        )
    return layout


def _check_values(values: Array, *, images: bool) -> tuple[float, float]:
    """The smallest and the largest value, a slice of rows at a time."""
    step = max(1, (1 << 24) // max(1, values[:1].size))
    slices = [values[start : start + step] for start in range(0, len(values), step)]
    if values.dtype.kind == "f":
        bad = sum(int(part.size - np.isfinite(part).sum()) for part in slices)
        if bad:
            raise ValueError(
                f"{bad} of {values.size} values are NaN or infinite; remove or replace these "
                "examples first"
            )
    low, high = min(part.min() for part in slices), max(part.max() for part in slices)
    if low == high:
        raise ValueError(
            f"every value is {low:.4g}: a constant array has nothing to learn; check how it was "
            "read"
        )
    if not images:
        return low, high
    if values.dtype.kind == "f" and (low < 0 or high > 1):
        fix = "divide by 255" if low >= 0 and high <= 255 else "scale them to [0, 1]"
        raise ValueError(
            f"float images must lie in [0, 1], got values from {low:.4g} to {high:.4g}; {fix}"
        )
    if values.dtype == np.uint8 and high == 1:
        raise ValueError(
            "uint8 images count 0..255, but these hold only 0 and 1; convert with "
            ".astype(bool) if 1 means white"
        )
    return low, high


def _classes(labels: Array | Tensor | None, n: int) -> tuple[tuple[str, ...] | None, Rows | None]:
    """Class names and `[n]` class numbers of labels that may be names or integers."""
    if labels is None:
        return None, None
    given = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if given.shape != (n,):
        raise ValueError(f"expected {n} labels, one for each example, got shape {given.shape}")
    if given.dtype.kind not in "biuUS":
        raise ValueError(f"expected labels that are integers or names, got {given.dtype}")
    names, numbers = np.unique(given, return_inverse=True)
    return tuple(str(label) for label in names), numbers.astype(np.int64)


def _rows(
    n: int, numbers: Rows | None, fractions: tuple[float, float], seed: int
) -> tuple[Rows, ...]:
    """Rows of the three parts, which are never empty."""
    validation, test = fractions
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise ValueError(
            f"expected two shares above 0 that leave some for training, got {fractions}"
        )
    return split_rows(n, (max(1, round(n * validation)), max(1, round(n * test))), seed, numbers)


def _whole(values: Array, layout: Layout, labels: Tensor | None) -> Split:
    """All examples, in memory or where a mapped array has them."""
    if not isinstance(values, np.memmap):
        return Split(to_tensor(values, layout), labels)
    if values.dtype not in (np.uint8, np.float32):
        raise ValueError(
            f"a mapped array must be uint8 or float32, which need no conversion, got "
            f"{values.dtype}; convert the file, or load it whole"
        )
    source = torch.from_numpy(channels_first(values, layout))
    return MappedSplit(source, torch.arange(len(source)), labels=labels)
