"""`array:FILE`: the user's own images or vectors from .npy, .npz or .safetensors."""

import contextlib
import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from narrows.data.arrays import from_array
from narrows.data.checks import Layout
from narrows.data.dataset import Array, Dataset
from narrows.data.mapped import LARGE

ABOUT = "your own images or vectors from a file of arrays"
ARGUMENT = "FILE.npy|npz|safetensors"
_EXAMPLES = ("images", "image", "x", "X", "data", "vectors", "embeddings", "features")
_LABELS = ("labels", "label", "y", "targets")


def load(
    root: Path | None = None,
    *,
    argument: str,
    key: str | None = None,
    labels: str | bool | None = None,
    layout: Layout = "auto",
    fractions: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
) -> Dataset:
    """Loads an array as `from_array` does; a large `.npy` file is mapped, not read.

    Args:
        root: a relative path that is not found here is looked for there.
        argument: the file.
        key: name of the examples in a file of several arrays; by default the usual ones.
        labels: name of the labels in such a file, or a `.npy` file of labels; by default the
            usual names; "none" or False for no labels.
        layout: of the axes.
        fractions: shares for validation and test.
        seed: of the split.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no array that can be taken for examples.
    """
    path = find_path(argument, root)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {argument!r}; give the path of an array file")
    if path.suffix not in (".npy", ".npz", ".safetensors"):
        raise ValueError(f"expected a file .npy, .npz or .safetensors, got {path.name!r}")
    with _damage_named(path), contextlib.ExitStack() as stack:
        names, read = _open(path, stack)
        chosen = key or _choose(names, path)
        if chosen not in names:
            raise _ChoiceError(f"{path} has no array {chosen!r}; it has {', '.join(names)}")
        examples = read(chosen)
        beside = _labels_named(labels, [name for name in names if name != chosen])
        classes = read(beside) if beside in names else None
    if beside and classes is None:
        classes = _label_file(beside, root)
    return from_array(
        examples, classes, name=path.stem, layout=layout, fractions=fractions,
        seed=seed,
    )  # fmt: skip


def find_path(argument: str, root: Path | None) -> Path:
    """A user's path: as it stands, or below the data root."""
    path = Path(argument).expanduser()
    if root is not None and not path.exists() and (root / path).exists():
        return root / path
    return path


def _open(
    path: Path, stack: contextlib.ExitStack
) -> tuple[list[str], Callable[[str], Array | Tensor]]:
    """The names of a file's arrays, and what reads one of them."""
    if path.suffix == ".npy":
        mode = "c" if path.stat().st_size >= LARGE else None
        return ["array"], lambda _: np.load(path, mmap_mode=mode, allow_pickle=False)
    if path.suffix == ".npz":
        archive = stack.enter_context(zipfile.ZipFile(path))
        return [name.removesuffix(".npy") for name in archive.namelist()], lambda name: _member(
            archive, f"{name}.npy"
        )
    from safetensors import safe_open

    file = stack.enter_context(safe_open(path, framework="pt"))  # which knows bfloat16
    return list(file.keys()), file.get_tensor


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    """One array of an `.npz` file, if what unpacks is as large as its two headers say."""
    packed = archive.getinfo(name)
    if packed.file_size > max(LARGE, packed.compress_size):
        raise _ChoiceError(
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


class _ChoiceError(ValueError):
    """Something else than damage is wrong."""


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Names the file in whatever NumPy, zip and safetensors raise."""
    try:
        yield
    except _ChoiceError as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{path} holds pickled Python objects, which are never loaded; save plain arrays "
                "(of names: np.array(names)), or pass labels=none if these are the labels"
            ) from None
        raise ValueError(f"{path} is truncated or damaged ({error})") from None


def _choose(names: list[str], path: Path) -> str:
    usual = [name for name in _EXAMPLES if name in names]
    if usual or len(names) == 1:
        return (usual or names)[0]
    raise _ChoiceError(
        f"{path} has the arrays {', '.join(names) or 'none'}; say by key=NAME which holds the "
        "examples"
    )


def _labels_named(labels: str | bool | None, names: list[str]) -> str:
    """The array or file that labels are in; "" for no labels."""
    if labels is None or labels is True:
        return next((name for name in _LABELS if name in names), "")
    return labels if labels and labels.lower() != "none" else ""


def _label_file(labels: str, root: Path | None) -> Array:
    path = find_path(labels, root)
    if not path.is_file():
        raise ValueError(f"labels {labels!r} are neither an array of the file nor a file")
    with _damage_named(path):
        return np.load(path, allow_pickle=False)
