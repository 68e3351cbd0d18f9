"""The gradient passed straight through a step that has none."""

from typing import Any

import torch
from torch import Tensor


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(features: Tensor, code: Tensor) -> Tensor:
        del features
        return code.view_as(code)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
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
    if features.shape != code.shape or features.dtype != code.dtype:
        raise ValueError(
            f"straight_through: expected one shape and dtype, got {tuple(features.shape)} "
            f"{features.dtype} and {tuple(code.shape)} {code.dtype}"
        )
    return _StraightThrough.apply(features, code)  # pyright: ignore[reportReturnType]
