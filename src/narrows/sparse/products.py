"""Products of sparse codes with dense matrices, with their gradients."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from narrows.functional.straight_through import Saved
from narrows.kernels import sparse as kernels

# Signals worked on at once where the torch version needs [n, width, dim]: keeps it in cache.
_TILE = 1024


def combine(atoms: Tensor, values: Tensor, *, dictionary: Tensor) -> Tensor:
    """The signals sum_j values_j d_j that codes stand for, z D.

    Args:
        atoms: `[n, width]`.
        values: `[n, width]`; differentiable.
        dictionary: `[K, dim]`; differentiable.

    Returns:
        `[n, dim]`.
    """
    if torch.compiler.is_compiling():  # a kernel cannot be captured into a graph
        return (values[..., None] * dictionary[atoms]).sum(1)
    return _Combine.apply(atoms, values, dictionary)  # pyright: ignore[reportReturnType]


def correlations_at(atoms: Tensor, signals: Tensor, dictionary: Tensor) -> Tensor:
    """The correlations <x, d_j> `[n, width]` at the given atoms only; differentiable in x and d."""
    if torch.compiler.is_compiling():
        return torch.einsum("nd,nwd->nw", signals, dictionary[atoms])
    return _CorrelationsAt.apply(atoms, signals, dictionary)  # pyright: ignore[reportReturnType]


def adjoint(atoms: Tensor, values: Tensor, rows: Tensor, size: int) -> Tensor:
    """z^T Y `[K, dim]`: each atom's sum of the rows Y that use it, weighted; no gradient."""
    out = kernels.adjoint(atoms, values, rows, size)
    if out is None:
        out = rows.new_zeros(size, rows.shape[1])
        for part in range(0, len(rows), _TILE):
            tile = slice(part, part + _TILE)
            spread = (values[tile, :, None] * rows[tile, None]).flatten(0, 1)
            out.index_add_(0, atoms[tile].flatten(), spread)
    return out


def solve_on_support(
    dictionary: Tensor,
    atoms: Tensor,
    active: Tensor,
    right: Tensor,
    ridge: float = 0.0,
) -> Tensor:
    """(D_S D_S^T + ridge I)^-1 right for the active entries S of each signal; no gradient.

    All are `[n, width]`; the solution is 0 where not active.
    """
    if torch.compiler.is_exporting():  # a batch of any size, and operations known elsewhere
        return _solve(dictionary, atoms, active, right, ridge)
    solution = kernels.solve_on_support(dictionary, atoms, active, right, ridge)
    if solution is not None:
        return solution
    tiles = range(0, max(len(atoms), 1), _TILE)
    parts = [slice(start, start + _TILE) for start in tiles]
    return torch.cat([_solve(dictionary, atoms[p], active[p], right[p], ridge) for p in parts])


def _solve(
    dictionary: Tensor,
    atoms: Tensor,
    active: Tensor,
    right: Tensor,
    ridge: float,
) -> Tensor:
    """Gauss-Jordan elimination, in double: normal equations square the atoms' condition."""
    chosen = dictionary[atoms].double() * active[..., None]
    gram = chosen @ chosen.mT
    width, places = gram.shape[-1], torch.arange(gram.shape[-1], device=gram.device)
    extra = ridge * active.to(gram.dtype)
    own = gram.diagonal(dim1=-2, dim2=-1) + extra
    slack = 4 * width * torch.finfo(gram.dtype).eps  # equal atoms stay solvable
    gram = gram + torch.diag_embed(slack * own + extra)
    table = torch.cat([gram, (right.double() * active)[..., None]], -1)
    for place in range(width):  # definite: no pivoting needed
        pivot, whole = table[:, place, place], own[:, place]
        apart = whole > 0
        pivot = torch.where(apart, torch.maximum(pivot, slack / 4 * whole), 1.0)
        row = torch.where(apart[:, None], table[:, place] / pivot[:, None], 0.0)
        rest = table - table[:, :, place, None] * row[:, None]
        table = torch.where((places == place)[:, None], row[:, None], rest)
    return (table[..., -1] * active).to(right.dtype)


class _Combine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Saved, atoms: Tensor, values: Tensor, dictionary: Tensor) -> Tensor:
        ctx.save_for_backward(atoms, values, dictionary)
        out = kernels.combine(atoms, values, dictionary)
        if out is None:
            if len(atoms) == 0:
                return values.new_zeros(0, dictionary.shape[1])
            out = torch.nn.functional.embedding_bag(
                atoms, dictionary, per_sample_weights=values, mode="sum"
            )
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Saved, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        atoms, values, dictionary = ctx.saved_tensors
        _, for_values, for_dictionary = ctx.needs_input_grad
        return (
            None,
            correlations_at(atoms, gradients[0], dictionary) if for_values else None,
            adjoint(atoms, values, gradients[0], len(dictionary)) if for_dictionary else None,
        )


class _CorrelationsAt(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Saved, atoms: Tensor, signals: Tensor, dictionary: Tensor) -> Tensor:
        ctx.save_for_backward(atoms, signals, dictionary)
        out = kernels.dots(atoms, signals, dictionary)
        if out is None:
            out = torch.empty(atoms.shape, dtype=signals.dtype, device=signals.device)
            for part in range(0, len(signals), _TILE):
                tile = slice(part, part + _TILE)
                chosen = dictionary[atoms[tile]]
                out[tile] = torch.einsum("nd,nwd->nw", signals[tile], chosen)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Saved, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        atoms, signals, dictionary = ctx.saved_tensors
        _, for_signals, for_dictionary = ctx.needs_input_grad
        return (
            None,
            combine(atoms, gradients[0], dictionary=dictionary) if for_signals else None,
            adjoint(atoms, gradients[0], signals, len(dictionary)) if for_dictionary else None,
        )
