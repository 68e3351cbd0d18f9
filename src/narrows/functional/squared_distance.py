"""Squared distance per example, without keeping the difference for the way back."""

from typing import Any

import torch
from torch import Tensor


class _SquaredDistance(torch.autograd.Function):
    @staticmethod
    def forward(one: Tensor, two: Tensor) -> Tensor:
        return torch.sub(one, two).square_().flatten(1).sum(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        del output
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
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
