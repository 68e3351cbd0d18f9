"""Orthogonal matching pursuit: one atom at a time, least squares after each."""

import torch
from torch import Tensor

from narrows.kernels import sparse as kernels
from narrows.sparse.products import combine
from narrows.sparse.solution import (
    SparseSolution,
    canonical,
    check_count,
    check_finite,
    check_problem,
    tiles,
)


def omp(signals: Tensor, dictionary: Tensor, *, k: int, tolerance: float = 0.0) -> SparseSolution:
    r"""Codes each signal with up to k atoms, chosen greedily and refitted after each choice.

    .. math:: S \leftarrow S \cup \arg\max_j |d_j^T r|, \qquad
        z_S = (D_S D_S^T)^{-1} D_S x, \qquad r = x - z_S D_S

    The residual is orthogonal to every chosen atom, so none is chosen twice. A signal stops
    early when its squared residual is at most `tolerance`, or what is left is rounding.

    On the CPU compiled, with a Cholesky factor that grows with the support; otherwise in torch,
    batched, with an orthonormal basis that does.

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`, one unit-norm atom a row.
        k: most atoms of a signal; beyond the rank of the dictionary none is added.
        tolerance: squared residual at which a signal is done; 0 for exactly k atoms.

    Returns:
        Codes of width k, with objective 1/2 |x - z D|^2 and no gap. Converged: the residual of
        these very codes is within the tolerance, or k atoms are in use; with a tolerance of 0
        also if what is left is rounding.

    Raises:
        ValueError: if k is not in 1..K, the tolerance is negative, or shapes do not fit.

    Source:
        Pati, Rezaiifar and Krishnaprasad 1993; Rubinstein, Zibulevsky and Elad 2008 (batch OMP
        through the Gram matrix). SPAMS' `omp` chooses by the residual after the refit instead.

    Example:
        >>> x = torch.tensor([[3.0, 1.0]])
        >>> atoms = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
        >>> omp(x, atoms, k=1).codes
        tensor([[3., 0.]])
    """
    check_problem(signals, dictionary, unit_norm=True)
    check_count(k, dictionary.shape[0])
    if not tolerance >= 0:
        raise ValueError(f"expected a tolerance >= 0 of the squared residual, got {tolerance}")
    with torch.no_grad():
        atoms, values, squares = pursue(signals, dictionary, k, tolerance)
        check_finite(squares)
        if tolerance > 0 and not torch.compiler.is_compiling():
            atoms, values, squares = _exact(signals, dictionary, atoms, values, tolerance)
    done = ((values != 0).sum(-1) == k) | (squares <= tolerance)
    if tolerance == 0:
        energy = torch.linalg.vecdot(signals, signals)
        done = done | (squares <= 64 * torch.finfo(signals.dtype).eps * energy)
    return SparseSolution(atoms, values, len(dictionary), squares / 2, gap=None, converged=done)


def omp_unnormalized(signals: Tensor, dictionary: Tensor, *, k: int) -> SparseSolution:
    """`omp` over atoms of any norm, chosen by the plain correlation <r, d_j> as in scikit-learn.

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`, one atom a row.
        k: maximum number of atoms per signal.
    """
    check_problem(signals, dictionary, unit_norm=False)
    check_count(k, dictionary.shape[0])
    norm = dictionary.norm(dim=1).max()
    with torch.no_grad():
        atoms, values, squares = _pursue(signals, dictionary / norm, k, 0.0)
    check_finite(squares)
    done = torch.ones_like(squares, dtype=torch.bool)
    return SparseSolution(atoms, values / norm, len(dictionary), squares / 2, None, done)


