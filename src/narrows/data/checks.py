"""What an array of examples may be: its layout, its type, its values."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from torch import Tensor

from narrows.data.dataset import Array
from narrows.functional.examples import to_unit

Layout = Literal["auto", "nchw", "nhwc", "nhw", "nd", "nct", "ntd", "own"]
Values = TypeVar("Values", Array, Tensor)
FEWEST = 10  # below this a validation and a test split would say nothing
LARGEST = 1e15  # in magnitude: sums of squares fit in float32
_CHANNELS = (1, 3)
_AXES = {"nchw": 4, "nhwc": 4, "nhw": 3, "nd": 2, "nct": 3, "ntd": 3}
IMAGES = ("nchw", "nhwc", "nhw")
"""Layouts of images; all others are of data in their own units."""


def check_type(values: Array, layout: Layout) -> None:
    """Refuses dtypes that cannot be examples, and too few examples."""
    kind, levels = values.dtype.kind, values.dtype == np.uint8
    own = layout in ("own", "nct", "ntd")
    if kind not in "bfu" or (kind == "u" and not levels and own):
        convert = ".astype('uint8')" if kind in "iu" and not own else ".astype('float32')"
        raise ValueError(
            f"expected uint8 with 0..255, bool, or floats, got {values.dtype}; convert with "
            f"{convert} once the values are in that range"
        )
    if kind == "u" and not levels:
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


def choose_layout(shape: tuple[int, ...], layout: Layout) -> Layout:
    """The layout that was given, if the shape has it, or the one that the shape has."""
    if layout == "auto":
        return infer_layout(shape)
    if layout == "own" and len(shape) > 1:
        return {2: "nd", 3: "ntd"}.get(len(shape), layout)  # pyright: ignore[reportReturnType]
    if layout not in _AXES:
        raise ValueError(f"expected a layout of auto, own, {', '.join(_AXES)}, got {layout!r}")
    if len(shape) != _AXES[layout]:
        raise ValueError(
            f"layout {layout!r} has {_AXES[layout]} axes, got shape {shape}; choose the layout "
            "that the array has"
        )
    return layout


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
                f"of {shape[1]}x{shape[2]}; add the missing axis, or pass layout='nhw', or "
                "layout='nct' (sequences [n, channels, t]) or layout='own' ([n, t, d])"
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
            "layout='nhwc' if the number of channels is right, layout='own' for data other than "
            "images"
        )
    raise ValueError(
        f"expected vectors [n, d] or images [n, height, width] or with channels, got shape "
        f"{shape}; reshape to one of these, or pass layout='own' for data other than images"
    )


class Extent(NamedTuple):
    """Smallest and largest of some values as they will be stored, and how many are no numbers."""

    low: float
    high: float
    bad: int
    size: int


def extent(parts: Iterable[Array]) -> Extent:
    """The extent of values that come a part at a time."""
    low, high, bad, size = np.inf, -np.inf, 0, 0
    for part in parts:
        size += part.size
        if part.dtype.kind == "f":
            with np.errstate(over="ignore"):
                part = part.astype(np.float32, copy=False)
            bad += int(np.isnan(part).sum() + (np.abs(part) > LARGEST).sum())
        low, high = min(low, part.min().item()), max(high, part.max().item())
    return Extent(low, high, bad, size)


def check_values(found: Sequence[Extent], dtype: np.dtype, *, images: bool) -> tuple[float, float]:
    """The smallest and the largest of all values, if they can be examples.

    Args:
        found: of each file or array.
        dtype: of the values.
        images: False for data in their own units.
    """
    bad, size = sum(part.bad for part in found), sum(part.size for part in found)
    low, high = min(part.low for part in found), max(part.high for part in found)
    if bad:
        raise ValueError(
            f"{bad} of {size} values are NaN or infinite, or beyond {LARGEST:g}; remove, "
            "replace or scale them first"
        )
    if low == high:
        raise ValueError(
            f"every value is {low:.4g} in float32: a constant array has nothing to learn; check "
            "how it was read"
        )
    if images and dtype.kind == "f" and (low < 0 or high > 1):
        raise ValueError(
            f"float images must lie in [0, 1], got values from {low:.4g} to {high:.4g}; "
            f"{to_unit(low, high)}, or for other data pass layout='nct' or 'ntd' (sequences) or "
            "layout='own' (maps)"
        )
    if images and dtype == np.uint8 and high == 1:
        raise ValueError(
            "uint8 images count 0..255, but these hold only 0 and 1; convert with "
            ".astype(bool) if 1 means white"
        )
    return low, high


def channels_first(values: Values, layout: Layout) -> Values:
    """The same numbers as `[n, channels, height, width]` or `[n, d]`, without copying."""
    if layout == "nhw":
        return values[:, None]
    if layout != "nhwc":
        return values
    return values.movedim(-1, 1) if isinstance(values, Tensor) else np.moveaxis(values, -1, 1)
