"""Draws from a categorical distribution by the Gumbel-max trick, and their relaxation."""

import torch
from torch import Tensor


def gumbel(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard Gumbel draws, -log E with E exponential, of the shape of `like`."""
    return -torch.empty_like(like).exponential_(generator=generator).log()


def gumbel_softmax(
    logits: Tensor, temperature: float | Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Points of the simplex near its corners: softmax((logits + gumbel) / temperature).

    Their largest entry is an exact draw from softmax(logits) at any temperature; as the
    temperature falls they become that draw's one-hot vector, and the gradient's variance grows.

    Args:
        logits: `[..., K]`, unnormalised.
        temperature: above 0.
        generator: of the draws.

    Raises:
        ValueError: if the temperature is not above 0.

    Source: Jang, Gu & Poole (2017), eq. 2; Maddison, Mnih & Teh (2017).

    Example:
        >>> gumbel_softmax(torch.zeros(5, 3), 0.5).shape
        torch.Size([5, 3])
    """
    if not temperature > 0:
        raise ValueError(f"gumbel_softmax: temperature must be above 0, got {temperature}")
    return ((logits + gumbel(logits, generator)) / temperature).softmax(-1)