def _exact(
    signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor, tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Codes whose residual, from themselves in double precision, is within the tolerance.

    The pursuit follows its residual in the signals' precision: where it stopped too early, it
    goes on in double.
    """
    wide, exact = signals.double(), dictionary.double()
    squares = _squares(wide, exact, atoms, values)
    k = atoms.shape[1]
    early = (squares > tolerance) & ((values != 0).sum(-1) < k)
    if bool(early.any()):
        again = pursue(wide[early], exact, k, tolerance)
        atoms, values = atoms.clone(), values.clone()
        atoms[early], values[early] = again[0], again[1].to(values.dtype)
        squares[early] = _squares(wide[early], exact, atoms[early], values[early])
    return atoms, values, squares.to(signals.dtype)


def _squares(signals: Tensor, dictionary: Tensor, atoms: Tensor, values: Tensor) -> Tensor:
    """Squared residuals of codes `[n]`."""
    residual = signals - combine(atoms, values.to(signals.dtype), dictionary=dictionary)
    return residual.square().sum(-1)


def pursue(
    signals: Tensor, dictionary: Tensor, k: int, tolerance: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """`omp` without its checks: atoms, values `[n, k]`, canonical, and squared residuals `[n]`."""
    code = kernels.omp(signals, dictionary, k, tolerance)
    if code is not None:
        return code
    found = [_pursue(signals[i], dictionary, k, tolerance) for i in tiles(signals)]
    atoms, values, squares = (torch.cat(some) for some in zip(*found, strict=True))
    return atoms, values, squares


def _pursue(
    signals: Tensor, dictionary: Tensor, k: int, tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """All signals in step: x = Q^T y with Q the orthonormalised atoms, d_S = R^T Q.

    Atoms may have any norm up to about 1; the choice is by <r, d_j> as it is.
    """
    n, dim = signals.shape
    basis = signals.new_zeros(n, k, dim)
    triangle = torch.eye(k, dtype=signals.dtype, device=signals.device).repeat(n, 1, 1)
    along = signals.new_zeros(n, k)
    atoms = torch.zeros(n, k, dtype=torch.int64, device=signals.device)
    residual, going = signals, torch.ones(n, dtype=torch.bool, device=signals.device)
    slack = 16 * torch.finfo(signals.dtype).eps
    norms = signals.norm(dim=-1)
    for step in range(k):
        # The tolerance is of a squared norm; 0 still ends where only rounding is left.
        going = going & (residual.square().sum(-1) > tolerance)
        scores = (residual @ dictionary.T).abs()
        if step:
            scores = scores.scatter(1, atoms[:, :step], -1.0)
        best, chosen = scores.max(-1)
        going = going & (best > slack * norms)
        atom = dictionary[chosen]
        fresh, along_basis = atom, None
        if step:  # twice is enough (Kahan, Parlett): the second removes the first one's rounding
            first = torch.einsum("nsd,nd->ns", basis[:, :step], atom)
            fresh = atom - torch.einsum("nsd,ns->nd", basis[:, :step], first)
            second = torch.einsum("nsd,nd->ns", basis[:, :step], fresh)
            fresh = fresh - torch.einsum("nsd,ns->nd", basis[:, :step], second)
            along_basis = first + second
        length = fresh.norm(dim=-1)
        going = going & (length.square() > slack * atom.square().sum(-1))
        fresh = torch.where(going[:, None], fresh / torch.where(going, length, 1.0)[:, None], 0.0)
        basis[:, step] = fresh
        if along_basis is not None:
            triangle[:, :step, step] = along_basis * going[:, None]
        triangle[:, step, step] = torch.where(going, length, 1.0)
        along[:, step] = (fresh * residual).sum(-1)
        atoms[:, step] = torch.where(going, chosen, 0)
        residual = residual - along[:, step, None] * fresh
    atoms, values = canonical(atoms, _solve_upper(triangle, along))
    return atoms, values, residual.square().sum(-1)


def _solve_upper(triangle: Tensor, right: Tensor) -> Tensor:
    """R^-1 r for upper triangular R `[n, k, k]` and r `[n, k]`."""
    if not torch.compiler.is_exporting():
        return torch.linalg.solve_triangular(triangle, right[..., None], upper=True)[..., 0]
    parts: list[Tensor] = []  # from the last to the first; ONNX has no triangular solve
    for place in reversed(range(right.shape[1])):
        rest = right[:, place]
        if parts:
            rest = rest - (triangle[:, place, place + 1 :] * torch.stack(parts[::-1], -1)).sum(-1)
        parts.append(rest / triangle[:, place, place])
    return torch.stack(parts[::-1], -1)
