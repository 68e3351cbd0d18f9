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
    dictionary: Tensor, atoms: Tensor, active: Tensor, right: Tensor, ridge: float = 0.0
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
    dictionary: Tensor, atoms: Tensor, active: Tensor, right: Tensor, ridge: float
) -> Tensor:
    # In double: normal equations square the condition of atoms that are nearly parallel.
    chosen = dictionary[atoms].double() * active[..., None]
    gram = chosen @ chosen.mT
    slack = torch.finfo(gram.dtype).eps * 4 * gram.shape[-1]  # equal atoms stay solvable
    gram = gram + torch.diag_embed((~active).to(gram.dtype) + (ridge + slack))
    solved = _solve_definite(gram, right.double() * active)
    return (solved * active).to(right.dtype)


def _solve_definite(gram: Tensor, right: Tensor) -> Tensor:
    """G^-1 r for positive definite G `[n, w, w]` and r `[n, w]`."""
    if not torch.compiler.is_exporting():
        return torch.cholesky_solve(right[..., None], torch.linalg.cholesky(gram))[..., 0]
    # Gauss-Jordan step by step: ONNX has no factorisation. Definite: no pivoting needed.
    table, places = torch.cat([gram, right[..., None]], -1), torch.arange(gram.shape[-1])
    for place in range(gram.shape[-1]):
        row = table[:, place, None] / table[:, place, place, None, None]
        here = (places == place)[:, None].to(gram.device)
        table = torch.where(here, row, table - table[:, :, place, None] * row)
    return table[..., -1]


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
