"""Examples in several files of arrays: a folder of shards, or files that the user names."""

import glob
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from narrows.data.arrays import Division, divide
from narrows.data.checks import Extent, Layout
from narrows.data.dataset import Array, Dataset
from narrows.data.joined import Joined, numbers, tensor_of
from narrows.data.loaders.activations.shards import MANIFEST
from narrows.data.loaders.array import chosen_key, labels_named
from narrows.data.loaders.folder import named_splits, top_folder
from narrows.data.mapped import LARGE, usual_buffer
from narrows.data.reading.arrays import ArrayFile, ChoiceError, open_arrays
from narrows.data.reading.shard_folder import LIST, listed_shards, read_list, restored
from narrows.saving.arguments import check_arguments


def from_arrays(
    arrays: Sequence[ArrayLike | Tensor],
    labels: ArrayLike | Tensor | None = None,
    *,
    name: str = "arrays",
    layout: Layout = "auto",
    fractions: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
    buffer: int | None = None,
) -> Dataset:
    """Makes a data set of arrays that follow one another; mapped ones stay in their files.

    Args:
        arrays: of one shape and type but for their lengths, as `from_array` takes them; map them
            by `np.load(path, mmap_mode="c")`.
        labels: classes of all examples in their order, or None.
        name: shown with every number.
        layout: what the axes are.
        fractions: shares of the examples for validation and test.
        seed: of the split.
        buffer: rows that training shuffles together (`narrows.data.batching.permutation`), so
            that files are read in runs; None: all.

    Raises:
        ValueError: as `from_array`, or if the arrays differ in shape or type, or one is empty.

    Example:
        >>> import torch
        >>> data = from_arrays([torch.randn(30, 4), torch.randn(20, 4)])
        >>> len(data.train), len(data.validation), len(data.test)
        (40, 5, 5)
    """
    sources = tuple(one if isinstance(one, Tensor) else tensor_of(numbers(one)) for one in arrays)
    names = tuple(f"array {place}" for place in range(len(sources)))
    return divide(
        Joined(sources, names, buffer), labels, name=name, layout=layout,
        division=Division(fractions, seed),
    )  # fmt: skip


def from_shards(  # noqa: PLR0913 (all but one are named)
    shards: str | Path | Sequence[str | Path],
    *,
    key: str | None = None,
    labels: str | bool | None = None,
    layout: Layout = "auto",
    fractions: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
    buffer: int | None = None,
    verify: bool | None = None,
) -> Dataset:
    """Makes a data set of `.npy` and `.safetensors` files that follow one another and stay on disk.

    Of a folder these are all files below it, sorted by name; subfolders `train` and `val` or
    `test` are splits. Labels of `a.safetensors` are its array `labels`, those of `a.npy` the file
    `a.labels.npy`. Every value is read once, to check it as `from_array` does; 8-bit images stay
    8-bit on disk and become [0, 1] batch by batch. What `write_shards` wrote has a list of
    checksums and ranges, and is not read for that where it is large.

    Args:
        shards: a folder, or files.
        key: name of the examples in files of several arrays; by default the usual ones.
        labels: another name of the labels; "none" or False for no labels.
        layout: what the axes are.
        fractions: shares of the examples for validation and test, where there are no splits.
        seed: of the split.
        buffer: rows that training shuffles together (`narrows.data.batching.permutation`), so
            that the disk is read in runs; by default what half a GiB holds.
        verify: compare the checksums of a list, which reads all files; by default up to 4 GiB.
            Sizes are compared always.

    Raises:
        FileNotFoundError: if there is no such folder or file.
        ValueError: as `from_array`; if a file is empty, truncated, damaged, or unlike the others;
            if only some have labels.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for i in range(3):
        ...     np.save(folder / f"{i}.npy", np.random.rand(20, 4))
        >>> from_shards(folder).train
        MappedSplit(48 x (4,), torch.float32)
    """
    check_arguments("from_shards", from_shards, given=locals())
    folder, files = _files(shards)
    known, extents = None, dict[Path, Extent]()
    if (folder / LIST).is_file() and isinstance(shards, (str, Path)):
        known = read_list(folder)
        size = sum(shard["bytes"] for shard in known["shards"])
        verify = size <= LARGE if verify is None else verify
        extents = dict(listed_shards(folder, known, verify=verify))
        files, layout = list(extents), known["layout"]
    opened = [_open(path, key, labels) for path in files]
    for path, (source, _) in zip(files, opened, strict=True):
        source.extent = extents.get(path)
    sources = tuple(source for source, _ in opened)
    buffer = usual_buffer(sources[0].shape[1:], sources[0].dtype) if buffer is None else buffer
    parts = parts_of(folder, files, rows=[source.shape[0] for source in sources])
    given = [(str(path), found) for path, (_, found) in zip(files, opened, strict=True)]
    data = divide(
        Joined(sources, tuple(map(str, files)), buffer), joined_labels(given),
        name=folder.resolve().name, layout=layout, division=Division(fractions, seed, parts),
        classes=(known or {}).get("classes") or (),
    )  # fmt: skip
    return data if known is None else restored(data, known)


