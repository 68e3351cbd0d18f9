"""`array:FILE`: the user's own images or vectors from .npy, .npz or .safetensors."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from narrows.data.arrays import Division, divide
from narrows.data.checks import Layout
from narrows.data.dataset import Array, Dataset
from narrows.data.joined import Joined
from narrows.data.mapped import LARGE
from narrows.data.reading.arrays import ENDINGS, ArrayFile, Arrays, ChoiceError, open_arrays

ABOUT = "your own images or vectors from a file of arrays"
ARGUMENT = "FILE.npy|npz|safetensors"
_EXAMPLES = ("examples", "images", "image", "x", "X", "data", "vectors", "embeddings", "features")
_LABELS = ("labels", "label", "y", "targets")


def load(  # noqa: PLR0913 (all are named)
    root: Path | None = None,
    *,
    argument: str,
    key: str | None = None,
    labels: str | bool | None = None,
    layout: Layout = "auto",
    fractions: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
    mapped: bool | None = None,
    buffer: int | None = None,
) -> Dataset:
    """Loads an array as `from_array` does; one that is mapped stays in its file.

    Args:
        root: a relative path that is not found here is looked for there.
        argument: the file.
        key: name of the examples in a file of several arrays; by default the usual ones.
        labels: name of the labels in such a file, or a `.npy` file of labels; by default the
            usual names; "none" or False for no labels.
        layout: of the axes.
        fractions: shares for validation and test.
        seed: of the split.
        mapped: leave the values in the file and read those of a batch; by default if the file has
            4 GiB and is no `.npz`.
        buffer: rows that training shuffles together if the file is mapped, so that it is read in
            runs (`narrows.data.batching.permutation`); by default all.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no array that can be taken for examples.
    """
    path = find_path(argument, root)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {argument!r}; give the path of an array file")
    if mapped is None:
        mapped = path.suffix in ENDINGS and path.suffix != ".npz" and path.stat().st_size >= LARGE
    with open_arrays(path) as arrays:
        chosen = chosen_key(arrays, key)
        beside = labels_named(labels, [name for name in arrays.names if name != chosen])
        examples = None if mapped else arrays.read(chosen)
        classes = arrays.read(beside) if beside in arrays.names else None
    if beside and classes is None:
        classes = _label_file(beside, root)
    return divide(
        Joined((ArrayFile(path, chosen),), (str(path),), buffer) if examples is None else examples,
        classes, name=path.stem, layout=layout, division=Division(fractions, seed),
    )  # fmt: skip


def find_path(argument: str, root: Path | None) -> Path:
    """A user's path: as it stands, or below the data root."""
    path = Path(argument).expanduser()
    if root is not None and not path.exists() and (root / path).exists():
        return root / path
    return path


def chosen_key(arrays: Arrays, key: str | None) -> str:
    """The array of a file that holds the examples: the named one, a usual name, or the only one."""
    names, path = arrays.names, arrays.path
    if key is not None and key not in names:
        raise ChoiceError(f"{path} has no array {key!r}; it has {', '.join(names)}")
    usual = [name for name in _EXAMPLES if name in names]
    if key or usual or len(names) == 1:
        return key or (usual or names)[0]
    raise ChoiceError(
        f"{path} has the arrays {', '.join(names) or 'none'}; say by key=NAME which holds the "
        "examples"
    )


def labels_named(labels: str | bool | None, names: Sequence[str]) -> str:
    """The array or file that labels are in; "" for no labels."""
    if labels is None or labels is True:
        return next((name for name in _LABELS if name in names), "")
    return labels if labels and labels.lower() != "none" else ""


def _label_file(labels: str, root: Path | None) -> Array | Tensor:
    path = find_path(labels, root)
    if not path.is_file() or path.suffix != ".npy":
        raise ValueError(f"labels {labels!r} are neither an array of the file nor a file .npy")
    with open_arrays(path) as arrays:
        return arrays.read("array")
