"""Equality of states, bit for bit."""

from collections.abc import Mapping

import torch
from torch import Tensor


def equal(left: object, right: object) -> bool:
    """Whether two states are equal bit for bit, tensors and types included."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        same = left.dtype == right.dtype and left.shape == right.shape
        return same and torch.equal(_bytes(left), _bytes(right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and type(left) is type(right):
        return len(left) == len(right) and all(map(equal, left, right))
    return type(left) is type(right) and left == right


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
