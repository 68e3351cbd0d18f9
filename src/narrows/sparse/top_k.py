"""The k atoms most correlated with a signal, in one shot."""

from contextlib import nullcontext

import torch
from torch import Tensor

from narrows.kernels import sparse as kernels
from narrows.sparse.implicit import refit as refit_values
from narrows.sparse.products import combine
from narrows.sparse.solution import (
    SparseSolution,
    canonical,
    check_count,
    check_finite,
    check_problem,
    tiles,
)


def strongest(
    signals: Tensor, dictionary: Tensor, k: int, *, nonnegative: bool = False
) -> tuple[Tensor, Tensor]:
    """Atoms and values `[n, k]` of the largest correlations <x, d_j>, canonical; no gradient.

    By magnitude; if nonnegative, only positive ones, so that fewer than k may be active. Compiled
    for the CPU, the correlations never exist as a whole.
    """
    # Exporting does not survive blocks of no_grad in one another.
    with nullcontext() if torch.compiler.is_exporting() else torch.no_grad():
        code = kernels.select(signals, dictionary, k, nonnegative)
        if code is not None:
            return code
        found = [_largest(signals[i] @ dictionary.T, k, nonnegative) for i in tiles(signals)]
        return torch.cat([atoms for atoms, _ in found]), torch.cat([values for _, values in found])


def _largest(correlations: Tensor, k: int, nonnegative: bool) -> tuple[Tensor, Tensor]:
    score = correlations if nonnegative else correlations.abs()
    atoms = score.topk(k, dim=-1, sorted=False).indices
    values = correlations.gather(-1, atoms)
    return canonical(atoms, values.clamp_min(0) if nonnegative else values)


def top_k(
    signals: Tensor,
    dictionary: Tensor,
    *,
    k: int,
    refit: bool = False,
    nonnegative: bool = False,
) -> SparseSolution:
    r"""Codes each signal by its k largest correlations with the atoms.

    .. math:: S = \operatorname{top}_k |D x|, \qquad z_S = D_S x
        \quad\text{or, refitted,}\quad z_S = (D_S D_S^T)^{-1} D_S x

    For an orthonormal dictionary this is the best k-sparse code; for others OMP is better and
    this is cheaper: one matrix product and one selection.

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`, one unit-norm atom a row.
        k: number of atoms a signal.
        refit: solve least squares on the chosen atoms instead of keeping the correlations.
        nonnegative: choose among positive correlations only; values are then >= 0, clamped at 0
            after a refit (which is then no longer the exact non-negative least squares).

    Returns:
        Codes of width k with objective 1/2 |x - z D|^2; no gap.

    Raises:
        ValueError: if k is not in 1..K, or signals and dictionary do not fit.

    Source:
        Makhzani and Frey 2014, "k-Sparse Autoencoders", with tied weights and signed codes.

    Example:
        >>> top_k(torch.tensor([[3.0, -1.0, 2.0]]), torch.eye(3), k=2).codes
        tensor([[3., 0., 2.]])
    """
    check_problem(signals, dictionary, unit_norm=True)
    check_count(k, dictionary.shape[0])
    atoms, values = strongest(signals, dictionary, k, nonnegative=nonnegative)
    if refit:
        values = refit_values(signals, dictionary, atoms=atoms, active=values != 0)
        if nonnegative:
            values = values.clamp_min(0)
        atoms, values = canonical(atoms, values)
    residual = signals - combine(atoms, values, dictionary=dictionary)
    objective = residual.square().sum(-1) / 2
    check_finite(objective)
    done = torch.ones_like(objective, dtype=torch.bool)
    return SparseSolution(atoms, values, len(dictionary), objective, gap=None, converged=done)
