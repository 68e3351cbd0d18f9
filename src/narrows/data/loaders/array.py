"""`array:FILE`: the user's own images or vectors from .npy, .npz or .safetensors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from narrows.data.arrays import Layout, from_array
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
    if path.suffix not in (".npy", ".npz", ".safetensors"):
        raise ValueError(f"expected a file .npy, .npz or .safetensors, got {path.name!r}")
    with _damage_named(path):
        names, read = _open(path)
    chosen = key or _choose(names, path)
    if chosen not in names:
        raise ValueError(f"{path} has no array {chosen!r}; it has {', '.join(names)}")
    usual = next((name for name in _LABELS if name in names and name != chosen), None)
    beside = labels or usual
    with _damage_named(path):
        examples = read(chosen)
        classes = read(beside) if beside in names else None
    if labels is not None and classes is None:
        classes = _label_file(labels, root)
    return from_array(
        examples, classes, name=path.stem, layout=layout, fractions=fractions, seed=seed
    )


def find_path(argument: str, root: Path | None) -> Path:
    """A user's path: as it stands, or below the data root."""
    path = Path(argument).expanduser()
    if root is not None and not path.exists() and (root / path).exists():
        return root / path
    return path


def _open(path: Path) -> tuple[list[str], Callable[[str], Array]]:
    """The names of a file's arrays, and what reads one of them."""
    if path.suffix == ".npy":
        mode = "c" if path.stat().st_size >= LARGE else None
        return ["array"], lambda _: np.load(path, mmap_mode=mode, allow_pickle=False)
    if path.suffix == ".npz":
        file = np.load(path, allow_pickle=False)
        return list(file.files), lambda name: file[name]
    from safetensors.numpy import load_file

    arrays = load_file(path)
    return list(arrays), lambda name: arrays[name]


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Names the file in whatever NumPy, zip and safetensors raise."""
    try:
        yield
    except Exception as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{path} holds pickled Python objects, which are never loaded; save plain arrays"
            ) from None
        raise ValueError(f"{path} is truncated or damaged ({error})") from None


def _choose(names: list[str], path: Path) -> str:
    usual = [name for name in _EXAMPLES if name in names]
    if usual or len(names) == 1:
        return (usual or names)[0]
    raise ValueError(
        f"{path} has the arrays {', '.join(names) or 'none'}; say by key=NAME which holds the "
        "examples"
    )


def _label_file(labels: str, root: Path | None) -> Array:
    path = find_path(labels, root)
    if not path.is_file():
        raise ValueError(f"labels {labels!r} are neither an array of the file nor a file")
    with _damage_named(path):
        return np.load(path, allow_pickle=False)
