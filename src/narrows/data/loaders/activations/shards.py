"""Activations on the disk: shards of rows with where each comes from, and a list of the shards.

A shard is a safetensors file of `values [n, d]` in the type that the network computes in, of pairs
input and target side by side, `norm [n]`, of pairs `[n, 2]`, `context`, `position` and `token`
(`[n]` int32; token -1 where there are none). The list, `activations.json`, is written anew after
each shard, so that a folder is whole up to its last line.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from narrows.data.reading.listed import Listed, check_listed
from narrows.saving.weights import write_weights
from narrows.saving.writing import check_keys, file_checksum, read_json, write_json

MANIFEST, VOCABULARY = "activations.json", "vocabulary.json"
_REMEDY = "run the same narrows activations again, which goes on from the last whole shard"
_INDICES = ("context", "position", "token")


class Rows(NamedTuple):
    """Rows of activations: values `[n, d]`, and of each its context, position and token, `[n]`.

    Of pairs, the first `inputs` of the d values are the input; 0 where there are no targets.
    """

    values: Tensor
    context: Tensor
    position: Tensor
    token: Tensor
    inputs: int = 0


@dataclass(frozen=True, kw_only=True)
class Shard(Listed):
    """What the list says of a shard.

    Attributes:
        batches: of the input that it was made of.
        contexts: that its rows come from.
        inputs: as of `Rows`.
    """

    batches: int
    contexts: int
    inputs: int = 0


class OpenShard(NamedTuple):
    """A shard whose values stay in the file."""

    values: Tensor
    norm: Tensor
    context: Tensor
    position: Tensor
    token: Tensor


def write_shard(folder: Path, number: int, rows: Rows, *, batches: int) -> Shard:
    """Writes one shard, whole or not at all."""
    path = folder / f"{number:05}.safetensors"
    values, inputs = rows.values.float(), rows.inputs
    norm = values.norm(dim=1)
    if inputs:
        norm = torch.stack([values[:, :inputs].norm(dim=1), values[:, inputs:].norm(dim=1)], 1)
    indices = {name: getattr(rows, name).int() for name in _INDICES}
    checksum = write_weights(path, {"values": rows.values, "norm": norm, **indices})
    contexts = len(rows.context.unique())
    size = path.stat().st_size
    return Shard(
        path.name, len(norm), size, checksum, batches=batches, contexts=contexts, inputs=inputs
    )


def write_manifest(
    folder: Path, about: Mapping[str, object], shards: list[Shard], **findings: object
) -> None:
    """Writes the list of the shards so far, and what is known once all are written."""
    listed = [asdict(shard) for shard in shards]
    write_json(folder / MANIFEST, {**about, "shards": listed, **findings})


def unfinished(folder: Path, about: Mapping[str, object]) -> list[Shard]:
    """The shards that an earlier run of the same extraction left whole; they need not be redone.

    Raises:
        ValueError: if the folder holds another extraction, naming what differs.
    """
    if not (folder / MANIFEST).exists():
        return []
    found = read_json(folder / MANIFEST, "remove the folder and extract again")
    plain = json.loads(json.dumps(about))
    other = [key for key, value in plain.items() if found.get(key) != value]
    if other:
        key = other[0]
        raise ValueError(
            f"{folder} holds activations of another extraction ({key} was {found.get(key)!r}, now "
            f"{plain[key]!r}); choose another folder, or remove this one"
        )
    whole: list[Shard] = []
    for shard in (Shard(**entry) for entry in found["shards"]):
        path = folder / shard.file
        if not path.is_file() or file_checksum(path) != shard.sha256:
            break
        whole.append(shard)
    return whole


def read_manifest(folder: Path) -> dict[str, Any]:
    """The list of a finished extraction.

    Raises:
        FileNotFoundError: if the folder has none.
        ValueError: if it is damaged, or the extraction was not finished.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a folder that narrows activations wrote, but {str(folder)!r} has no "
            f"{MANIFEST}"
        )
    found = read_json(path, _REMEDY)
    if "left_out" not in found:
        rows = sum(shard["rows"] for shard in found.get("shards", []))
        raise ValueError(f"{folder} is unfinished, with {rows:,} rows so far: {_REMEDY}")
    check_keys(
        found, path, _REMEDY,
        needed=("layer", "rule", "shards", "left_out", "median_norm"),
        optional=("weights", "dtype", "inputs", "target"),
    )  # fmt: skip
    return found


def open_shards(folder: Path, manifest: Mapping[str, Any], *, verify: bool) -> list[OpenShard]:
    """All shards, their values mapped.

    Args:
        folder: that holds them.
        manifest: of `read_manifest`.
        verify: read every file and compare its checksum, not its size alone.

    Raises:
        ValueError: if a file is missing, truncated, changed or empty, or widths or types differ.
    """
    shards = [Shard(**entry) for entry in manifest["shards"]]
    if not shards:
        raise ValueError(f"{folder} lists no shard: {_REMEDY}")
    opened = [_open(folder, shard, verify=verify) for shard in shards]
    first = opened[0].values
    for shard, one in zip(shards, opened, strict=True):
        if one.values.shape[1:] != first.shape[1:] or one.values.dtype != first.dtype:
            raise ValueError(
                f"shards of one folder must agree in width and type: {shards[0].file} holds "
                f"{_kind(first)}, {shard.file} {_kind(one.values)}; extract each layer into a "
                "folder of its own"
            )
    return opened


def _open(folder: Path, shard: Shard, *, verify: bool) -> OpenShard:
    path = folder / shard.file
    check_listed(folder, shard, verify=verify, named=MANIFEST, remedy=_REMEDY)
    with _damage_named(path), safe_open(path, framework="pt") as file:
        found = OpenShard(*(file.get_tensor(name) for name in OpenShard._fields))
    if found.values.dim() != 2 or any(len(part) != shard.rows for part in found):
        shapes = ", ".join(str(tuple(part.shape)) for part in found)
        raise ValueError(f"{path}: expected {shard.rows} rows in all parts, got {shapes}")
    return found


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): {_REMEDY}") from error


def _kind(values: Tensor) -> str:
    return f"{str(values.dtype).removeprefix('torch.')} of width {values.shape[1]}"


def joined(shards: list[OpenShard], name: str) -> Tensor:
    """One of the small parts of all shards, `[rows]`."""
    return torch.cat([getattr(shard, name) for shard in shards])
