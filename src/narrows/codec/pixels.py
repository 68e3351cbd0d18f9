"""Tables over the 256 levels of each pixel, which a decoder's output stands for."""

from collections.abc import Callable
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor

from narrows.likelihoods import (
    Categorical256,
    DiscretizedLogisticMixture,
    Likelihood,
    Normal,
)

LEVELS = 256
Choose = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""Given weights `[m, 256]` and the levels `[m]` if they are known, returns the levels."""


@singledispatch
def walk_pixels(
    likelihood: Likelihood, output: Tensor, levels: Tensor | None, choose: Choose
) -> Tensor:
    """Goes through all pixels of a group of images; returns their levels `[n, ...]`, int64.

    Args:
        likelihood: p(x | output).
        output: of the decoder, `[n, channels, ...]`.
        levels: the images in 0..255 when writing, None when reading.
        choose: writes or reads.

    Raises:
        TypeError: if the likelihood says nothing about 256 levels.
    """
    del output, levels, choose
    raise TypeError(
        f"lossless coding needs a probability for each of 256 levels, which "
        f"{type(likelihood).__name__} does not give; train with "
        "DiscretizedLogisticMixture, Categorical256 or Normal"
    )


def gives_levels(likelihood: Likelihood) -> bool:
    """Whether a likelihood gives each of 256 levels a probability, as lossless coding needs."""
    return walk_pixels.dispatch(type(likelihood)) is not walk_pixels.dispatch(Likelihood)


@walk_pixels.register
def _categorical(
    likelihood: Categorical256, output: Tensor, levels: Tensor | None, choose: Choose
) -> Tensor:
    logits = likelihood._logits(output).movedim(1, -1)
    return _all_at_once(logits.double().softmax(-1), levels, choose)


@walk_pixels.register
def _normal(likelihood: Normal, output: Tensor, levels: Tensor | None, choose: Choose) -> Tensor:
    """The mass of a normal between the levels' edges; the ends take the tails."""
    edges = (torch.arange(1, LEVELS, dtype=torch.float64) - 0.5) / (LEVELS - 1)
    sigma = likelihood.variance().double().sqrt().cpu()
    below = torch.special.ndtr((edges - output.cpu().double()[..., None]) / sigma)
    return _all_at_once(_between(below), levels, choose)


@walk_pixels.register
def _logistics(
    likelihood: DiscretizedLogisticMixture, output: Tensor, levels: Tensor | None, choose: Choose
) -> Tensor:
    """One channel after another: the means of green and blue need the colours before them."""
    mixture = likelihood._logistics(output.double())
    channels = mixture.means.shape[2]
    edges = (torch.arange(1, LEVELS, dtype=torch.float64) - 0.5) * (2 / (LEVELS - 1)) - 1
    weights = mixture.log_weights.expand_as(mixture.means)
    if mixture.slopes is not None:
        # Which component a pixel is of is learned from its colours so far.
        weights = mixture.log_weights[:, :, :1]
    done: list[Tensor] = []
    belief = weights[:, :, 0]
    for c in range(channels):
        mean = mixture.means[:, :, c]
        if mixture.slopes is not None:
            for i, before in enumerate(done):
                value = before.double() * (2 / (LEVELS - 1)) - 1
                mean = mean + mixture.slopes[:, :, (0, 0, 1)[c] + i] * value[:, None]
        else:
            belief = weights[:, :, c]
        scale = mixture.log_scales[:, :, c].exp()
        mass = _between(((edges - mean[..., None]) / scale[..., None]).sigmoid())
        table = (belief.softmax(1)[..., None] * mass).sum(1)
        known = None if levels is None else levels[:, c]
        done.append(_all_at_once(table, known, choose))
        if mixture.slopes is not None:
            own = mass.gather(-1, done[-1][:, None, ..., None].expand(*mean.shape, 1))[..., 0]
            belief = belief + own.clamp(min=1e-30).log()
    return torch.stack(done, dim=1)


def _between(below: Tensor) -> Tensor:
    """Masses of the levels from the distribution function at their 255 inner edges."""
    ends = torch.cat([torch.zeros_like(below[..., :1]), below, torch.ones_like(below[..., :1])], -1)
    return ends.diff(dim=-1)


def _all_at_once(table: Tensor, levels: Tensor | None, choose: Choose) -> Tensor:
    weights = np.maximum(np.round(table.flatten(0, -2).cpu().numpy() * 2**32), 1.0)
    known = None if levels is None else levels.flatten().cpu().numpy()
    found = choose(weights, known)
    return torch.from_numpy(np.ascontiguousarray(found, dtype=np.int64)).view(table.shape[:-1])
