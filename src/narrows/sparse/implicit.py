"""Exact gradients through sparse codes, by the equations that the solution satisfies."""

from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize

from narrows.functional.straight_through import Saved
from narrows.sparse.products import adjoint, combine, correlations_at, solve_on_support

_CANCELS = 10.0  # size of a coefficient over its signal, from which it is taken to cancel another


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

    Atoms that are nearly a combination of others chosen have large coefficients that cancel: where
    one exceeds ten times the signal, atoms with less than a hundredth of their squared norm
    outside the span of those that correlate more are left out. Exactly differentiable in signals
    and dictionary, the support held fixed.

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
        if not torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            values = _bounded(signals, dictionary, atoms, right, values)
    return differentiate(signals, dictionary, atoms=atoms, values=values)


def _bounded(
    signals: Tensor, dictionary: Tensor, atoms: Tensor, right: Tensor, values: Tensor
) -> Tensor:
    """The coefficients, without nearly dependent atoms where those let them explode."""
    parts = values.abs() * dictionary.norm(dim=1)[atoms]
    far = ~(parts.amax(-1) <= _CANCELS * signals.norm(dim=-1))  # NaN, too
    if not bool(far.any()):
        return values
    kept = _independent(dictionary, atoms[far], right[far])
    values = values.clone()
    values[far] = solve_on_support(dictionary, atoms[far], kept, right[far] * kept)
    return values


def _independent(dictionary: Tensor, atoms: Tensor, right: Tensor) -> Tensor:
    """Which atoms keep enough of their squared norm outside the span of the stronger ones."""
    chosen = normalize(dictionary[atoms], dim=-1)
    order = right.abs().argsort(-1, descending=True)
    basis, kept = torch.zeros_like(chosen), torch.zeros_like(right, dtype=torch.bool)
    for place in order.T:
        atom = chosen.gather(1, place[:, None, None].expand(-1, 1, chosen.shape[-1]))[:, 0]
        fresh = atom
        for _ in range(2):
            fresh = fresh - torch.einsum(
                "nkd,nk->nd", basis, torch.einsum("nkd,nd->nk", basis, fresh)
            )
        new = (fresh.square().sum(-1) > _CANCELS**-2) & (right.gather(1, place[:, None])[:, 0] != 0)
        kept.scatter_(1, place[:, None], new[:, None])
        fresh = normalize(fresh, dim=-1) * new[:, None]
        basis.scatter_(1, place[:, None, None].expand(-1, 1, fresh.shape[-1]), fresh[:, None])
    return kept


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
