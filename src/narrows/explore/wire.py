"""Codes as plain numbers for a browser, and what a browser sends as codes, checked."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import torch
from torch import Tensor

from narrows.codes import Atoms, AtomValues, Code, CodeSpace, Indices, tensors, trimmed
from narrows.explore.edits import Change, joined, parts, split
from narrows.sparse.solution import canonical

MOST = 1 << 18
"""Numbers of one code, or atoms of one dictionary, that a page is given."""


class Part(TypedDict):
    """One part of a code: numbers in raster order; of sparse codes also their atoms."""

    shape: list[int]
    numbers: list[float]
    atoms: list[int]


def to_wire(space: CodeSpace, code: Code) -> list[Part]:
    """The parts of a code `[1, ...]`, without the axis of examples."""
    found = list[Part]()
    for part in split(space, trimmed(code)):
        *atoms, numbers = tensors(part)
        if numbers.numel() > MOST:
            raise ValueError(f"expected codes of at most {MOST} numbers, got {numbers.numel()}")
        found.append(
            Part(
                shape=list(numbers.shape[1:]),
                numbers=numbers.flatten().tolist(),
                atoms=atoms[0].flatten().tolist() if atoms else [],
            )
        )
    return found


def from_wire(space: CodeSpace, sites: tuple[int, ...], given: object) -> Code:
    """The code `[1, ...]` that a browser sent.

    Args:
        space: what the model's codes are.
        sites: of the model's features.
        given: plain data of any kind.

    Raises:
        ValueError: if it is not a code of this space.
    """
    spaces = parts(space)
    if not isinstance(given, list) or len(given) != len(spaces):
        raise ValueError(f"expected a code of {len(spaces)} parts in a list")
    found = []
    for one, part in zip(spaces, given, strict=True):
        whole = isinstance(one, Indices)
        numbers = _tensor(part, "numbers", torch.long if whole else torch.float32)
        if not bool(numbers.isfinite().all()):
            raise ValueError("expected finite numbers in a code")
        held = [numbers]
        if isinstance(one, AtomValues):
            held.insert(0, _tensor(part, "atoms", torch.long))
        code = one.check(one.assemble(iter(held)), one.grid(sites))
        found.append(canonical(*code) if isinstance(code, Atoms) else code)
    return joined(space, found)


def to_changes(given: object) -> list[Change]:
    """The changes that a browser sent.

    Raises:
        ValueError: if they are not a list of {part, place, value}.
    """
    if not isinstance(given, Sequence) or not 1 <= len(given) <= MOST:
        raise ValueError("expected a list of changes")
    found = []
    for one in given:
        place = one.get("place") if isinstance(one, Mapping) else None
        if not isinstance(place, list):
            raise ValueError("expected changes of the form {part, place, value}")
        found.append(Change(int(one["part"]), tuple(map(int, place)), float(one["value"])))
    return found


def _tensor(part: object, name: str, kind: torch.dtype) -> Tensor:
    """The numbers of a part as `[1, *shape]`."""
    held = part.get(name) if isinstance(part, Mapping) else None
    shape = part.get("shape") if isinstance(part, Mapping) else None
    if not isinstance(held, list) or not isinstance(shape, list) or len(held) > MOST:
        raise ValueError(f"expected a part with a shape and at most {MOST} {name}")
    try:
        if kind == torch.long and any(type(number) is not int for number in held):
            raise ValueError("torch would cut them off")
        return torch.tensor(held, dtype=kind).reshape(1, *shape)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f"expected {name} of shape {shape} in a part of a code") from None
