"""`activations:DIR`: activations of a network, as `narrows activations` writes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from narrows.data.arrays import Division
from narrows.data.checks import FEWEST
from narrows.data.dataset import Dataset, Origin
from narrows.data.loaders.activations.outliers import outliers
from narrows.data.loaders.activations.shards import joined, open_shards, read_manifest
from narrows.data.loaders.array import find_path
from narrows.data.mapped import LARGE, MappedSplit
from narrows.data.reading.arrays import ArrayFile

ABOUT = "activations of a network, written by narrows activations"
ARGUMENT = "DIR"


def load(  # noqa: PLR0913 (all are named)
    root: Path | None = None,
    *,
    argument: str,
    largest: float | None = None,
    first: bool | None = None,
    fractions: tuple[float, float] = (0.05, 0.05),
    seed: int = 0,
    buffer: int = 2**18,
    verify: bool | None = None,
) -> Dataset:
    """Loads rows of activations as vectors `[d]` in their own units; the values stay on the disk.

    What was recorded with a target is pairs, for a `Transcoder`.

    All rows of a context are in one part: training, validation or test. Training shuffles runs of
    rows and mixes `buffer` of them at a time (`narrows.data.batching.permutation`), so that the
    disk is read in runs; the order depends on the seed and the epoch alone, and a stopped run goes
    on exactly.

    Args:
        root: a relative path that is not found here is looked for there.
        argument: the folder.
        largest: leave out rows whose norm is over this many times the median; by default as the
            folder says, 10.
        first: leave out the first position of each context; by default as the folder says, which
            is so for text.
        fractions: shares of the contexts for validation and test.
        seed: of the division.
        buffer: rows that training shuffles together.
        verify: compare the files' checksums, which reads all of them; by default up to 4 GiB. Sizes
            are compared always.

    Raises:
        FileNotFoundError: if there is no such folder, or nothing in it was extracted.
        ValueError: if files are missing, truncated, damaged or of different widths, or too few
            rows or contexts are left.
    """
    folder = find_path(argument, root)
    manifest = read_manifest(folder)
    size = sum(shard["bytes"] for shard in manifest["shards"])
    shards = open_shards(folder, manifest, verify=size <= LARGE if verify is None else verify)
    rule = manifest["rule"]
    largest = float(rule["largest"] if largest is None else largest)
    out = outliers(
        joined(shards, "norm"), joined(shards, "position"),
        largest=largest, first=bool(rule["first"] if first is None else first),
    )  # fmt: skip
    kept = out.kept
    contexts = joined(shards, "context")[kept]
    parts = _divided(folder, contexts, Division(fractions, seed))
    values = [ArrayFile(folder / shard["file"], "values") for shard in manifest["shards"]]
    train, held, test = (MappedSplit(values, kept[part], buffer=buffer) for part in parts)
    note = (
        f"{len(kept):,} activations of {manifest['layer']} {_aimed(manifest)}"
        f"({str(values[0].dtype).removeprefix('torch.')}) in {len(contexts.unique()):,} contexts, "
        f"divided by context, seed {seed}, shuffled in buffers of {buffer:,}"
    )
    skipped = tuple(out.sentences(largest=largest))
    note += f"; left out: {', '.join(skipped)}" if skipped else ""
    origin = Origin(skipped=skipped, inputs=manifest["shards"][0].get("inputs", 0))
    return Dataset(folder.resolve().name, train, held, test, note=note, origin=origin)


def _aimed(manifest: Mapping[str, Any]) -> str:
    return f"with {manifest['target']} as targets " if "target" in manifest else ""


def _divided(folder: Path, contexts: Tensor, division: Division) -> list[Tensor]:
    """Numbers of the rows of training, validation and test, given the context of each row."""
    found, number = contexts.unique(return_inverse=True)
    if len(contexts) < FEWEST or len(found) < 3:
        raise ValueError(
            f"too few activations: at least {FEWEST} rows of 3 contexts are needed, {folder} has "
            f"{len(contexts)} of {len(found)} once outliers are left out; extract more tokens"
        )
    parts = map(torch.from_numpy, division.rows(len(found), None))
    return [torch.isin(number, part).nonzero()[:, 0] for part in parts]
