"""Arrays in `.npy`, `.npz` and `.safetensors` files: read, or mapped and left there."""

import contextlib
import ctypes
import functools
import math
import mmap
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from narrows.data.dataset import Array
from narrows.data.joined import tensor_of
from narrows.data.mapped import LARGE, Source, Stamp

_NEAR = 16  # as many rows are read in one go as quickly as one by itself
_AHEAD = 1 << 17  # bytes: more at once, the system may leave unread
ENDINGS = (".npy", ".npz", ".safetensors")


class ArrayFile(Source):
    """An array that stays in its `.npy` or `.safetensors` file.

    It travels to another process as its path, and is mapped there again.

    Args:
        path: of the file.
        key: name of the array in a `.safetensors` file.

    Raises:
        ValueError: if the file is truncated or damaged, holds Python objects, or is an `.npz`.
    """

    def __init__(self, path: Path, key: str = "array") -> None:
        self.key, self.stamp = key, Stamp.of(path)
        self._map()

    def read(self, rows: Tensor) -> Tensor:
        """The examples of these rows."""
        self.stamp.check()
        if len(rows) > 1:
            first, last = int(rows[0]), int(rows[-1])
            if 0 < last - first < _NEAR * len(rows):  # as in a pass in the order of the rows
                self.will_need(first, last + 1)
        return self._values.index_select(0, rows)

    def will_need(self, first: int, stop: int) -> None:
        """Has the system read rows first..stop-1, in steps that it does not cut short."""
        self._advise("MADV_WILLNEED", first, stop, step=_AHEAD)

    def _advise(self, name: str, first: int, stop: int, *, step: int) -> None:
        """Tells the system how these rows will be read, where it takes such advice."""
        advice = getattr(mmap, name, None)
        if advice is None or not self._values.is_contiguous() or first >= stop:
            return
        row = self._values[:1].nbytes
        start, end = (self._values.data_ptr() + row * place for place in (first, stop))
        for place in range(start - start % mmap.PAGESIZE, end, step):
            size = ctypes.c_size_t(min(step, end - place))
            _libc().madvise(ctypes.c_void_p(place), size, advice)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_values"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self.stamp.check()
        self._map()

    def _map(self) -> None:
        path = self.stamp.path
        with open_arrays(path) as arrays:
            found = arrays.mapped(self.key)
        try:
            self._values = found if isinstance(found, Tensor) else tensor_of(found)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        self.shape, self.dtype = tuple(found.shape), self._values.dtype
        # A row that is not in memory yet makes the system read megabytes around it otherwise.
        self._advise("MADV_RANDOM", 0, self.shape[0] if self.shape else 0, step=sys.maxsize)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


class ChoiceError(ValueError):
    """Something else than damage is wrong."""


class Arrays:
    """The arrays of an open file.

    Attributes:
        names: of the arrays; "array" of a `.npy` file's one.
    """

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        self.path, self.names, self._archive, self._tensors = path, ["array"], None, None
        if path.suffix == ".npz":
            self._archive = stack.enter_context(zipfile.ZipFile(path))
            self.names = [name.removesuffix(".npy") for name in self._archive.namelist()]
        elif path.suffix == ".safetensors":
            from safetensors import safe_open

            self._tensors = stack.enter_context(safe_open(path, framework="pt"))  # knows bfloat16
            self.names = list(self._tensors.keys())

    def read(self, name: str) -> Array | Tensor:
        """One array, in memory; those of `.safetensors` are read when they are touched."""
        if self._archive is not None:
            return _member(self._archive, f"{name}.npy")
        if self._tensors is not None:
            return self._tensors.get_tensor(name)
        return np.load(self.path, allow_pickle=False)

    def mapped(self, name: str) -> Array | Tensor:
        """One array, where it is in the file."""
        if self._archive is not None:
            raise ChoiceError(f"{self.path} is packed and cannot be mapped; save arrays as .npy")
        if self._tensors is not None:
            return self._tensors.get_tensor(name)
        return np.load(self.path, mmap_mode="c", allow_pickle=False)


@contextlib.contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """The arrays of a file, within a block that names the file in whatever is wrong with it.

    Raises:
        ValueError: if the ending is none of `ENDINGS`, or the file is truncated or damaged.
    """
    if path.suffix not in ENDINGS:
        raise ValueError(f"expected a file .npy, .npz or .safetensors, got {path.name!r}")
    with _damage_named(path), contextlib.ExitStack() as stack:
        yield Arrays(path, stack)


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    """One array of an `.npz` file, if what unpacks is as large as its two headers say."""
    packed = archive.getinfo(name)
    if packed.file_size > max(LARGE, packed.compress_size):
        raise ChoiceError(
            f"{archive.filename}: {name} unpacks to {packed.file_size} bytes; save an array "
            f"of more than {LARGE} as .npy, which is mapped"
        )
    with archive.open(packed) as file:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(file)
        size = math.prod(shape) * dtype.itemsize
        if not dtype.hasobject and size > packed.file_size:
            raise ValueError(f"{name} announces {size} bytes in {packed.file_size}")
    with archive.open(packed) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Names the file in whatever NumPy, zip and safetensors raise."""
    try:
        yield
    except ChoiceError as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise ValueError(
                f"{path} holds pickled Python objects, which are never loaded; save plain arrays "
                "(of names: np.array(names)), or pass labels=none if these are the labels"
            ) from None
        raise ValueError(f"{path} is truncated or damaged ({error})") from None
