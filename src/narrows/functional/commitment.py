"""Squared distances of features to their codes, and the commitment loss."""

import torch
from torch import Tensor

from narrows.functional.straight_through import Saved, check_alike, rotate


class _SquaredDistance(torch.autograd.Function):
    @staticmethod
    def forward(one: Tensor, two: Tensor) -> Tensor:
        return torch.sub(one, two).square_().flatten(1).sum(1)

    @staticmethod
    def setup_context(ctx: Saved, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Saved, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        one, two = ctx.saved_tensors
        scale = (2 * grads[0]).reshape(-1, *[1] * (one.dim() - 1))
        to_one = torch.sub(one, two).mul_(scale)
        first, second = ctx.needs_input_grad
        return to_one if first else None, -to_one if second else None


def squared_distance(one: Tensor, two: Tensor) -> Tensor:
    """||one - two||^2 for each example, summed over all axes but the first.

    Both tensors live on anyway where one quantises the other; keeping them instead of their
    difference saves a third of a quantiser's memory and, on a CPU, of its passes over memory.

    Args:
        one: `[batch, ..., dim]`.
        two: of the same shape.

    Returns:
        `[batch]`.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> squared_distance(torch.zeros(2, 3, 1), torch.ones(2, 3, 1))
        tensor([3., 3.])
    """
    if one.shape != two.shape or one.dim() < 2:
        raise ValueError(
            f"squared_distance: expected two tensors [batch, ..., dim] of one shape, got "
            f"{tuple(one.shape)} and {tuple(two.shape)}"
        )
    return _SquaredDistance.apply(one, two)  # pyright: ignore[reportReturnType]


class _Commit(torch.autograd.Function):
    @staticmethod
    def forward(features: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        return code.view_as(code), squared_distance(features, code)

    @staticmethod
    def setup_context(ctx: Saved, inputs: tuple[Tensor, ...], _outputs: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Saved, *grads: Tensor) -> tuple[Tensor, None]:
        features, code = ctx.saved_tensors
        scale = (2 * grads[1]).reshape(-1, *[1] * (features.dim() - 1))
        return torch.sub(features, code).mul_(scale).add_(grads[0]), None


def commit(features: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
    """`straight_through` and `squared_distance` to a constant code in one.

    z = code and d = ||features - code||^2 for each example; the gradient to the features is
    dL/dz + 2 (features - code) dL/dd, made in one pass where the two apart would make two
    tensors of the features' size and their sum.

    Args:
        features: `[batch, ..., dim]`.
        code: of the same shape and dtype; gets no gradient.

    Returns:
        z, and d `[batch]`.

    Raises:
        ValueError: if shapes or dtypes differ.

    Example:
        >>> z, distance = commit(torch.zeros(2, 3), torch.ones(2, 3))
        >>> distance
        tensor([3., 3.])
    """
    check_alike("commit", features, code)
    return _Commit.apply(features, code.detach())  # pyright: ignore[reportReturnType]


def commit_rotated(features: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
    """`rotate` and `squared_distance` to a constant code: as `commit`, by the other estimator."""
    code = code.detach()
    return rotate(features, code), squared_distance(features, code)
