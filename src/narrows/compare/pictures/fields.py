"""Receptive fields: which pixels move a feature."""

from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.modes import evaluating
from narrows.report import Picture, grid, stretch

SHOWN = 16
ABOUT = (
    "Mean gradient of single features at the middle site with respect to the pixels, over 64 "
    "held-out images, those that vary most first. Mid-grey is 0; each picture is stretched for "
    "itself. Centre and surround: the feature answers to contrast."
)
EXAMPLES = 64
"""Images that a field is the mean over."""


def receptive_fields(models: Mapping[str, Autoencoder], x: Tensor) -> list[Picture]:
    """Mean gradient of the middle site's features with respect to the pixels.

    The features are what the bottleneck is given (locations, where there is a posterior); a
    field is centre and surround where the encoder sees contrast, and a smear where it sums.
    """
    found = []
    for name, model in models.items():
        fields = _fields(model, x[:EXAMPLES])
        if fields.dim() != 4 or fields.shape[1] not in (1, 3):
            continue
        shown = stretch(fields.numpy(), symmetric=True)
        what = f"receptive fields of {name}"
        found.append(grid(shown, what=what, caption=name, room=SHOWN))
    return found


def _fields(model: Autoencoder, x: Tensor) -> Tensor:
    """`[features, *shape]`, the strongest first; at most 16."""
    with evaluating(model):
        pixels = x.clone().requires_grad_()
        features = model.encoder(pixels)
        middle = features[(slice(None), *(size // 2 for size in model.sites))]
        posterior = model.latent(x[:1]).posterior is not None
        used = middle.shape[-1] // 2 if posterior else middle.shape[-1]
        strong = middle.detach().var(0)[:used].argsort(descending=True)[:SHOWN]
        found = [
            torch.autograd.grad(middle[:, j].sum(), pixels, retain_graph=True)[0].mean(0)
            for j in strong.tolist()
        ]
    return torch.stack(found).detach().cpu()
