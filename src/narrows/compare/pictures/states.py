"""Codes and images of a model in eval, from z."""

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.modes import evaluating


@torch.no_grad()
def z_of(model: Autoencoder, x: Tensor) -> Tensor:
    """What the decoder would be given for the stored codes of x, `[n, *sites, width]`."""
    return model.bottleneck.embed(model.encode(x))


@torch.no_grad()
def decoded(model: Autoencoder, z: Tensor) -> Tensor:
    """Mean images of z `[n, *sites, width]`."""
    with evaluating(model):
        return model.likelihood.mean(model.decoder(z))
