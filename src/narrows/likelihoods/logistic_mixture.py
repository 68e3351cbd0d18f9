"""The discretised logistic mixture of PixelCNN++."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.functional.conditionals import Walk
from narrows.likelihoods.base import (
    LEVELS,
    Likelihood,
    at_least_float32,
    between,
    check_unit_range,
    inner_edges,
    levels_at_once,
    to_levels,
)

COLOURS = 3
HALF_BIN = 1 / (LEVELS - 1)
"""Half the width of a level where the levels span [-1, 1]."""
LOG_SCALE = (-7.0, 7.0)
"""From a logistic far narrower than a level to a flat one."""


_LATTICE = (144, 89)  # Fibonacci numbers: points that fill a square evenly


class DiscretizedLogisticMixture(Likelihood):
    """A mixture of logistics over the 256 levels of each pixel.

    p(l) = sum_k pi_k [sigmoid((b_l+ - m_k)/s_k) - sigmoid((b_l- - m_k)/s_k)] with the level's
    edges b in [-1, 1] units; the lowest and the highest level take the tails, so the sum over
    all levels is 1 exactly. x in [0, 1] is rounded to the nearest level.

    With three channels a pixel is a colour: one component is drawn for all three, and the
    means of green and blue depend linearly on the values before them, as in PixelCNN++. With
    any other number every channel has a mixture of its own.

    Args:
        components: logistics per mixture.

    Raises:
        ValueError: if there is no component.

    Source: Salimans, Karpathy, Chen & Kingma (2017), equations 1-3. We evaluate the difference
        of two sigmoids exactly as sigmoid(a) sigmoid(-b) (1 - exp(b - a)), where they switch to
        the density when it is small.

    Example:
        >>> likelihood = DiscretizedLogisticMixture(components=5)
        >>> likelihood.channels(3), likelihood.channels(1)
        (50, 15)
        >>> likelihood.log_prob(torch.rand(2, 3, 8, 8), torch.zeros(2, 50, 8, 8)).shape
        torch.Size([2])
    """

    discrete = True
    gives_levels = True

    def __init__(self, components: int = 10) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(
                f"DiscretizedLogisticMixture: components must be at least 1, got {components}"
            )
        self.components = components

    def channels(self, data_channels: int) -> int:
        """10 per component for colours (1 weight, 3 means, scales and slopes); else 3 each."""
        per_component = 1 + 3 * COLOURS if data_channels == COLOURS else 3 * data_channels
        return self.components * per_component

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Nats per example, `[batch]`; x in [0, 1]."""
        x, output = self._check(x, output)
        check_unit_range(self, x)
        levels = to_levels(x)[:, None]
        logistics = self._logistics(output)
        means = logistics.means
        if logistics.slopes is not None:
            means = _given_colours(means, logistics.slopes, _centred(levels, means))
        per_value = _log_mass(levels, means, logistics.log_scales)
        if logistics.slopes is not None:
            per_value = per_value.sum(2, keepdim=True)
        return (logistics.log_weights + per_value).logsumexp(1).flatten(1).sum(1)

    def level_conditionals(self, output: Tensor, levels: Tensor | None = None) -> Walk[Tensor]:
        """One channel after another: the means of green and blue need the colours before them.

        Which component a pixel is of is learned from its colours so far.
        """
        mixture = self._logistics(output.double())
        edges = inner_edges(output) * (2 / (LEVELS - 1)) - 1
        weights = mixture.log_weights.expand_as(mixture.means)
        belief = weights[:, :, 0]
        found: list[Tensor] = []
        for c in range(mixture.means.shape[2]):
            mean = mixture.means[:, :, c]
            if mixture.slopes is None:
                belief = weights[:, :, c]
            else:
                before = [_centred(value, mean)[:, None] for value in found]
                mean = _shifted(mixture, c, before)
            scale = mixture.log_scales[:, :, c].exp()
            mass = between(((edges - mean[..., None]) / scale[..., None]).sigmoid())
            table = (belief.softmax(1)[..., None] * mass).sum(1)
            known = None if levels is None else levels[:, c]
            found.append((yield from levels_at_once(table, known)))
            if mixture.slopes is not None:
                level = found[-1][:, None]
                belief = belief + _log_mass(level, mean, mixture.log_scales[:, :, c])
        return torch.stack(found, dim=1)

    def mean(self, output: Tensor) -> Tensor:
        """E[x] in [0, 1], of the mixture clipped to the range.

        Green and blue average over draws of the colours before them, on a lattice of 144 points,
        within half a level or so; where these spread by less than a level their means will do.
        """
        logistics = self._logistics(output)
        weights = logistics.log_weights.exp()
        scales = logistics.log_scales.exp()
        if logistics.slopes is None:
            return _to_unit((weights * _clipped_mean(logistics.means, scales)).sum(1))
        before: list[Tensor] = []
        for colour in range(COLOURS):
            mean = _shifted(logistics, colour, before)
            before.append(_clipped_mean(mean, scales[:, :, colour]))
        means = torch.stack(before, 2)
        spread = (logistics.slopes.abs() * scales[:, :, [0, 0, 1]]).amax(2)
        wide = (spread > HALF_BIN) & (weights[:, :, 0] > 1e-3)
        parts = [part.movedim(2, -1) for part in (logistics.means, scales, logistics.slopes)]
        if torch.compiler.is_compiling():  # graph capture cannot pick by data
            every = _averaged(*(part.unbind(-1) for part in parts)).movedim(-1, 2)
            means = torch.where(wide[:, :, None], every, means)
        elif bool(wide.any()):
            means = means.movedim(2, -1).clone()
            means[wide] = _averaged(*(part[wide].unbind(-1) for part in parts))
            means = means.movedim(-1, 2)
        return _to_unit((weights * means).sum(1))

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws a component, then its value, colour after colour; levels in [0, 1]."""
        logistics = self._logistics(output)
        noise = torch.empty_like(logistics.log_weights).exponential_(generator=generator).log()
        drawn = (logistics.log_weights - noise).argmax(1, keepdim=True)
        means = _pick(logistics.means, drawn)
        scales = _pick(logistics.log_scales, drawn).exp()
        uniform = torch.empty_like(means).uniform_(generator=generator)
        deviations = scales * uniform.logit()
        if logistics.slopes is None:
            return _to_unit(_nearest(means + deviations))[:, 0]
        one = _Logistics(drawn, means, scales, _pick(logistics.slopes, drawn))
        before: list[Tensor] = []
        for colour in range(COLOURS):
            before.append(_nearest(_shifted(one, colour, before) + deviations[:, :, colour]))
        return _to_unit(torch.stack(before, 2))[:, 0]

    def _logistics(self, output: Tensor) -> "_Logistics":
        output = at_least_float32(output)
        colours = output.shape[1] == self.channels(COLOURS)
        if colours:
            parts = output.unflatten(1, (self.components, -1))
            logits, means, log_scales, slopes = parts.split([1, COLOURS, COLOURS, COLOURS], 2)
            slopes = slopes.tanh()
        else:
            parts = output.unflatten(1, (self.components, 3, -1))
            (logits, means, log_scales), slopes = parts.unbind(2), None
        return _Logistics(logits.log_softmax(1), means, log_scales.clamp(*LOG_SCALE), slopes)


class _Logistics(NamedTuple):
    """Parameters `[batch, components, channels, ...]` in [-1, 1] units.

    The weights have one channel and slopes are there when a pixel is a colour.
    """

    log_weights: Tensor
    means: Tensor
    log_scales: Tensor
    slopes: Tensor | None


def _log_mass(levels: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """Log probability of each level under each logistic."""
    inverse = (-log_scales).exp()
    distance = (_centred(levels, means) - means) * inverse
    half = HALF_BIN * inverse
    below_upper, above_lower = F.logsigmoid(distance + half), F.logsigmoid(half - distance)
    inside = below_upper + above_lower + (-torch.expm1(-2 * half)).log()
    highest = torch.where(levels == LEVELS - 1, above_lower, inside)
    return torch.where(levels == 0, below_upper, highest)


def _given_colours(means: Tensor, slopes: Tensor, values: Tensor) -> Tensor:
    """Means of the three colours given the values before them."""
    red, green = values[:, :, 0], values[:, :, 1]
    shift_green = slopes[:, :, 0] * red
    shift_blue = slopes[:, :, 1] * red + slopes[:, :, 2] * green
    return means + torch.stack([torch.zeros_like(shift_green), shift_green, shift_blue], 2)


def _shifted(logistics: _Logistics, colour: int, before: list[Tensor]) -> Tensor:
    """Mean of one colour given those before it, `[batch, components, ...]`."""
    assert logistics.slopes is not None
    mean = logistics.means[:, :, colour]
    first = (0, 0, 1)[colour]  # slopes lie as green on red, blue on red, blue on green
    for index, value in enumerate(before):
        mean = mean + logistics.slopes[:, :, first + index] * value
    return mean


def _clipped_mean(means: Tensor, scales: Tensor) -> Tensor:
    """E[clip(X, -1, 1)] = -1 + the integral of P(X > t) over [-1, 1]."""
    above, below = F.softplus((means + 1) / scales), F.softplus((means - 1) / scales)
    return (scales * (above - below) - 1).clamp(-1, 1)


def _averaged(
    means: Sequence[Tensor], scales: Sequence[Tensor], slopes: Sequence[Tensor]
) -> Tensor:
    """Means of the three clipped colours of logistics, `[..., 3]`, over draws of those before."""
    totals = [_clipped_mean(means[0], scales[0]), *torch.zeros(2, *means[0].shape).to(means[0])]
    for i in range(_LATTICE[0]):
        u, v = (i + 0.5) / _LATTICE[0], (i * _LATTICE[1] + 0.5) % _LATTICE[0] / _LATTICE[0]
        red = (means[0] + scales[0] * math.log(u / (1 - u))).clamp(-1, 1)
        green = means[1] + slopes[0] * red
        totals[1] = totals[1] + _clipped_mean(green, scales[1])
        green = (green + scales[1] * math.log(v / (1 - v))).clamp(-1, 1)
        blue = means[2] + slopes[1] * red + slopes[2] * green
        totals[2] = totals[2] + _clipped_mean(blue, scales[2])
    return torch.stack([totals[0], totals[1] / _LATTICE[0], totals[2] / _LATTICE[0]], -1)


def _pick(parameters: Tensor, component: Tensor) -> Tensor:
    """The parameters of the drawn component, `[batch, 1, channels, ...]`."""
    return parameters.gather(1, component.expand(-1, -1, *parameters.shape[2:]))


def _centred(levels: Tensor, like: Tensor) -> Tensor:
    """Levels 0..255 in [-1, 1], in the given precision."""
    return levels.to(like) * (2 / (LEVELS - 1)) - 1


def _nearest(values: Tensor) -> Tensor:
    """The nearest level of values in [-1, 1] units, in these units."""
    levels = ((values + 1) * ((LEVELS - 1) / 2)).round().clamp(0, LEVELS - 1)
    return levels * (2 / (LEVELS - 1)) - 1


def _to_unit(values: Tensor) -> Tensor:
    """[-1, 1] units -> [0, 1]."""
    return (values + 1) / 2
