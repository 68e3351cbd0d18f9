"""Sparse solvers and products compiled for the CPU; None where torch has to do it."""

import torch
from torch import Tensor

from narrows.kernels.compile import function, parts

# Up to here the atoms' Gram matrix (64 MB in float32) is cheaper than going through the signals.
_LARGEST_GRAM = 4096
# Signals of a thread in one call of the lasso.
_TILE = 32
# One pass over the correlations for each atom: beyond so many a partial sort is faster.
_FEW = 32


def omp(
    signals: Tensor, dictionary: Tensor, k: int, tolerance: float
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Atoms, values `[n, k]` and squared residuals `[n]` of OMP, or None without the kernel."""
    call = function("pursuit", "omp", signals, dictionary)
    if call is None:
        return None
    signals, dictionary = signals.detach(), dictionary.detach()
    (n, dim), size = signals.shape, len(dictionary)
    gram = dictionary @ dictionary.T if _worth_a_gram(n, k, size) else None
    atoms, values = _code(signals, k)
    squares = signals.new_empty(n)
    threads = torch.get_num_threads()
    for rows in parts(n, size * (dim + k * (k if gram is not None else dim))):
        call(
            *(signals[rows], dictionary, gram, rows.stop - rows.start, dim, size, k),
            *(float(tolerance), threads, atoms[rows], values[rows], squares[rows]),
        )
    return atoms, values, squares


def select(
    signals: Tensor, dictionary: Tensor, k: int, nonnegative: bool
) -> tuple[Tensor, Tensor] | None:
    """The k largest correlations with their atoms `[n, k]`, or None without the kernel."""
    call = function("pursuit", "select", signals, dictionary) if k <= _FEW else None
    if call is None:
        return None
    signals, dictionary = signals.detach(), dictionary.detach()
    (n, dim), size = signals.shape, len(dictionary)
    atoms, values = _code(signals, k)
    threads = torch.get_num_threads()
    for rows in parts(n, size * (dim + k)):
        call(
            *(signals[rows], dictionary, rows.stop - rows.start, dim, size, k, nonnegative),
            *(threads, atoms[rows], values[rows]),
        )
    return atoms, values


def lasso(
    signals: Tensor,
    dictionary: Tensor,
    penalty: Tensor,
    ridge: float,
    nonnegative: bool,
    budget: tuple[float, int],
    start: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor] | None:
    """Atoms, values, objective, gap and convergence of the lasso, or None without the kernel.

    The budget is the gap relative to the objective at which to stop, and the most enlargements of
    the active set; start has atoms and values `[n, any]`, 0 for padding.
    """
    call = function("sparse", "lasso", signals, dictionary)
    if call is None:
        return None
    (n, dim), size = signals.shape, len(dictionary)
    width = size if ridge > 0 else min(size, dim)
    signals, dictionary = signals.detach(), dictionary.detach()
    gram = dictionary @ dictionary.T if _worth_a_gram(n, max(width // 8, 1), size) else None
    atoms, values = _code(signals, width)
    objective, gap = signals.new_empty(2, n)
    converged = torch.empty(n, dtype=torch.bool)
    first = (None, None) if start is None else (start[0], start[1].to(signals.dtype))
    penalty = penalty.to(signals.dtype)
    threads = torch.get_num_threads()
    for some in range(0, n, _TILE * threads):  # between the calls Python hears of Ctrl-C
        rows = slice(some, min(some + _TILE * threads, n))
        given = [None if part is None else part[rows] for part in first]
        call(
            *(signals[rows], dictionary, signals[rows] @ dictionary.T, gram),
            *(rows.stop - some, dim, size),
            *(penalty[rows], float(ridge), float(budget[0]), nonnegative, budget[1], width),
            *(*given, 0 if start is None else start[0].shape[1], threads),
            *(atoms[rows], values[rows], objective[rows], gap[rows], converged[rows]),
        )
    return atoms, values, objective, gap, converged


def solve_on_support(
    dictionary: Tensor,
    atoms: Tensor,
    active: Tensor,
    right: Tensor,
    ridge: float,
) -> Tensor | None:
    """(D_S D_S^T + ridge)^-1 right on each support `[n, width]`, or None without the kernel.

    In double precision: normal equations square the condition of atoms that are nearly parallel.
    """
    dtype, right, dictionary = right.dtype, right.double(), dictionary.double()
    call = function("sparse", "solve", right, dictionary)
    if call is None:
        return None
    size, dim = dictionary.shape
    _check_code(atoms, size, active.shape == right.shape == atoms.shape)
    n, width = right.shape
    gram = dictionary @ dictionary.T if _worth_a_gram(n, width, size) else None
    solution = right.new_empty(right.shape)
    threads = torch.get_num_threads()
    for rows in parts(n, max(width, 1) ** 2 * (width + dim)):
        call(
            *(dictionary, gram, rows.stop - rows.start, dim, size),
            *(atoms[rows], active[rows], right[rows], width, float(ridge), threads),
            solution[rows],
        )
    return solution.to(dtype)


def combine(atoms: Tensor, values: Tensor, dictionary: Tensor) -> Tensor | None:
    """Z D `[n, dim]`, or None without the kernel."""
    call = function("sparse_products", "combine", values, dictionary)
    if call is None:
        return None
    _check_code(atoms, len(dictionary), values.shape == atoms.shape)
    out = values.new_empty(len(values), dictionary.shape[1])
    call(
        atoms, values, dictionary, *values.shape, dictionary.shape[1], torch.get_num_threads(), out
    )
    return out


def adjoint(atoms: Tensor, values: Tensor, rows: Tensor, size: int) -> Tensor | None:
    """Z^T Y `[K, dim]` for rows Y `[n, dim]`, or None without the kernel."""
    call = function("sparse_products", "adjoint", values, rows)
    if call is None:
        return None
    _check_code(atoms, size, values.shape == atoms.shape and len(rows) == len(atoms))
    out = values.new_empty(size, rows.shape[1])
    call(atoms, values, rows, *values.shape, rows.shape[1], size, torch.get_num_threads(), out)
    return out


def dots(atoms: Tensor, rows: Tensor, dictionary: Tensor) -> Tensor | None:
    """<y_n, d_j> at each atom j of the code `[n, width]`, or None without the kernel."""
    call = function("sparse_products", "dots", rows, dictionary)
    if call is None:
        return None
    fit = len(rows) == len(atoms) and rows.shape[1:] == dictionary.shape[1:]
    _check_code(atoms, len(dictionary), fit)
    out = rows.new_empty(atoms.shape)
    call(atoms, rows, dictionary, *atoms.shape, rows.shape[1], torch.get_num_threads(), out)
    return out


def _check_code(atoms: Tensor, size: int, fit: bool) -> None:
    """Refuses what would make a kernel read memory that is not its own."""
    if not fit or atoms.dim() != 2 or atoms.dtype != torch.int64:
        raise ValueError(
            f"expected int64 atoms [n, width] with values or signals for each, got {atoms.dtype} "
            f"{tuple(atoms.shape)} that do not fit them"
        )
    if atoms.numel():
        least, most = (int(end) for end in atoms.aminmax())
        if least < 0 or most >= size:
            raise ValueError(f"expected atoms in 0..{size - 1}, got {least}..{most}")


def _worth_a_gram(n: int, active: int, size: int) -> bool:
    return size <= _LARGEST_GRAM and n * active >= size


def _code(signals: Tensor, width: int) -> tuple[Tensor, Tensor]:
    shape = (len(signals), width)
    return torch.empty(shape, dtype=torch.int64), signals.new_empty(shape)
