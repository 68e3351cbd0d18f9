"""The k atoms most correlated with a signal, in one shot."""

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
)


def select_top_k(
    correlations: Tensor, k: int, *, nonnegative: bool = False
) -> tuple[Tensor, Tensor]:
    """The k largest correlations of each signal, by magnitude unless nonnegative.

    Args:
        correlations: `[n, K]`.
        k: how many to keep.
        nonnegative: keep only positive ones; then fewer than k may be active.

    Returns:
        Atoms and values `[n, k]`, canonical.
    """
    score = correlations if nonnegative else correlations.abs()
    atoms = score.topk(k, dim=-1, sorted=False).indices
    values = correlations.gather(-1, atoms)
    if nonnegative:
        values = values.clamp_min(0)
    return canonical(atoms, values)


def strongest(
    signals: Tensor, dictionary: Tensor, k: int, *, nonnegative: bool = False
) -> tuple[Tensor, Tensor]:
    """`select_top_k` of the correlations <x, d_j>, which on a CPU never exist as a whole.

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`.
        k: how many to keep.
        nonnegative: keep only positive ones.

    Returns:
        Atoms and correlations `[n, k]`, canonical; no gradient.
    """
    if torch.compiler.is_exporting():  # which does not survive blocks of no_grad in one another
        return select_top_k(signals @ dictionary.T, k, nonnegative=nonnegative)
    with torch.no_grad():
        code = kernels.select(signals, dictionary, k, nonnegative)
        if code is not None:
            return code
        return select_top_k(signals @ dictionary.T, k, nonnegative=nonnegative)


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
    return SparseSolution(
        atoms=atoms,
        values=values,
        size=dictionary.shape[0],
        objective=objective,
        gap=None,
        converged=torch.ones(len(signals), dtype=torch.bool, device=signals.device),
    )
