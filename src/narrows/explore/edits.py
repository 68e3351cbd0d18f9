"""What may be changed in a code: it follows from the space that the code is declared to be in.

A code of several parts is a list of its parts here, `Indices`, `Values` or `AtomValues` each. A
place is a site and then a channel, a dimension or an atom.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import pad

from narrows.codes import (
    AtomValues,
    Code,
    CodeSpace,
    Indices,
    Several,
    Values,
    atoms_of,
    concatenate,
    one_tensor,
    tensors,
)
from narrows.generation import path_for
from narrows.sparse.solution import canonical


class Change(NamedTuple):
    """One number of a code and what it becomes.

    Attributes:
        part: which part of the code; 0 where there is one.
        place: the site, then the channel (0 where a site has one index), dimension or atom.
        value: an index, a value, or the coefficient of an atom, of which 0 takes it away.
    """

    part: int
    place: tuple[int, ...]
    value: float


def parts(space: CodeSpace) -> list[CodeSpace]:
    """The spaces of one kind each that a space is made of."""
    if isinstance(space, Several):
        return [inner for part in space.parts for inner in parts(part)]
    return [space]


def split(space: CodeSpace, code: Code) -> list[Code]:
    """A code as one for each of `parts(space)`."""
    held = iter(tensors(code))
    return [part.assemble(held) for part in parts(space)]


def joined(space: CodeSpace, codes: Sequence[Code]) -> Code:
    """Undoes `split`."""
    return space.assemble(iter(tensors(tuple(codes))))


def changed(space: CodeSpace, code: Code, *, change: Change) -> Code:
    """A code `[1, ...]` with one number replaced.

    Args:
        space: what the code is declared to be (`Bottleneck.codes`).
        code: of one example.
        change: where, and to what.

    Raises:
        ValueError: if there is no such place, or no such value there.

    Example:
        >>> changed(Indices(8), torch.zeros(1, 2, 2).long(), change=Change(0, (0, 1, 0), 5))
        tensor([[[0, 5],
                 [0, 0]]])
    """
    spaces, codes = parts(space), split(space, code)
    if not 0 <= change.part < len(spaces):
        raise ValueError(f"expected a part in 0..{len(spaces) - 1}, got {change.part}")
    own, old = spaces[change.part], codes[change.part]
    check_change(own, old, change=change)
    codes[change.part] = _replaced(own, old, change)
    return joined(space, codes)


def alternatives(space: CodeSpace, code: Code, *, changes: Sequence[Change]) -> Code:
    """Codes `[len(changes), ...]`: the given one `[1, ...]` with one change each."""
    return concatenate([changed(space, code, change=change) for change in changes])


def between(space: CodeSpace, a: Code, *, b: Code, t: float) -> Code:
    """The point at t in [0, 1] from a code to another, each part on the path that suits it.

    Raises:
        ValueError: if t lies outside.
    """
    if not 0 <= t <= 1:
        raise ValueError(f"expected t in [0, 1], got {t}")
    pairs = zip(parts(space), split(space, a), split(space, b), strict=True)
    return joined(space, [path_for(part)(one, two, t=t) for part, one, two in pairs])


def sizes(space: CodeSpace) -> tuple[int, ...]:
    """How many values each channel takes, of indices; the number of dimensions or atoms else."""
    match space:
        case Indices():
            return space.each
        case Values():
            return (space.dim,)
        case AtomValues():
            return (space.size,)
    return ()


def check_change(space: CodeSpace, code: Code, *, change: Change) -> None:
    """Refuses what is no place of one part of a code, and what cannot stand there.

    Raises:
        ValueError: with the bounds.
    """
    shape = tuple(tensors(code)[0].shape[1:])
    single = isinstance(space, Indices) and space.channels is None
    grid = shape if single else shape[:-1]
    last = len(sizes(space)) if isinstance(space, Indices) else sum(sizes(space))
    bounds = (*grid, last)
    inside = len(change.place) == len(bounds) and all(
        0 <= one < size for one, size in zip(change.place, bounds, strict=True)
    )
    if not inside:
        raise ValueError(f"expected a place below {bounds}, got {change.place}")
    if not math.isfinite(change.value):
        raise ValueError(f"expected a finite value, got {change.value}")
    if isinstance(space, Indices):
        most = space.each[change.place[-1]] - 1
        if change.value != int(change.value) or not 0 <= change.value <= most:
            raise ValueError(f"expected an index in 0..{most}, got {change.value:g}")


def _replaced(space: CodeSpace, code: Code, change: Change) -> Code:
    """One part with its number replaced, which has been checked."""
    place = (0, *change.place)
    match space:
        case AtomValues():
            atoms, values = atoms_of(code)
            site, atom = place[:-1], change.place[-1]
            here = torch.zeros_like(atoms, dtype=torch.bool)
            here[site] = atoms[site] == atom
            added = values.new_zeros(*values.shape[:-1], 1)
            added[site] = change.value
            return canonical(
                pad(atoms, (0, 1), value=atom),
                torch.cat([values.masked_fill(here, 0), added], -1),
            )
        case Indices() | Values():
            moved = one_tensor(code).clone()
            flat = isinstance(space, Indices) and space.channels is None
            moved[place[:-1] if flat else place] = change.value
            return moved
    raise ValueError(f"codes of {space} cannot be changed here; see narrows.codes")
