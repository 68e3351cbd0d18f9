"""Codes with parts missing: left empty, or completed by a prior."""

import math

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codes import Code, Indices, one_tensor
from narrows.functional.conditionals import Conditional, follow, sampler
from narrows.modes import evaluating
from narrows.priors.base import Autoregressive

_NEEDS = (
    "completion needs integer codes and an autoregressive prior; fit one with "
    'nw.fit_prior(model, data, prior="pixelcnn") and make it model.prior'
)


@torch.no_grad()
def mask_sites(model: Autoencoder, x: Tensor) -> Tensor:
    """Reconstructions with one site's z set to 0 each, `[n, sites, *shape]`.

    Shows which pixels depend on a site.

    Raises:
        ValueError: if the code has no sites.
    """
    if not model.sites:
        raise ValueError("the code of this model has no sites to mask; it is one vector")
    z = model.bottleneck.embed(model.encode(x)).flatten(1, len(model.sites))
    images = []
    with evaluating(model):
        for site in range(math.prod(model.sites)):
            masked = z.clone()
            masked[:, site] = 0
            masked = masked.unflatten(1, model.sites)
            images.append(model.likelihood.mean(model.decoder(masked)))
    return torch.stack(images, dim=1)


@torch.no_grad()
def complete(
    model: Autoencoder, code: Code, *, keep: Tensor, generator: torch.Generator | None = None
) -> Code:
    """Codes whose missing indices are drawn from a learned prior, given those before them.

    Each missing index is drawn given all indices before it in raster order, kept ones included;
    kept ones after it are not looked at (that would take a bidirectional prior).

    Args:
        model: one whose prior is autoregressive over integer codes.
        code: integers `[n, *sites]` or with a last axis of stages.
        keep: booleans of the code's shape: False is missing.
        generator: source of randomness.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if the prior cannot do so.
    """
    if not isinstance(model.prior, Autoregressive) or not isinstance(
        model.bottleneck.codes, Indices
    ):
        raise TypeError(_NEEDS)
    code = one_tensor(code)
    if keep.shape != code.shape:
        raise ValueError(
            f"expected keep of the code's shape {tuple(code.shape)}, got {tuple(keep.shape)}"
        )
    draw = sampler(generator)
    known = iter(zip(code.flatten(1).unbind(1), keep.flatten(1).unbind(1), strict=True))

    def choose(step: Conditional) -> Tensor:
        given, kept = next(known)
        return torch.where(kept, given, draw(step))

    return follow(model.prior.conditionals(len(code)), choose)


@torch.no_grad()
def redraw(
    model: Autoencoder, x: Tensor, *, draws: int, generator: torch.Generator | None = None
) -> Tensor:
    """Images whose code's lower half is drawn anew by the prior, `[n, draws, *shape]`.

    Args:
        model: one whose prior is autoregressive over integer codes.
        x: images `[n, *shape]` in [0, 1].
        draws: completions of each.
        generator: source of randomness.

    Raises:
        TypeError: as `complete`.
    """
    if not isinstance(model.bottleneck.codes, Indices):
        raise TypeError(_NEEDS)
    code = one_tensor(model.encode(x))
    many = code.repeat_interleave(draws, dim=0)
    place = torch.arange(code[0].numel(), device=code.device).view(code.shape[1:])
    keep = (place < code[0].numel() // 2).expand_as(many)
    images = model.decode(complete(model, many, keep=keep, generator=generator))
    return images.unflatten(0, (len(x), draws))
