"""Codes as maps: what a site says, and what is lost without it."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.compare.pictures.states import decoded, z_of
from narrows.report import Picture, Strips, grid, pca_rgb, stretch, strips

MASKED = (
    "Reconstructions; the same with z of the middle site set to 0; and the change, stretched "
    "(mid-grey: none). A change far from the middle means that the decoder looks around."
)


def latent_maps(models: Mapping[str, Autoencoder], x: Tensor) -> Strips | None:
    """Latent maps below their images: the first three principal components as colours."""
    height, width = x.shape[-2:]
    rows = {"originals": x.cpu().numpy()}
    for name, model in models.items():
        z = z_of(model, x)
        if z.dim() != 4 or min(z.shape[1:3]) < 2:
            continue
        colours = torch.from_numpy(pca_rgb(z.cpu().numpy()))
        rows[name] = torch.nn.functional.interpolate(colours, (height, width)).numpy()
    if len(rows) == 1:
        return None
    caption = (
        "Latent maps: the first three principal components of a model's codes as red, green and "
        "blue. Equal colours are equal codes within a row; colours of different rows have nothing "
        "to do with each other."
    )
    return strips(rows, caption=caption)


def masked(models: Mapping[str, Autoencoder], x: Tensor) -> list[Picture]:
    """Reconstructions, the same with the middle site's code set to zero, and what changed."""
    found = []
    for name, model in models.items():
        z = z_of(model, x)
        if not model.sites or z.shape[1:-1] != model.sites or math.prod(model.sites) < 2:
            continue
        place = tuple(size // 2 for size in model.sites)
        hidden = z.clone()
        hidden[(slice(None), *place)] = 0
        whole, part = decoded(model, z), decoded(model, hidden)
        change = torch.from_numpy(stretch((part - whole).cpu().numpy(), symmetric=True))
        images = torch.cat([whole.clamp(0, 1).cpu(), part.clamp(0, 1).cpu(), change.float()])
        what = f"masked reconstructions of {name}"
        found.append(grid(images.numpy(), what=what, columns=len(x), caption=name))
    return found
