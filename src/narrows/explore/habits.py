"""What is usual in the codes of a model: the range of a value, the order of codewords and atoms."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.codes import Code, CodeSpace, Indices, tensors
from narrows.explore.edits import parts, sizes, split


@dataclass(frozen=True)
class Habit:
    """Of one part of a code, over some examples.

    Attributes:
        order: what a channel's indices, the dimensions, or the atoms are sorted by, one list each
            of at most `MOST`: the most used or most varied first.
        low: lower end of each dimension, or the usual coefficient of each atom.
        high: upper end of each dimension; empty for others.
    """

    order: Sequence[Sequence[int]]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


MOST = 4096
"""Indices, dimensions or atoms that are kept in order."""


def habits(space: CodeSpace, codes: Code) -> list[Habit]:
    """The habits of each part of the codes `[n, ...]` of some examples."""
    return [_habit(one, code) for one, code in zip(parts(space), split(space, codes), strict=True)]


def _habit(space: CodeSpace, code: Code) -> Habit:
    first, *values = (tensor.cpu() for tensor in tensors(code))
    if values:
        return _of_atoms(first.flatten(), values[0].flatten(), sum(sizes(space)))
    if isinstance(space, Indices):
        each = first.reshape(-1, space.channels or 1)
        counts = [
            one[one >= 0].bincount(minlength=size)
            for one, size in zip(each.T, space.each, strict=True)
        ]
        return Habit([_order(count) for count in counts])
    flat = first.reshape(-1, first.shape[-1]).double()
    ends = flat.quantile(torch.tensor([0.01, 0.99]).double(), dim=0)
    room = (0.25 * (ends[1] - ends[0])).clamp(min=1e-3)
    low, high = (ends[0] - room).tolist(), (ends[1] + room).tolist()
    return Habit([_order(flat.var(0, correction=0))], low, high)


def _of_atoms(atoms: Tensor, values: Tensor, size: int) -> Habit:
    """Atoms by use; the usual coefficient is as large as the mean one, with its sign."""
    active = (values != 0).to(values)
    use, total, magnitude = (
        torch.zeros(size).index_add(0, atoms, one) for one in (active, values, values.abs())
    )
    overall = values.abs().sum() / active.sum().clamp(min=1)
    overall = torch.where(overall > 0, overall, torch.ones(()))
    # The mean itself may vanish where the sign varies, and be rounded to 0.
    usual = torch.where(use > 0, magnitude / use.clamp(min=1), overall)
    return Habit([_order(use)], torch.where(total < 0, -usual, usual).tolist())


def _order(weight: Tensor) -> list[int]:
    return weight.argsort(descending=True, stable=True)[:MOST].tolist()
