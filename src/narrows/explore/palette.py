"""What could stand at one place of a code: codewords and atoms, those that are used most first."""

from typing import NamedTuple

from narrows.codes import AtomValues, Code, CodeSpace, Indices, atoms_of, one_tensor
from narrows.explore.edits import Change, check_change
from narrows.explore.habits import Habit

PAGE = 24
"""Codewords or atoms that are shown at a time."""


class Offer(NamedTuple):
    """One choice: the change that makes it, and what stands there now.

    Attributes:
        change: to the index, or to the coefficient that the atom has, or usually has.
        now: the index that stands there, or the coefficient that the atom has, 0 if it is off.
    """

    change: Change
    now: float


def offers(
    space: CodeSpace, code: Code, habit: Habit, *, part: int, site: tuple[int, ...], page: int
) -> tuple[list[Offer], int]:
    """The choices of a page, and the number of pages.

    Args:
        space: of this part of the code, `Indices` or `AtomValues`.
        code: this part, `[1, ...]`.
        habit: the order of its choices.
        part: its number.
        site: the place without its last entry for atoms; with the channel for indices.
        page: from 0.

    Raises:
        ValueError: if there is no such place or page, or the part is of values.
    """
    if isinstance(space, AtomValues):
        check_change(space, code, change=Change(part, (*site, 0), 0))
        atoms, values = (tensor[(0, *site)].tolist() for tensor in atoms_of(code))
        held = {atom: value for atom, value in zip(atoms, values, strict=True) if value}
        order = [*held, *(atom for atom in habit.order[0] if atom not in held)]
        found = [
            Offer(Change(part, (*site, atom), held.get(atom, habit.low[atom])), held.get(atom, 0.0))
            for atom in order
        ]
    elif isinstance(space, Indices):
        check_change(space, code, change=Change(part, site, 0))
        now = int(one_tensor(code)[(0, *(site[:-1] if space.channels is None else site))])
        order = [now, *(index for index in habit.order[site[-1]] if index != now)]
        found = [Offer(Change(part, site, index), now) for index in order if index >= 0]
    else:
        raise ValueError(f"expected a part of codewords or atoms, got {space}")
    pages = -(-len(found) // PAGE)
    if not 0 <= page < pages:
        raise ValueError(f"expected a page in 0..{pages - 1}, got {page}")
    return found[page * PAGE : (page + 1) * PAGE], pages
