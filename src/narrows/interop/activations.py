"""Activations of any layer of any torch model, written to the disk as they are computed."""

import contextlib
import difflib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from narrows.data.loaders.activations.outliers import LARGEST, LeftOut, outliers
from narrows.data.loaders.activations.shards import (
    Rows,
    Shard,
    joined,
    open_shards,
    unfinished,
    write_manifest,
    write_shard,
)
from narrows.functional.ranks import from_all_ranks, rank, ranks
from narrows.modes import evaluating
from narrows.saving.writing import sole_writer
from narrows.tasks.shown import examples

Inputs: TypeAlias = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
"""What a module is called with: one tensor, several, or several by name."""
_NAMED_BROKEN = 1000


@torch.no_grad()
def record(  # noqa: PLR0913 (all but two are named)
    module: nn.Module,
    layer: str,
    *,
    inputs: Iterable[Inputs],
    out: str | Path,
    target: str | None = None,
    axis: int = -1,
    about: Mapping[str, object] | None = None,
    first: bool = False,
    dtype: torch.dtype | None = None,
    shard_rows: int = 2**16,
    progress: Callable[[int], None] | None = None,
) -> LeftOut:
    """Writes what a layer gives for all inputs as rows `[n, d]`, to train on as `activations:OUT`.

    A batch that has `input_ids` is text: padding (`attention_mask` 0) is left out, and rows keep
    their tokens. Otherwise a context is one example, and a position one of its sites. A forward
    pass ends at the layer. What was interrupted goes on from the last whole shard when asked
    again for the same, and ends in the same files. Several ranks share the shards of texts; the
    files are those of one.

    Args:
        module: any torch model; computes in eval, on the device that it is on.
        layer: dotted path of the layer, as `module.named_modules()` has it.
        inputs: batches; the same in the same order when an extraction is resumed.
        out: folder for the shards.
        target: another layer, whose rows become the targets of this one's: pairs for a
            `Transcoder`.
        axis: of the layer's output that holds the features; 1 for maps of channels.
        about: what the inputs are, in plain values; it is kept, and must be the same to resume.
        first: leave position 0 of each context out of training: for text, whose first token often
            has a norm of its own.
        dtype: of the stored values; None keeps that of the layer.
        shard_rows: a shard ends with the batch that reaches this many rows.
        progress: called with the rows written so far, after each shard.

    Returns:
        Which rows the rule leaves out of training; they stay in the files.

    Raises:
        ValueError: if there is no such layer, the pass does not reach it, its outputs differ in
            width, there is no input, or the folder holds another extraction.
        TypeError: if a layer gives no tensor.

    Example:
        >>> import tempfile, narrows as nw
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> folder = tempfile.mkdtemp()
        >>> left = record(net, "1", inputs=torch.randn(20, 5, 4), out=folder)
        >>> nw.data.load(f"activations:{folder}").shape
        (8,)
    """
    layers = [find_layer(module, name) for name in ([layer] if target is None else [layer, target])]
    folder = Path(out)
    described = {
        "layer": layer, "weights": fingerprint(module), "inputs": dict(about or {}),
        "dtype": None if dtype is None else str(dtype),
        "rule": {"largest": LARGEST, "first": first}, **({"target": target} if target else {}),
    }  # fmt: skip
    first_rank = rank() == 0
    with sole_writer(folder) if first_rank else nullcontext(), evaluating(module):
        from_all_ranks(None)  # nobody writes before the first has the lock
        shards = unfinished(folder, described)
        rest = islice(iter(inputs), sum(shard.batches for shard in shards), None)
        start = sum(shard.contexts for shard in shards)
        if ranks() == 1:
            found = _gathered(_batches(module, layers, rest, axis=axis, start=start), shard_rows)
        else:
            found = _share(module, layers, rest, axis=axis, start=start, shard_rows=shard_rows)
        while made := _round(folder, found, len(shards), dtype):
            shards += made
            if first_rank:
                write_manifest(folder, described, shards)
            if progress and first_rank:
                progress(sum(shard.rows for shard in shards))
        return _finish(folder, described, shards)


