"""Sparse solvers and products compiled for the CPU; None where torch has to do it."""

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from narrows.kernels.compile import load

# Up to here the atoms' Gram matrix (64 MB in float32) is cheaper than going through the signals.
_LARGEST_GRAM = 4096
# One pass over the correlations for each atom: beyond so many a partial sort is faster.
_FEW = 32


def omp(
    signals: Tensor, dictionary: Tensor, k: int, tolerance: float
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Atoms, values `[n, k]` and squared residuals `[n]` of OMP, or None without the kernel."""
    call = _function("pursuit", "omp", signals, dictionary)
    if call is None:
        return None
    signals, dictionary = signals.detach().contiguous(), dictionary.detach().contiguous()
    (n, dim), size = signals.shape, len(dictionary)
    gram = dictionary @ dictionary.T if _worth_a_gram(n, k, size) else None
    atoms, values = _code(signals, k)
    squares = signals.new_empty(n)
    problem = (signals, dictionary, gram, _long(n), _long(dim), _long(size))
    results = (atoms, values, squares)
    call(*problem, _long(k), ctypes.c_double(tolerance), _threads(), *results)
    return results


def select(
    signals: Tensor, dictionary: Tensor, k: int, nonnegative: bool
) -> tuple[Tensor, Tensor] | None:
    """The k largest correlations with their atoms `[n, k]`, or None without the kernel."""
    call = _function("pursuit", "select", signals, dictionary) if k <= _FEW else None
    if call is None:
        return None
    signals, dictionary = signals.detach().contiguous(), dictionary.detach().contiguous()
    (n, dim), size = signals.shape, len(dictionary)
    code = _code(signals, k)
    sizes = (_long(n), _long(dim), _long(size), _long(k), _long(nonnegative))
    call(signals, dictionary, *sizes, _threads(), *code)
    return code


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

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`.
        penalty: lambda of each signal, `[n]`.
        ridge: weight of |z|^2 / 2.
        nonnegative: whether codes must be >= 0.
        budget: stop at this gap relative to the objective, or after so many enlargements of
            the active set.
        start: atoms and values `[n, any]` to start from; 0 marks padding.
    """
    call = _function("sparse", "lasso", signals, dictionary)
    if call is None:
        return None
    size, dim = dictionary.shape
    width = size if ridge > 0 else min(size, dim)
    problem = _Problem(signals, dictionary, max(width // 8, 1))
    atoms, values = _code(signals, width)
    objective, gap = signals.new_empty(2, len(signals))
    converged = torch.empty(len(signals), dtype=torch.bool)
    first: tuple[Tensor | None, Tensor | None] = (None, None)
    if start is not None:
        first = start[0].contiguous(), start[1].to(signals.dtype).contiguous()
    call(
        *problem.arguments,
        penalty.to(signals.dtype).contiguous(),
        ctypes.c_double(ridge),
        ctypes.c_double(budget[0]),
        _long(nonnegative),
        _long(budget[1]),
        _long(width),
        *first,
        _long(0 if start is None else start[0].shape[1]),
        _threads(),
        *(atoms, values, objective, gap, converged),
    )
    return atoms, values, objective, gap, converged


def solve_on_support(
    dictionary: Tensor, atoms: Tensor, active: Tensor, right: Tensor, ridge: float
) -> Tensor | None:
    """(D_S D_S^T + ridge)^-1 right on each support `[n, width]`, or None without the kernel.

    In double precision: normal equations square the condition of atoms that are nearly parallel.
    """
    dtype, right, dictionary = right.dtype, right.double(), dictionary.double()
    call = _function("sparse", "solve", right, dictionary)
    if call is None:
        return None
    size, dim = dictionary.shape
    _check_code(atoms, size, active.shape == right.shape == atoms.shape)
    dictionary, right = dictionary.contiguous(), right.contiguous()
    n, width = right.shape
    gram = dictionary @ dictionary.T if _worth_a_gram(n, width, size) else None
    solution = torch.empty_like(right)
    sizes = (_long(n), _long(dim), _long(size))
    atoms, active = atoms.contiguous(), active.contiguous()
    call(
        *(dictionary, gram, *sizes, atoms, active, right),
        *(_long(width), ctypes.c_double(ridge), _threads(), solution),
    )
    return solution.to(dtype)


def combine(atoms: Tensor, values: Tensor, dictionary: Tensor) -> Tensor | None:
    """Z D `[n, dim]`, or None without the kernel."""
    call = _function("sparse_products", "combine", values, dictionary)
    if call is None:
        return None
    _check_code(atoms, len(dictionary), values.shape == atoms.shape)
    out = values.new_empty(len(values), dictionary.shape[1])
    sizes = (_long(len(values)), _long(values.shape[1]), _long(dictionary.shape[1]))
    parts = (atoms.contiguous(), values.contiguous(), dictionary.contiguous())
    call(*parts, *sizes, _threads(), out)
    return out


def adjoint(atoms: Tensor, values: Tensor, rows: Tensor, size: int) -> Tensor | None:
    """Z^T Y `[K, dim]` for rows Y `[n, dim]`, or None without the kernel."""
    call = _function("sparse_products", "adjoint", values, rows)
    if call is None:
        return None
    _check_code(atoms, size, values.shape == atoms.shape and len(rows) == len(atoms))
    out = values.new_empty(size, rows.shape[1])
    sizes = (len(values), values.shape[1], rows.shape[1], size)
    parts = (atoms.contiguous(), values.contiguous(), rows.contiguous())
    call(*parts, *map(_long, sizes), _threads(), out)
    return out


def dots(atoms: Tensor, rows: Tensor, dictionary: Tensor) -> Tensor | None:
    """<y_n, d_j> at each atom j of the code `[n, width]`, or None without the kernel."""
    call = _function("sparse_products", "dots", rows, dictionary)
    if call is None:
        return None
    fit = len(rows) == len(atoms) and rows.shape[1:] == dictionary.shape[1:]
    _check_code(atoms, len(dictionary), fit)
    out = rows.new_empty(atoms.shape)
    sizes = (_long(len(atoms)), _long(atoms.shape[1]), _long(rows.shape[1]))
    parts = (atoms.contiguous(), rows.contiguous(), dictionary.contiguous())
    call(*parts, *sizes, _threads(), out)
    return out


class _Problem:
    """The arguments that both solvers share, kept alive during the call."""

    def __init__(self, signals: Tensor, dictionary: Tensor, active: int) -> None:
        signals, dictionary = signals.detach().contiguous(), dictionary.detach().contiguous()
        (n, dim), size = signals.shape, len(dictionary)
        correlations = signals @ dictionary.T
        gram = dictionary @ dictionary.T if _worth_a_gram(n, active, size) else None
        sizes = (_long(n), _long(dim), _long(size))
        self.arguments = (signals, dictionary, correlations, gram, *sizes)


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


def _function(kernel: str, name: str, *tensors: Tensor) -> Callable[..., None] | None:
    """The compiled function for these tensors' dtype, taking tensors, None and ctypes values."""
    first = tensors[0]
    usable = (
        not torch.compiler.is_compiling()
        and first.dtype in (torch.float32, torch.float64)
        and all(t.device.type == "cpu" and t.dtype == first.dtype for t in tensors)
    )
    library = load(kernel) if usable else None
    if library is None:
        return None
    function = getattr(library, f"{name}_{str(first.dtype).removeprefix('torch.')}")

    def call(*arguments: object) -> None:
        function(*(_pointer(a) if a is None or isinstance(a, Tensor) else a for a in arguments))

    return call


def _pointer(value: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(0 if value is None else value.data_ptr())


def _long(value: int) -> ctypes.c_long:
    return ctypes.c_long(value)


def _threads() -> ctypes.c_int:
    return ctypes.c_int(torch.get_num_threads())
