"""What a model takes: the shape of an example, and the range of images."""

import math

import torch
from torch import Tensor

_SLACK = 1e-3
LARGEST = 2**26
"""Values of the largest example that a model is made for; assign another number to change it.

The weights of convolutions say nothing about it, so that a made-up `model.json` could ask for any
memory; the idea is Pillow's `Image.MAX_IMAGE_PIXELS`.
"""


def check_example(shape: tuple[int, ...]) -> None:
    """Refuses what is no shape of an example, or that of one that no memory holds.

    Raises:
        ValueError: if a number is not positive, or there are more than `LARGEST` values.
    """
    if min(shape, default=0) < 1:
        raise ValueError(f"expected the shape of one example, numbers from 1, got {shape}")
    if math.prod(shape) > LARGEST:
        raise ValueError(
            f"expected a shape of at most {LARGEST} values, got {shape}; cut examples "
            "into tiles or windows, or set narrows.functional.examples.LARGEST if they are so large"
        )


def check_shape(x: Tensor, shape: tuple[int, ...]) -> None:
    """Refuses what is no batch of floating-point examples of a shape.

    Raises:
        TypeError: if x is no tensor.
        ValueError: if it has another shape, or holds integers.
    """
    if not isinstance(x, Tensor):
        raise TypeError(
            f"expected a torch tensor, got {type(x).__name__}; convert with torch.as_tensor(x)"
        )
    if tuple(x.shape[1:]) != shape or x.dim() != len(shape) + 1:
        hint = ""
        if len(shape) == 3 and tuple(x.shape[1:]) == (*shape[1:], shape[0]):
            hint = "; channels come first: use x.permute(0, 3, 1, 2)"
        raise ValueError(
            f"expected examples of shape [batch, {', '.join(map(str, shape))}], got "
            f"{list(x.shape)}{hint or '; build the model for this shape or resize the data'}"
        )
    if not x.is_floating_point():
        raise ValueError(
            f"expected floating-point examples in [0, 1], got {x.dtype}; divide 8-bit "
            "images by 255, or load them with narrows.data.from_array"
        )


def is_picture(shape: tuple[int, ...]) -> bool:
    """True for shapes that are taken for grey or colour images unless it is said otherwise."""
    return len(shape) == 3 and shape[0] in (1, 3)


def refuse_range(x: Tensor) -> None:
    """Refuses images outside [0, 1]; the smallest rounding errors of a resize pass.

    Raises:
        ValueError: with the range that came, and how to bring it to [0, 1].
    """
    if not (isinstance(x, Tensor) and x.is_floating_point() and x.numel()):
        return
    low, high = (float(end) for end in torch.aminmax(x.detach()))
    if (low >= -_SLACK and high <= 1 + _SLACK) or low != low:  # NaN is refused by the bottleneck
        return
    raise ValueError(
        f"expected images in [0, 1], got values from {low:.4g} to {high:.4g}; "
        f"{to_unit(low, high)}, or pass any_range=True to encode noisy images on purpose"
    )


def to_unit(low: float, high: float) -> str:
    """What brings images of this range to [0, 1], in words."""
    if low >= 0 and high <= 255:
        return "divide by 255"
    return "take (x + 1) / 2" if -1 <= low < -0.9 and high <= 1 else "scale or clamp them"
