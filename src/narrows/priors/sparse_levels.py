"""Sparse values as whole numbers of steps, which the learned sparse priors share."""

import torch
from torch import Tensor

from narrows.latent import Code
from narrows.sparse.solution import canonical


def quantize(code: Code, step: float, levels: int) -> tuple[Tensor, Tensor]:
    """Values rounded to multiples of the step within +-levels; those that become 0 leave."""
    atoms, values = pair(code)
    return canonical(atoms, (values / step).round().clamp(-levels, levels) * step)


def to_levels(
    code: Code, sites: tuple[int, ...], step: float, levels: int
) -> tuple[Tensor, Tensor]:
    """Atoms and q = value / step, each `[batch * sites, width]`, int64; q = 0 is padding.

    Raises:
        ValueError: if the sites differ, or a value is no multiple of the step or out of range.
    """
    atoms, values = pair(code)
    if tuple(atoms.shape[1:-1]) != sites:
        raise ValueError(
            f"expected sparse codes [batch, {', '.join(map(str, (*sites, 'width')))}], got shape "
            f"{tuple(atoms.shape)}; build the prior for the sites of this model"
        )
    scaled = values / step
    q = scaled.round()
    if bool(((scaled - q).abs() > 1e-3 + 1e-5 * q.abs()).any()) or bool((q.abs() > levels).any()):
        raise ValueError(
            f"a continuous value has no finite rate; expected multiples of the step {step:g} "
            f"within {levels} steps: pass prior.quantize(code)"
        )
    width = atoms.shape[-1]
    return atoms.reshape(-1, width), q.long().reshape(-1, width)


def pair(code: Code) -> tuple[Tensor, Tensor]:
    """The two parts of a sparse code.

    Raises:
        ValueError: if it is something else.
    """
    if not isinstance(code, tuple) or len(code) != 2 or code[0].shape != code[1].shape:
        raise ValueError(
            "expected a sparse code (atoms, values) of equal shapes; this prior is for "
            "SparseDictionary"
        )
    return code


def to_symbols(q: Tensor, levels: int) -> Tensor:
    """q in -levels..-1, 1..levels as symbols 0..2 levels - 1."""
    return torch.where(q > 0, q + levels - 1, q + levels)


def from_symbols(symbols: Tensor, levels: int) -> Tensor:
    """Undoes `to_symbols`."""
    return torch.where(symbols >= levels, symbols - levels + 1, symbols - levels)


def assemble(
    atoms: Tensor, q: Tensor, sites: tuple[int, ...], step: float
) -> tuple[Tensor, Tensor]:
    """A code from rows `[batch * sites, width]` of atoms and numbers of steps."""
    n = atoms.shape[0]
    for size in sites:
        n //= size
    shape = (n, *sites, atoms.shape[-1])
    values = q.to(torch.get_default_dtype()) * step
    return canonical(atoms.view(shape), values.view(shape))
