"""Gradients past a quantiser: the identity, or a rotation."""

from typing import Protocol

import torch
from torch import Tensor

_TINY = 1e-12


class Saved(Protocol):
    """What a `torch.autograd.Function` passes from its forward to its backward."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keeps tensors."""


def check_alike(name: str, features: Tensor, code: Tensor) -> None:
    """Refuses features and a code that differ in shape or dtype.

    Raises:
        ValueError: naming both.
    """
    if features.shape != code.shape or features.dtype != code.dtype:
        raise ValueError(
            f"{name}: expected one shape and dtype, got {tuple(features.shape)} "
            f"{features.dtype} and {tuple(code.shape)} {code.dtype}"
        )


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(_features: Tensor, code: Tensor) -> Tensor:
        return code.view_as(code)

    @staticmethod
    def setup_context(_ctx: Saved, _inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        pass

    @staticmethod
    def backward(_ctx: Saved, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def straight_through(features: Tensor, code: Tensor) -> Tensor:
    """Returns `code` itself, with the identity for its gradient to the features.

    z = code exactly; dz/dfeatures = I; dz/dcode = 0. The usual x + (code - x).detach() equals
    the code only up to rounding, so a decoder behind it could see a trace of x.

    Args:
        features: what was quantised.
        code: what it became, of the same shape and dtype.

    Raises:
        ValueError: if shapes or dtypes differ.

    Source: Bengio, Leonard, Courville 2013, "Estimating or Propagating Gradients Through
        Stochastic Neurons"; used for codes by van den Oord et al. 2017, section 3.2.

    Example:
        >>> x = torch.tensor([0.4], requires_grad=True)
        >>> straight_through(x, x.round()).backward()
        >>> x.grad
        tensor([1.])
    """
    check_alike("straight_through", features, code)
    return _StraightThrough.apply(features, code)  # pyright: ignore[reportReturnType]


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(_features: Tensor, code: Tensor) -> Tensor:
        return code.view_as(code)

    @staticmethod
    def setup_context(ctx: Saved, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Saved, *grads: Tensor) -> tuple[Tensor, None]:
        features, code = ctx.saved_tensors
        return _turned_back(features, code, grads[0]), None


def rotate(features: Tensor, code: Tensor) -> Tensor:
    """Returns `code`; its gradient reaches the features as that of a rotation and rescaling.

    z = lambda R e with R the rotation from e to q in their plane and lambda = ||q|| / ||e||,
    both held constant, so z = q and dL/de = lambda R^T dL/dz where

        R = I - 2 r r^T + 2 q' e'^T,   e' = e/||e||,  q' = q/||q||,  r = (e' + q')/||e' + q'||.

    Where e and q point opposite ways r is taken as 0, which leaves the reflection that also
    takes e to q; where either is 0 there is no angle, and the gradient passes straight through.

    Args:
        features: e, `[..., dim]`.
        code: q, of the same shape and dtype.

    Raises:
        ValueError: if shapes or dtypes differ.

    Source: Fifty et al. 2024, "Restructuring Vector Quantization with the Rotation Trick",
        equations 3 and 4 (the forward value is q itself here, not lambda R e up to rounding).

    Example:
        >>> e, q = torch.tensor([1.0, 0.0], requires_grad=True), torch.tensor([0.0, 2.0])
        >>> rotate(e, q)[1].backward()
        >>> e.grad
        tensor([2., 0.])
    """
    check_alike("rotate", features, code)
    return _Rotation.apply(features, code)  # pyright: ignore[reportReturnType]


def _turned_back(e: Tensor, q: Tensor, grad: Tensor) -> Tensor:
    """lambda R^T grad."""
    e_norm, q_norm = e.norm(dim=-1, keepdim=True), q.norm(dim=-1, keepdim=True)
    e_unit, q_unit = e / e_norm.clamp_min(_TINY), q / q_norm.clamp_min(_TINY)
    r = e_unit + q_unit
    r = r / r.norm(dim=-1, keepdim=True).clamp_min(_TINY)
    turned = (
        grad
        - 2 * r * (r * grad).sum(-1, keepdim=True)
        + 2 * e_unit * (q_unit * grad).sum(-1, keepdim=True)
    )
    has_angle = (e_norm > _TINY) & (q_norm > _TINY)
    return torch.where(has_angle, turned * (q_norm / e_norm.clamp_min(_TINY)), grad)
