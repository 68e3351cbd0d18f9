"""A data set decoded once into a folder of shards, with a list that says what each holds."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from narrows.data.checks import Extent, extent
from narrows.data.dataset import Dataset, Origin, Split
from narrows.data.reading.listed import Listed, check_listed
from narrows.recorded import FORMAT
from narrows.saving.weights import write_weights
from narrows.saving.writing import check_keys, read_json, sole_writer, write_json

LIST = "shards.json"
_BYTES = 1 << 26  # of the examples in a shard
_REMEDY = "write the folder again with narrows data NAME --shards DIR"


def write_shards(data: Dataset, out: str | Path) -> Path:
    """Writes a data set as `shards:OUT` reads it: its splits, labels and all that is known of it.

    For data that are slow to read, such as pictures in `webdataset:` files. Images stay 8-bit.
    The list of the shards is completed last: a folder that was left half-written is refused.

    Args:
        data: to write.
        out: a folder that is not there, is empty, or was left unfinished.

    Returns:
        The folder.

    Raises:
        FileExistsError: if the folder holds something else.
        FolderInUseError: if another process writes into it.

    Example:
        >>> import tempfile, narrows as nw
        >>> folder = write_shards(nw.data.load("digits"), tempfile.mkdtemp() + "/digits")
        >>> nw.data.load(f"shards:{folder}").train
        MappedSplit(1257 x (1, 8, 8), torch.uint8, labels)
    """
    folder = Path(out)
    known = {
        "format": FORMAT, "name": data.name, "note": data.note, "layout": _layout(data.train),
        "classes": None if data.classes is None else list(data.classes),
        "inputs": data.inputs, "rate": data.rate,
    }  # fmt: skip
    shards: list[dict[str, Any]] = []
    with sole_writer(folder):
        _claim(folder)
        for name in ("train", "validation", "test"):
            for entry in _written(folder, name, getattr(data, name)):
                shards.append(entry)
                write_json(folder / LIST, {**known, "shards": shards, "whole": False})
        write_json(folder / LIST, {**known, "shards": shards, "whole": True})
    return folder


def read_list(folder: Path) -> dict[str, Any]:
    """The list of a folder that `write_shards` finished.

    Raises:
        ValueError: if it is damaged or unfinished.
    """
    path = folder / LIST
    found = read_json(path, _REMEDY)
    needed = ("format", "name", "note", "layout", "classes", "inputs", "rate", "shards", "whole")
    check_keys(found, path, _REMEDY, needed=needed)
    if not found["whole"] or not found["shards"]:
        raise ValueError(f"{folder} is unfinished, with {len(found['shards'])} shards: {_REMEDY}")
    return found


def listed_shards(
    folder: Path, known: Mapping[str, Any], *, verify: bool
) -> Iterator[tuple[Path, Extent]]:
    """The files of the list, each with what its values lie between.

    Raises:
        ValueError: if one is missing, truncated or changed.
    """
    for shard in known["shards"]:
        entry = Listed(**{key: shard[key] for key in Listed.__annotations__})
        path = check_listed(folder, entry, verify=verify, named=LIST, remedy=_REMEDY)
        yield path, Extent(*shard["extent"])


def restored(data: Dataset, known: Mapping[str, Any]) -> Dataset:
    """The data set with what its list knows of it."""
    origin = Origin(inputs=known["inputs"], rate=known["rate"])
    classes = known["classes"]
    return replace(
        data, name=known["name"], note=f"{known['note']}; in shards: {data.note}", origin=origin,
        classes=None if classes is None or data.train.labels is None else tuple(classes),
    )  # fmt: skip


def _claim(folder: Path) -> None:
    """Empties a folder that an earlier writing left unfinished; refuses any other content."""
    here = [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]
    if not here:
        return
    unfinished = (folder / LIST).is_file() and not read_json(folder / LIST, _REMEDY).get("whole")
    if not unfinished:
        raise FileExistsError(f"{folder} already holds {here[0].name}; choose another folder")
    for path in here:
        path.unlink()


def _written(folder: Path, name: str, split: Split) -> Iterator[dict[str, Any]]:
    """Writes a split, shard by shard, and says what each holds."""
    each = max(1, _BYTES // max(1, torch.Size(split.shape).numel() * split.dtype.itemsize))
    parts = torch.arange(len(split)).split(each)
    (folder / name).mkdir(exist_ok=True)
    for number, rows in enumerate(parts):
        stored = split.stored(rows).cpu()
        content: dict[str, Tensor] = {"examples": stored}
        labels = split.batch_labels(rows)
        if labels is not None:
            content["labels"] = labels
        path = folder / name / f"{number:05}.safetensors"
        checksum = write_weights(path, content)
        relative = path.relative_to(folder).as_posix()
        entry = Listed(relative, len(stored), path.stat().st_size, checksum)
        yield {**asdict(entry), "extent": list(extent([stored.numpy()]))}


def _layout(split: Split) -> str:
    """The layout of `from_array` that a split's examples have."""
    if split.features is None:
        return "nchw"
    axes = len(split.shape)
    return "own" if axes > 2 else "nd" if axes == 1 else ("nct", "ntd")[split.features]
