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
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from narrows.functional.conditionals import Conditional, Walk, outside

_FAR = 12.0  # deviations of a component that the interval reaches out
_DEEPEST = 40  # halvings: more cells than any code uses


@dataclass(frozen=True, eq=False)
class GridMixture:
    """A Gaussian mixture of components m on a grid.

    Attributes:
        weights: of the components, `[M]`.
        means: `[M, dim]`.
        factors: Cholesky factors of the covariances, `[M, dim, dim]`.
        scales: deviation of each dimension given the rounded ones before, `[M, dim]`.
        steps: of the grid, `[dim]`.
    """

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    scales: np.ndarray
    steps: np.ndarray

    def walk(self, rows: int, known: np.ndarray | None) -> Walk[Tensor]:
        """Walks over the grid indices of `rows` codes; returns them, `[rows, dim]` int64."""
        components, dim = self.means.shape
        shares = [np.full(rows, weight) for weight in self.weights]
        whitened: list[list[np.ndarray]] = [[] for _ in range(components)]
        found = np.zeros((rows, dim), np.int64)
        for i in range(dim):
            centres = []
            for m in range(components):
                centre = np.full(rows, self.means[m, i])
                for j, before in enumerate(whitened[m]):
                    centre = centre + self.factors[m, i, j] * before
                centres.append(centre)
            cells = _Cells(shares, centres, self.scales[:, i], self.steps[i])
            first, depth = self._interval(i)
            index = None if known is None else known[:, i]
            found[:, i] = yield from _bisect(cells, rows, index, first, depth)
            for m in range(components):
                offset = found[:, i] * self.steps[i] - centres[m]
                whitened[m].append(offset / self.factors[m, i, i])
            shares = cells.updated(found[:, i])
        return torch.from_numpy(found)

    def _interval(self, i: int) -> tuple[int, int]:
        """First cell and number of halvings of an interval that holds nearly all codes."""
        reach = _FAR * np.sqrt((self.factors[:, i] ** 2).sum(1))
        low = math.floor(float((self.means[:, i] - reach).min()) / self.steps[i])
        high = math.ceil(float((self.means[:, i] + reach).max()) / self.steps[i])
        depth = min(_DEEPEST, max(1, math.ceil(math.log2(high - low + 1))))
        return (low + high) // 2 - 2 ** (depth - 1), depth


@dataclass(frozen=True, eq=False)
class _Cells:
    """Masses of runs of grid cells in one dimension, given the dimensions before."""

    shares: list[np.ndarray]
    centres: list[np.ndarray]
    scales: np.ndarray
    step: float

    def halves(self, low: np.ndarray, size: int) -> Tensor:
        """Integer weights `[rows, 2]` of `size` cells from `low` on and of as many after them.

        Alike where neither half has a mass left.
        """
        both = np.stack([self._mass(low, low + size), self._mass(low + size, low + 2 * size)], 1)
        total = both[:, :1] + both[:, 1:]
        shares = np.divide(both, total, out=np.full_like(both, 0.5), where=total > 0)
        return torch.from_numpy(np.maximum(np.round(shares * 2.0**32), 1.0))

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

    def _mass(self, first: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Mass of the cells first, ..., after - 1, in each row."""
        total = np.zeros(len(first))
        for m, share in enumerate(self.shares):
            total = total + share * self._of(m, first, after)
        return total

    def _of(self, m: int, first: np.ndarray, after: np.ndarray) -> np.ndarray:
        low, high = (
            ((edge - 0.5) * self.step - self.centres[m]) / self.scales[m] for edge in (first, after)
        )
        flip = low + high > 0  # the lower tail, where Phi is small and exact
        return ndtr(np.where(flip, -low, high)) - ndtr(np.where(flip, -high, low))


def _bisect(
    cells: _Cells, rows: int, known: np.ndarray | None, first: int, depth: int
) -> Walk[np.ndarray]:
    """Walks over one index a row."""
    end = first + 2**depth
    escapes = inside = None
    if known is not None:
        escapes = torch.from_numpy(((known < first) | (known >= end)).astype(np.int64))
        inside = known.clip(first, end - 1)
    escapes = yield Conditional(torch.tensor([2.0**24, 1.0]), rows, escapes)
    low = np.full(rows, first, np.int64)
    for level in reversed(range(depth)):
        upper = None
        if inside is not None:
            upper = torch.from_numpy((inside >= low + 2**level).astype(np.int64))
        upper = yield Conditional(cells.halves(low, 2**level), rows, upper)
        low = low + upper.numpy() * 2**level
    far = np.flatnonzero(escapes.numpy())
    if len(far):
        beyond = None if known is None else torch.from_numpy(known[far])
        low[far] = (yield from outside(first, end, len(far), beyond)).numpy()
    return low
