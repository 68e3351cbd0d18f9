"""`array:FILE`: the user's own images or vectors from .npy, .npz or .safetensors."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrows.data.arrays import Layout, from_array
from narrows.data.dataset import Dataset
from narrows.data.mapped import LARGE, map_array

ABOUT = "your own images or vectors from a file of arrays"
ARGUMENT = "FILE.npy|npz|safetensors"
_EXAMPLES = ("images", "image", "x", "X", "data", "vectors", "embeddings", "features")
_LABELS = ("labels", "label", "y", "targets")


def load(
    root: Path | None = None,
    *,
    argument: str,
    key: str | None = None,
    labels: str | None = None,
    layout: Layout = "auto",
    fractions: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
) -> Dataset:
    """Loads an array as `from_array` does; a large `.npy` file is mapped, not read.

    Args:
        root: a relative path that is not found here is looked for there.
        argument: the file.
        key: name of the examples in a file of several arrays; by default the usual ones.
        labels: name of the labels in such a file, or a `.npy` file of labels.
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
    arrays = _read(path)
    name = key or _choose(arrays, _EXAMPLES, path)
    if name not in arrays:
        raise ValueError(f"{path} has no array {name!r}; it has {', '.join(arrays)}")
    return from_array(
        arrays[name],
        _labels(arrays, labels, name, root),
        name=path.stem,
        layout=layout,
        fractions=fractions,
        seed=seed,
    )


def find_path(argument: str, root: Path | None) -> Path:
    """A user's path: as it stands, or below the data root."""
    path = Path(argument).expanduser()
    if root is not None and not path.exists() and (root / path).exists():
        return root / path
    return path


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name; those of pickled objects are refused unread."""
    try:
        if path.suffix == ".npy":
            mapped = path.stat().st_size >= LARGE
            array = map_array(path) if mapped else np.load(path, allow_pickle=False)
            return {"array": array}
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
    except Exception as error:  # NumPy, zip and safetensors each raise their own
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{path} holds pickled Python objects, which are never loaded; save plain arrays"
            ) from None
        raise ValueError(f"{path} is truncated or damaged ({error})") from None
    raise ValueError(f"expected a file .npy, .npz or .safetensors, got {path.name!r}")


def _choose(arrays: dict[str, NDArray[Any]], usual: tuple[str, ...], path: Path) -> str:
    known = [name for name in usual if name in arrays]
    if known or len(arrays) == 1:
        return known[0] if known else next(iter(arrays))
    raise ValueError(
        f"{path} has the arrays {', '.join(arrays) or 'none'}; say by key=NAME which holds the "
        "examples"
    )


def _labels(
    arrays: dict[str, NDArray[Any]], wanted: str | None, examples: str, root: Path | None
) -> NDArray[Any] | None:
    if wanted is None:
        return next((arrays[name] for name in _LABELS if name in arrays and name != examples), None)
    if wanted in arrays:
        return arrays[wanted]
    path = find_path(wanted, root)
    if not path.is_file():
        raise ValueError(f"labels {wanted!r} are neither an array of the file nor a file")
    return np.load(path, allow_pickle=False)
