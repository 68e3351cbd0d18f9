"""Noise on images, for training that removes it and for measuring how well."""

import torch
from torch import Tensor


def corrupt(images: Tensor, weight: float, *, generator: torch.Generator | None = None) -> Tensor:
    """clip(x + weight * normal noise, 0, 1): also the input of denoising training.

    Args:
        images: in [0, 1].
        weight: standard deviation of the noise before clipping, in units of x.
        generator: on the images' device.

    Raises:
        ValueError: if the weight is negative.
    """
    if not weight >= 0:
        raise ValueError(f"expected a noise weight of at least 0, got {weight}")
    noise = torch.empty_like(images).normal_(generator=generator)
    return (images + weight * noise).clamp(0, 1)
