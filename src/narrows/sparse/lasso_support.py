"""Lasso codes of a fixed width, as an operator that programs can be captured with."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from narrows.sparse.coordinate_descent import descend
from narrows.sparse.penalty import L1
from narrows.sparse.solution import canonical


def lasso_support(
    signals: Tensor,
    dictionary: Tensor,
    weights: Tensor,
    *,
    nonnegative: bool,
    tolerance: float,
    width: int,
) -> tuple[Tensor, Tensor]:
    """Atoms and values `[n, width]` of a lasso code: its largest entries, canonical, unchecked.

    An operator to `torch.export` and `torch.compile`, which cannot look into a solver that
    stops when it is done.

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`.
        weights: lambda of each signal `[n]`.
        nonnegative: whether codes must be >= 0.
        tolerance: relative duality gap at which the solver stops.
        width: entries kept of each code.
    """
    solve = _lasso_operator if torch.compiler.is_compiling() else _lasso_support
    return solve(signals, dictionary, weights, nonnegative, tolerance, width)


def _lasso_support(
    signals: Tensor,
    dictionary: Tensor,
    weights: Tensor,
    nonnegative: bool,
    tolerance: float,
    width: int,
) -> tuple[Tensor, Tensor]:
    penalty = L1(1.0, nonnegative=nonnegative)
    solution = descend(signals, dictionary, weights, penalty, (tolerance, 20_000))
    atoms, values = solution.atoms, solution.values
    have = values.shape[1]
    if have > width:
        keep = values.abs().topk(width, dim=-1, sorted=False).indices
        return canonical(atoms.gather(1, keep), values.gather(1, keep))
    return pad(atoms, (0, width - have)), pad(values, (0, width - have))


_lasso_operator = torch.library.custom_op("narrows::lasso_support", _lasso_support, mutates_args=())


@_lasso_operator.register_fake
def _lasso_shapes(signals: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    width = others[4]
    values = signals.new_empty(signals.shape[0], width)
    return values.to(torch.int64), values
