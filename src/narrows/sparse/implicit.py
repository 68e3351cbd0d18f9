"""Exact gradients through sparse codes, by the equations that the solution satisfies."""

from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from narrows.functional.straight_through import Saved
from narrows.sparse.products import adjoint, combine, correlations_at, solve_on_support


def differentiate(
    signals: Tensor,
    dictionary: Tensor,
    *,
    atoms: Tensor,
    values: Tensor,
    weights: Tensor | None = None,
    ridge: float = 0.0,
) -> Tensor:
    r"""The given values with their exact gradient to signals, dictionary and lambda.

    On its support S, with the signs s of its values, a lasso code satisfies

    .. math:: (D_S D_S^T + \mu I)\, z_S = D_S x - \lambda s,

    and support and signs are locally constant for almost every x. With g the gradient to z_S
    and b = (D_S D_S^T + mu I)^{-1} g the gradients are

    .. math:: \nabla_x = D_S^T b, \qquad
        \nabla_{D_S} = b\, (x - D_S^T z_S)^T - z_S\, (D_S^T b)^T, \qquad
        \nabla_\lambda = -b^T s .

    Without weights (lambda = 0) these are the gradients of least squares on the support: of
    OMP, or of any refitted code. Memory is of the size of the code, never n x K x K.

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`.
        atoms: `[n, width]`, the solution's.
        values: `[n, width]`, the solution's; 0 marks padding.
        weights: lambda of each signal `[n]`, where its gradient is wanted too.
        ridge: mu.

    Returns:
        The values, `[n, width]`, unchanged.

    Source:
        Mairal, Bach and Ponce 2012, "Task-Driven Dictionary Learning", proposition 1 and
        equation 11; b is their beta*, restricted to the active set.
    """
    if weights is None:
        weights = values.new_zeros(values.shape[0])
    parts = (signals, dictionary, atoms, values.detach(), weights, ridge)
    return _Differentiate.apply(*parts)  # pyright: ignore[reportReturnType]


def refit(signals: Tensor, dictionary: Tensor, *, atoms: Tensor, active: Tensor) -> Tensor:
    """Least squares on chosen atoms: the coefficients of the projection onto their span.

    Exactly differentiable in signals and dictionary, the support held fixed.

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`.
        atoms: `[n, width]`.
        active: which entries count, bool `[n, width]`; the others become exactly 0.

    Returns:
        Coefficients `[n, width]`.
    """
    with torch.no_grad():
        right = correlations_at(atoms, signals, dictionary) * active
        values = solve_on_support(dictionary, atoms, active, right)
    return differentiate(signals, dictionary, atoms=atoms, values=values)


class _Ridged(Saved, Protocol):
    ridge: float


class _Differentiate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Ridged,
        signals: Tensor,
        dictionary: Tensor,
        atoms: Tensor,
        values: Tensor,
        _weights: Tensor,
        ridge: float,
    ) -> Tensor:
        ctx.save_for_backward(signals, dictionary, atoms, values)
        ctx.ridge = ridge
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: _Ridged, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        signals, dictionary, atoms, values = ctx.saved_tensors
        active = values != 0
        b = solve_on_support(dictionary, atoms, active, gradients[0], ctx.ridge)
        for_signals = combine(atoms, b, dictionary=dictionary)
        for_dictionary = for_weights = None
        if ctx.needs_input_grad[1]:
            residual = signals - combine(atoms, values, dictionary=dictionary)
            size = len(dictionary)
            for_dictionary = adjoint(atoms, b, residual, size)
            for_dictionary -= adjoint(atoms, values, for_signals, size)
        if ctx.needs_input_grad[4]:
            for_weights = -(b * values.sign()).sum(-1)
        return for_signals, for_dictionary, None, None, for_weights, None