def _round(
    folder: Path, found: Iterator[tuple[Rows, int]], done: int, dtype: torch.dtype | None
) -> list[Shard]:
    """The next shards, one of each rank that has one; none at the end."""
    made = None
    for rows, batches in islice(found, 1):
        stored = rows if dtype is None else rows._replace(values=rows.values.to(dtype))
        made = write_shard(folder, done + rank(), stored, batches=batches)
    return [shard for shard in from_all_ranks(made) if shard]


def _share(
    module: nn.Module,
    layers: Sequence[nn.Module],
    inputs: Iterable[Inputs],
    *,
    axis: int,
    start: int,
    shard_rows: int,
) -> Iterator[tuple[Rows, int]]:
    """As `_gathered`, of the shards that one process would write every `ranks()`-th."""
    for number, group in groupby(_numbered(inputs, shard_rows), key=itemgetter(0)):
        batches = [batch for _, batch in group]
        if number % ranks() == rank():
            yield _one([*_batches(module, layers, batches, axis=axis, start=start)]), len(batches)
        start += sum(len(batch["input_ids"]) for batch in batches)


def _numbered(
    inputs: Iterable[Inputs], shard_rows: int
) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
    """Batches of texts with the number of their shard, which their masks tell beforehand.

    Raises:
        TypeError: for other inputs, whose rows are known only once they are computed.
    """
    number, rows = 0, 0
    for batch in inputs:
        if not (isinstance(batch, Mapping) and "input_ids" in batch):
            raise TypeError(
                "several ranks share texts (batches with input_ids), other inputs are for one "
                "process: run it without torchrun"
            )
        yield number, batch
        ids = batch["input_ids"]
        rows += int(batch.get("attention_mask", torch.ones_like(ids)).sum())
        if rows >= shard_rows:
            number, rows = number + 1, 0


def _batches(
    module: nn.Module,
    layers: Sequence[nn.Module],
    inputs: Iterable[Inputs],
    *,
    axis: int,
    start: int,
) -> Iterator[Rows]:
    """The rows of each batch, of two layers side by side; contexts are numbered from `start`."""
    known = None
    for batch in inputs:
        found = [_in_rows(values, axis) for values in outputs_at(module, layers, batch)]
        widths = [values.shape[-1] for values in found]
        if widths != (known := known or widths):
            raise ValueError(
                f"expected rows of width {_words(known)}, got {_words(widths)} from a later batch; "
                "choose the axis of the features, or inputs of one size"
            )
        if found[0].shape[:-1] != found[-1].shape[:-1]:
            raise ValueError(
                "expected one row of the target for each of the layer, got [contexts, positions] "
                f"{list(found[0].shape[:2])} and {list(found[-1].shape[:2])}; choose layers that "
                "keep them"
            )
        rows = _placed(torch.cat(found, -1), batch, start)
        start += len(found[0])
        examples(len(found[0]))
        yield rows._replace(inputs=widths[0] if len(widths) > 1 else 0)


def _words(widths: Sequence[int]) -> str:
    return " and ".join(map(str, widths))


def _in_rows(values: Tensor, axis: int) -> Tensor:
    """`[contexts, positions, d]`."""
    values = values.movedim(axis, -1).detach().cpu()
    return values.flatten(1, -2) if values.dim() > 2 else values[:, None]


def _placed(values: Tensor, batch: Inputs, start: int) -> Rows:
    """Rows of values `[contexts, positions, d]` with where they come from, without padding."""
    shape = values.shape[:2]
    mask, tokens = torch.ones(shape, dtype=torch.int64), torch.full(shape, -1)
    if isinstance(batch, Mapping) and "input_ids" in batch:
        tokens = batch["input_ids"].cpu()
        mask = batch.get("attention_mask", mask).cpu().long()
        if tokens.shape != shape or mask.shape != shape:
            raise ValueError(
                f"expected the layer to give [batch, tokens, d] for {tuple(tokens.shape)} tokens, "
                f"got {tuple(values.shape)}; choose a layer that keeps one row a token"
            )
    contexts = torch.arange(start, start + len(values))[:, None].expand(shape)
    inside = mask.bool()
    return Rows(values[inside], contexts[inside], (mask.cumsum(1) - 1)[inside], tokens[inside])


