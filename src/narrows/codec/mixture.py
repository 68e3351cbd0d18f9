r"""Grid codes of a Gaussian mixture: bisection, dimension after dimension.

The prior's probability of a grid point is a product of conditionals,

.. math:: p(k_i | k_{<i}) = \sum_m r_m(k_{<i}) \left[
    \Phi\!\left(\tfrac{z_i + \Delta_i/2 - c_{mi}}{s_{mi}}\right) -
    \Phi\!\left(\tfrac{z_i - \Delta_i/2 - c_{mi}}{s_{mi}}\right)\right],

r_m being the share of component m after the dimensions before. Each k_i is found by halving an
interval of the grid: a binary symbol a level, with the two halves' masses. That needs a few values
of Phi where a table over the whole grid would need one a cell. What lies outside the interval takes
an escape and a distance.

Sums run over components and dimensions one by one, and every function works on one number at a
time, so a code has the same probabilities whatever else is in the batch.
"""

import math

import numpy as np
from scipy.special import ndtr

from narrows.codec.entropy import Channel, whole_numbers
from narrows.priors.gaussian_mixture import GaussianMixture

_FAR = 12.0  # deviations of a component that the interval reaches out
_DEEPEST = 40  # halvings: more cells than any code uses


def transfer_mixture(
    prior: GaussianMixture, channel: Channel, rows: int, index: np.ndarray | None
) -> np.ndarray:
    """Writes or reads grid indices `[rows, dim]`, int64; returns them."""
    weights, means, factors, scales, steps = (
        part.cpu().numpy()
        for part in (prior.weights, prior.means, prior.factors, prior.scales, prior.steps)
    )
    components, dim = means.shape
    shares = [np.full(rows, weight) for weight in weights]
    whitened: list[list[np.ndarray]] = [[] for _ in range(components)]
    out = np.zeros((rows, dim), np.int64)
    for i in range(dim):
        centres = []
        for m in range(components):
            centre = np.full(rows, means[m, i])
            for j, before in enumerate(whitened[m]):
                centre = centre + factors[m, i, j] * before
            centres.append(centre)
        cells = _Cells(shares, centres, scales[:, i], steps[i])
        first, depth = _interval(means[:, i], factors[:, i], steps[i])
        known = None if index is None else index[:, i]
        out[:, i] = _bisect(channel, cells, known, first, depth)
        for m in range(components):
            whitened[m].append((out[:, i] * steps[i] - centres[m]) / factors[m, i, i])
        shares = cells.updated(out[:, i])
    return out


class _Cells:
    """Masses of runs of grid cells in one dimension, given the dimensions before."""

    def __init__(
        self,
        shares: list[np.ndarray],
        centres: list[np.ndarray],
        scales: np.ndarray,
        step: float,
    ) -> None:
        self.shares, self.centres, self.scales, self.step = shares, centres, scales, step

    def mass(self, first: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Mass of the cells first, ..., after - 1, in each row."""
        total = np.zeros(len(first))
        for m, share in enumerate(self.shares):
            total = total + share * self._of(m, first, after)
        return total

    def updated(self, index: np.ndarray) -> list[np.ndarray]:
        """The components' shares after the index is known."""
        joint = [share * self._of(m, index, index + 1) for m, share in enumerate(self.shares)]
        total = np.zeros(len(index))
        for part in joint:
            total = total + part
        lost = total < 1e-250  # so far out that nothing is left to tell components apart
        safe = np.where(lost, 1.0, total)
        return [
            np.where(lost, share, part / safe)
            for share, part in zip(self.shares, joint, strict=True)
        ]

    def _of(self, m: int, first: np.ndarray, after: np.ndarray) -> np.ndarray:
        low, high = (
            ((edge - 0.5) * self.step - self.centres[m]) / self.scales[m] for edge in (first, after)
        )
        flip = low + high > 0  # the lower tail, where Phi is small and exact
        return ndtr(np.where(flip, -low, high)) - ndtr(np.where(flip, -high, low))


def _interval(means: np.ndarray, rows: np.ndarray, step: float) -> tuple[int, int]:
    """First cell and number of halvings of an interval that holds nearly all codes."""
    deviations = np.sqrt((rows**2).sum(1))
    low = math.floor(float((means - _FAR * deviations).min()) / step)
    high = math.ceil(float((means + _FAR * deviations).max()) / step)
    depth = min(_DEEPEST, max(1, math.ceil(math.log2(high - low + 1))))
    return (low + high) // 2 - 2 ** (depth - 1), depth


def _bisect(
    channel: Channel, cells: _Cells, known: np.ndarray | None, first: int, depth: int
) -> np.ndarray:
    """One index a row."""
    rows = len(cells.centres[0])
    end = first + 2**depth
    escapes = None if known is None else ((known < first) | (known >= end)).astype(np.int64)
    escapes = channel.alike(escapes, np.array([2.0**24, 1.0]), rows)
    low = np.full(rows, first, np.int64)
    inside = None if known is None else known.clip(first, end - 1)
    for level in reversed(range(depth)):
        middle = low + 2**level
        halves = np.stack([cells.mass(low, middle), cells.mass(middle, middle + 2**level)], axis=1)
        upper = None if inside is None else (inside >= middle).astype(np.int64)
        upper = channel.each(upper, _whole(halves))
        low = low + upper * 2**level
    far = np.flatnonzero(escapes)
    if len(far):
        sides = distances = None
        if known is not None:
            sides = (known[far] >= end).astype(np.int64)
            distances = np.where(sides == 1, known[far] - end + 1, first - known[far])
        sides = channel.alike(sides, np.ones(2), len(far))
        distances = whole_numbers(channel, distances, len(far))
        low[far] = np.where(sides == 1, end - 1 + distances, first - distances)
    return low


def _whole(halves: np.ndarray) -> np.ndarray:
    """Integer weights in the halves' proportion; alike where neither has a mass left."""
    total = halves[:, :1] + halves[:, 1:]
    shares = np.divide(halves, total, out=np.full_like(halves, 0.5), where=total > 0)
    return np.maximum(np.round(shares * 2.0**32), 1.0)
