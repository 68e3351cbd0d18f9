"""Sums and draws over all ranks of torch.distributed, the same on each of them."""

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor


def ranks() -> int:
    """Number of processes that train together; 1 where torch.distributed is not in use."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's place among them; 0 where torch.distributed is not in use."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class RankLostError(RuntimeError):
    """This process was ended because another rank failed."""


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Joins the processes that torchrun started with this one; does nothing where there are none.

    They stay joined, as they cannot be joined twice. torchrun sends SIGTERM where another process
    has failed; this one then ends with a sentence.

    Raises:
        RankLostError: at that signal.
    """
    started = dist.is_available() and dist.is_torchelastic_launched()
    if ranks() > 1 or not started or int(os.environ["WORLD_SIZE"]) == 1:
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    dist.init_process_group("gloo")
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise RankLostError("ended by SIGTERM, which torchrun sends where another rank has failed")


T = TypeVar("T")


def from_all_ranks(value: T) -> list[T]:
    """One object of each rank, by rank; of this process alone where there is one."""
    if ranks() == 1:
        return [value]
    found: list[Any] = [None] * ranks()
    dist.all_gather_object(found, value)
    return found


def in_turn(mine: Iterator[T], count: int) -> Iterator[T]:
    """All of `count` items on every rank, where each has every `ranks()`-th, from its own on."""
    for start in range(0, count, ranks()):
        own = next(mine) if start + rank() < count else None
        yield from (item for item in from_all_ranks(own) if item is not None)


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of every rank's tensor, in place."""
    if ranks() > 1:
        dist.all_reduce(tensor)
    return tensor


def total_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of every rank's tensor, differentiable: each rank's part of the sum of losses.

    Its gradient is the sum over ranks of the gradients that reach it, so that the mean of the
    ranks' gradients (what data parallel training takes) is that of the mean of their losses.
    """
    return tensor if ranks() == 1 else _Total.apply(tensor)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, tensor: Tensor) -> Tensor:
        return sum_over_ranks(tensor.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        return sum_over_ranks(gradients[0].clone(memory_format=torch.contiguous_format))


def least_over_ranks(tensor: Tensor) -> Tensor:
    """The elementwise minimum of every rank's tensor, in place."""
    if ranks() > 1:
        dist.all_reduce(tensor, dist.ReduceOp.MIN)
    return tensor


def gather_over_ranks(values: Tensor) -> Tensor:
    """The numbers `[n]` of all ranks in one row; n may differ between ranks."""
    sizes = _sizes(values)
    if len(sizes) == 1:
        return values
    padded = values.new_zeros(max(sizes))
    padded[: len(values)] = values
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def draw_over_ranks(
    rows: Tensor, number: int, generator: torch.Generator, repeat: bool = True
) -> Tensor:
    """Draws rows from all ranks' rows, as if they were one tensor on one rank.

    Without replacement while there are enough of them; then each again, as often as any other,
    or not again. Only the drawn rows travel.

    Args:
        rows: this rank's rows `[n, dim]`; n may differ between ranks.
        number: how many to draw.
        generator: a CPU generator in the same state on every rank.
        repeat: whether rows are drawn again where there are too few.

    Returns:
        `[number, dim]`; fewer where there are fewer and none is repeated, or there is none.
    """
    sizes = _sizes(rows)
    total, before = sum(sizes), sum(sizes[: dist.get_rank()]) if len(sizes) > 1 else 0
    if total == 0:
        return rows[:0]
    rounds = max(1, -(-number // total)) if repeat else 1
    order = [torch.randperm(total, generator=generator) for _ in range(rounds)]
    index = torch.cat(order)[:number].to(rows.device)
    if len(sizes) == 1:
        return rows[index]
    mine = (index >= before) & (index < before + rows.shape[0])
    drawn = rows.new_zeros(len(index), rows.shape[1])
    drawn[mine] = rows[index[mine] - before]
    return sum_over_ranks(drawn)


def _sizes(rows: Tensor) -> Sequence[int]:
    """Number of rows on each rank."""
    if ranks() == 1:
        return [rows.shape[0]]
    mine = torch.tensor([rows.shape[0]], device=rows.device)
    sizes = [torch.empty_like(mine) for _ in range(ranks())]
    dist.all_gather(sizes, mine)
    return [int(size) for size in sizes]