def _gathered(found: Iterable[Rows], shard_rows: int) -> Iterator[tuple[Rows, int]]:
    """Rows for a shard each, and of how many batches they are."""
    waiting: list[Rows] = []
    for rows in found:
        waiting.append(rows)
        if sum(len(part.values) for part in waiting) >= shard_rows:
            yield _one(waiting), len(waiting)
            waiting = []
    if waiting:
        yield _one(waiting), len(waiting)


def _one(parts: Sequence[Rows]) -> Rows:
    columns = zip(*(part[:-1] for part in parts), strict=True)
    return Rows(*map(torch.cat, columns), inputs=parts[0].inputs)


def _finish(folder: Path, described: Mapping[str, object], shards: list[Shard]) -> LeftOut:
    """Applies the rule, and completes the list."""
    if not shards:
        raise ValueError("expected at least one batch of inputs, got none")
    opened = open_shards(folder, {"shards": [vars(shard) for shard in shards]}, verify=False)
    norm, position = joined(opened, "norm"), joined(opened, "position")
    rule = described["rule"]
    assert isinstance(rule, dict)
    out = outliers(norm, position, **rule)
    broken = out.not_finite.nonzero()[:_NAMED_BROKEN, 0].tolist()
    counts = {**out.counts(), "not_finite_rows": broken}
    medians = out.medians[0] if len(out.medians) == 1 else out.medians
    if rank() == 0:
        write_manifest(folder, described, shards, left_out=counts, median_norm=medians)
    return out


def find_layer(module: nn.Module, layer: str) -> nn.Module:
    """The submodule of this dotted path.

    Raises:
        ValueError: if there is none, with the nearest.
    """
    known = dict(module.named_modules())
    if layer in known:
        return known[layer]
    near = difflib.get_close_matches(layer, known, 3, 0.4)
    ends = [name for name in known if layer and name.endswith(f".{layer}")]
    listed = [*ends, *near] or [name for name, _ in module.named_children()]
    raise ValueError(
        f"{type(module).__name__} has no layer {layer!r}; near it are {', '.join(listed[:4])}"
    )


class _ReachedError(Exception):
    """All layers have given their output: what comes after them need not be computed."""


def outputs_at(module: nn.Module, layers: Sequence[nn.Module], batch: Inputs) -> list[Tensor]:
    """What layers give for a batch; the pass ends at the last.

    Raises:
        ValueError: if the pass ends without one.
        TypeError: if one gives no tensor.
    """
    found: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, _inputs: object, output: object) -> None:
        found.setdefault(layer, main_output(output))
        if len(found) == len({*layers}):
            raise _ReachedError

    hooks = [layer.register_forward_hook(keep) for layer in {*layers}]
    try:
        with contextlib.suppress(_ReachedError):
            call(module, batch)
    finally:
        for hook in hooks:
            hook.remove()
    if len(found) < len({*layers}):
        raise ValueError("the forward pass does not reach the layer; choose one that it uses")
    return [found[layer] for layer in layers]


def main_output(output: object) -> Tensor:
    """The tensor that a layer gives; of several, the first.

    Raises:
        TypeError: if there is none.
    """
    value = output[0] if isinstance(output, Sequence) and len(output) else output
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.dim() < 2:
        raise TypeError(
            f"expected a layer that gives a tensor of numbers [batch, ...], got "
            f"{type(value).__name__}; choose the module inside it that does"
        )
    return value


def call(module: nn.Module, batch: Inputs) -> object:
    """Calls a module with a batch, on the module's device."""
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    if isinstance(batch, Mapping):
        return module(**{name: value.to(device) for name, value in batch.items()})
    given = (batch,) if isinstance(batch, Tensor) else batch
    return module(*(value.to(device) for value in given))


def fingerprint(module: nn.Module) -> str:
    """Checksum of a module's state, in 16 characters."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(
                value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
            )
    return digest.hexdigest()[:16]