def parts_of(
    folder: Path, files: Sequence[Path], *, rows: Sequence[int]
) -> NDArray[np.str_] | None:
    """The part of each example, where subfolders of the folder are the user's splits."""
    names = [PurePosixPath(path.relative_to(folder).as_posix()) for path in files]
    splits = named_splits(map(str, names))
    if not splits:
        return None
    found = [splits.get(top_folder(name), "") for name in names]
    if "" in found:
        raise ValueError(
            f"{files[found.index('')]} is in none of the splits {', '.join(sorted(splits))}; move "
            "it into one"
        )
    return np.repeat(np.array(found), rows)


def joined_labels(given: Sequence[tuple[str, Array | None]]) -> Array | None:
    """The labels of all files, each with its name and labels, or None if no file has any.

    Raises:
        ValueError: if some have labels and others have none, or of another kind.
    """
    missing = [name for name, labels in given if labels is None]
    found = [(name, labels) for name, labels in given if labels is not None]
    if not found:
        return None
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(given)} files have no labels, such as {missing[0]}; add them, "
            "or go without by labels=none"
        )
    kinds = {labels.dtype.kind: name for name, labels in found}
    if len(kinds.keys() - {"i", "u"}) + bool(kinds.keys() & {"i", "u"}) > 1:
        raise ValueError(
            f"labels must be of one kind, {' and '.join(sorted(kinds.values())[:2])} differ; make "
            "all of them numbers or all of them names"
        )
    return np.concatenate([labels for _, labels in found])


def _files(shards: str | Path | Sequence[str | Path]) -> tuple[Path, list[Path]]:
    """The folder that paths are told relative to, and the files of examples."""
    if isinstance(shards, (str, Path)):
        folder = Path(shards).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {str(shards)!r}; give the path of one")
        if (folder / MANIFEST).is_file():
            raise ValueError(f"{folder} holds activations; load them by activations:{folder}")
        found = sorted(p for p in folder.rglob("*.*") if p.suffix in (".npy", ".safetensors"))
        files = [path for path in found if not _is_beside(path) and path.name[0] != "."]
        if not files:
            raise ValueError(f"{folder} holds no .npy or .safetensors file; see narrows data")
        return folder, files
    files = [Path(path).expanduser() for path in shards]
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {str(path)!r}; give the path of a shard")
    if not files:
        raise ValueError("expected at least one shard, got none")
    return files[0].parent, files


def _is_beside(path: Path) -> bool:
    """Whether a file holds something of the examples beside it, such as `a.labels.npy`."""
    return path.with_name(f"{path.name.split('.')[0]}.npy").is_file() and path.name.count(".") > 1


def _open(path: Path, key: str | None, labels: str | bool | None) -> tuple[ArrayFile, Array | None]:
    """A shard that stays on the disk, and its labels."""
    with open_arrays(path) as arrays:
        chosen = chosen_key(arrays, key)
        others = [name for name in arrays.names if name != chosen]
        if path.suffix == ".npy":
            near = path.parent.glob(f"{glob.escape(path.stem)}.*.npy")
            others = [one.name.split(".")[-2] for one in near]
        beside = labels_named(labels, others)
        if beside and beside not in others:
            raise ChoiceError(f"{path} has no labels {beside!r}; labels=none goes without")
        found = arrays.read(beside) if beside in arrays.names else None
    if beside and found is None:
        with open_arrays(path.with_name(f"{path.stem}.{beside}.npy")) as arrays:
            found = arrays.read("array")
    source = ArrayFile(path, chosen)
    known = None if found is None else numbers(found)
    if known is not None and known.shape != source.shape[:1]:
        raise ValueError(
            f"{path}: expected one label for each of {source.shape[0]} examples, got labels of "
            f"shape {known.shape}"
        )
    return source, known
