r"""Cells of a grid under a Gaussian mixture, found by bisection.

The prior's probability of a grid point is a product of conditionals,

.. math:: p(k_i | k_{<i}) = \sum_m r_m(k_{<i}) \left[
    \Phi\!\left(\tfrac{z_i + \Delta_i/2 - c_{mi}}{s_{mi}}\right) -
    \Phi\!\left(\tfrac{z_i - \Delta_i/2 - c_{mi}}{s_{mi}}\right)\right],

r_m being the share of component m after the dimensions before. Each k_i is found by halving an
interval of the grid: a binary symbol a level, with the two halves' masses. That needs a few values
of Phi where a table over the whole grid would need one a cell. What lies outside the interval takes
an escape and a distance.

Sums run over components one by one, and every function works on one number at a time, so a code
has the same probabilities whatever else is in the batch.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import ndtr

from narrows.functional.conditionals import Walk, distances, from_arrays

_FAR = 12.0  # deviations of a component that the interval reaches out
_DEEPEST = 40  # halvings: more cells than any code uses


@dataclass(frozen=True, eq=False)
class Cells:
    """Grid cells in one dimension of `rows` codes, given the dimensions before.

    Attributes:
        shares: r_m, one array `[rows]` for each component.
        centres: c_m, one array `[rows]` for each component.
        scales: s_m, `[M]`.
        step: width of a cell.
    """

    shares: list[np.ndarray]
    centres: list[np.ndarray]
    scales: np.ndarray
    step: float

    def walk(self, first: int, depth: int, known: np.ndarray | None) -> Walk[np.ndarray]:
        """Walks over one index a row, in an interval of 2^depth cells or outside it."""
        end = first + 2**depth
        sides = None if known is None else 1 - (known < first) + (known >= end)
        sides = (yield from_arrays([1.0, 2.0**25, 1.0], len(self.centres[0]), sides)).numpy()
        inside, far = np.flatnonzero(sides == 1), np.flatnonzero(sides != 1)
        near = replace(
            self,
            shares=[part[inside] for part in self.shares],
            centres=[part[inside] for part in self.centres],
        )
        low = np.full(len(inside), first, np.int64)
        for level in reversed(range(depth)):
            upper = None if known is None else known[inside] >= low + 2**level
            upper = yield from_arrays(near._halves(low, 2**level), len(inside), upper)
            low = low + upper.numpy() * 2**level
        found = np.full(len(sides), first, np.int64)
        found[inside] = low
        if len(far):
            beyond = None if known is None else np.maximum(first - known, known - end + 1)[far]
            away = yield from distances(
                len(far), None if beyond is None else torch.from_numpy(beyond)
            )
            found[far] = np.where(sides[far] == 0, first - away.numpy(), end - 1 + away.numpy())
        return found

    def updated(self, index: np.ndarray) -> list[np.ndarray]:
        """The components' shares after the index is known."""
        joint = self._masses(index, index + 1)
        total = sum(joint)
        lost = total < 1e-250  # so far out that nothing is left to tell components apart
        safe = np.where(lost, 1.0, total)
        pairs = zip(self.shares, joint, strict=True)
        return [np.where(lost, share, part / safe) for share, part in pairs]

    def _halves(self, low: np.ndarray, size: int) -> np.ndarray:
        """Integer weights `[rows, 2]` of `size` cells from `low` on, and of as many after these.

        They are alike where neither half has a mass left.
        """
        ends = (low, low + size, low + 2 * size)
        both = np.stack([sum(self._masses(*ends[:2])), sum(self._masses(*ends[1:]))], axis=1)
        total = both[:, :1] + both[:, 1:]
        shares = np.divide(both, total, out=np.full_like(both, 0.5), where=total > 0)
        return np.maximum(np.round(shares * 2.0**32), 1.0)

    def _masses(self, first: np.ndarray, after: np.ndarray) -> list[np.ndarray]:
        """Each component's mass of the cells first, ..., after - 1, times its share."""
        found = []
        for share, centre, scale in zip(self.shares, self.centres, self.scales, strict=True):
            low, high = (((edge - 0.5) * self.step - centre) / scale for edge in (first, after))
            flip = low + high > 0  # the lower tail, where Phi is small and exact
            upper = ndtr(np.where(flip, -low, high))
            found.append(share * (upper - ndtr(np.where(flip, -high, low))))
        return found


def interval(means: np.ndarray, deviations: np.ndarray, step: float) -> tuple[int, int]:
    """First cell and number of halvings of an interval that holds nearly all codes.

    Args:
        means: of the components, `[M]`.
        deviations: of the components, `[M]`.
        step: width of a cell.
    """
    low = math.floor(float((means - _FAR * deviations).min()) / step)
    high = math.ceil(float((means + _FAR * deviations).max()) / step)
    depth = min(_DEEPEST, max(1, math.ceil(math.log2(high - low + 1))))
    return (low + high) // 2 - 2 ** (depth - 1), depth
