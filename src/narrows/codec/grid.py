"""Random codes on a regular grid, walked over under their distributions.

A stack that holds random bits is a source of draws: reading a symbol under q makes a draw from q
and takes -log2 q bits off the stack; writing it under q puts these bits back.

We use a grid of width 2^-6, which needs no inverse distribution function, and cut a posterior off
far from its centre: a coder gives every cell at least 2^-24, and a draw from a cell 100 deviations
away, rare as it is, would cost thousands of bits of pixels. A cut q is just another q.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias, cast

import numpy as np
import torch
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue] (compiled)
from scipy.special import stdtr
from torch import Tensor
from torch.distributions import Cauchy, Distribution, Laplace, Normal

from narrows.codec.container import CodecError
from narrows.codec.entropy import GridWalk, Located
from narrows.distributions import SpikeSlab, StudentT
from narrows.functional.conditionals import from_arrays

GRID = 2.0**-6
_REACH = 1 << 11  # grid cells on either side of 0: |z| < 32
_MODELS = {
    Normal: stream.model.QuantizedGaussian(-_REACH, _REACH),
    Laplace: stream.model.QuantizedLaplace(-_REACH, _REACH),
    Cauchy: stream.model.QuantizedCauchy(-_REACH, _REACH),
}
_CUT = {Normal: 5.0, Laplace: 12.0, Cauchy: 60.0, StudentT: 60.0}
"""Scales from the centre at which q is cut off."""


class Draw(NamedTuple):
    """A code on the grid, flat.

    Attributes:
        cells: grid indices, int64; 0 where a gate is shut.
        gates: which values are not exactly 0, for spike-and-slab codes; else None. An open gate
            may stand over cell 0, so the cells alone do not tell.
    """

    cells: np.ndarray
    gates: np.ndarray | None = None

    def values(self, like: Tensor) -> Tensor:
        """The code in the shape and kind of `like`."""
        return torch.from_numpy(self.cells * GRID).to(like).view(like.shape)


Placed: TypeAlias = Normal | Laplace | Cauchy | StudentT
"""Distributions of one number that have a place on the grid."""


def placed(distribution: Distribution | None) -> Placed | SpikeSlab:
    """The distribution, which must have a place on the grid.

    Raises:
        TypeError: if it has none.
    """
    if type(distribution) not in (*_CUT, SpikeSlab):
        raise TypeError(
            "bits-back coding knows normal, Laplace, Cauchy, Student and spike-and-slab latents, "
            f"not {type(distribution).__name__}; use Codec(model, prior=QuantizedHistogram(...)) "
            "for its means"
        )
    return cast("Placed | SpikeSlab", distribution)


def rows(q: Placed | SpikeSlab, n: int) -> Placed | SpikeSlab:
    """The distribution of the first n examples."""
    if isinstance(q, SpikeSlab):
        return SpikeSlab(q.logits[:n], q.loc[:n], scale=q.scale[:n])
    return _at(q, q.loc[:n], q.scale[:n])


def posterior(q: Placed | SpikeSlab, known: Draw | None = None) -> GridWalk[Draw]:
    """Walks over a draw from q, cut off far from its centre.

    Raises:
        CodecError: if q gives the known draw no probability.
    """
    if isinstance(q, SpikeSlab):
        return (yield from _gated(q, known, posterior))
    location, scale = flat(q.loc), flat(q.scale)
    cells = np.zeros(len(location), np.int64)
    for chosen, first, weights in _windows(q, location, scale):
        place = None if known is None else known.cells[chosen] - first
        if place is not None and ((place < 0) | (place >= weights.shape[1])).any():
            raise CodecError(
                "a draw lies where its posterior gives none: damaged, or another build"
            )
        cells[chosen] = first + (yield from_arrays(weights, len(chosen), place)).numpy()
    return Draw(cells)


def prior(p: Placed | SpikeSlab, known: Draw | None = None) -> GridWalk[Draw]:
    """Walks over a code under p, whose outermost cells take the tails."""
    if isinstance(p, SpikeSlab):
        return (yield from _gated(p, known, prior))
    location, scale = flat(p.loc), flat(p.scale)
    cells = None if known is None else known.cells.clip(-_REACH, _REACH)
    if not isinstance(p, StudentT):
        symbols = None if cells is None else torch.from_numpy(cells)
        model = _MODELS[type(p)]
        found = yield Located(model, location / GRID, scale / GRID, symbols)
        return Draw(found.numpy())
    # One table for all dimensions, which are alike under a prior.
    below = stdtr(p.df, (np.arange(-_REACH, _REACH) + 0.5) * GRID / scale[0])
    weights = np.maximum(np.round(np.diff(below, prepend=0.0, append=1.0) * 2**32), 1.0)
    found = yield from_arrays(weights, len(location), None if cells is None else cells + _REACH)
    return Draw(found.numpy() - _REACH)


def flat(part: Tensor) -> np.ndarray:
    """Its numbers in double precision."""
    return part.detach().cpu().double().flatten().numpy()


def _gated(
    d: SpikeSlab, known: Draw | None, inner: Callable[[Normal, Draw | None], GridWalk[Draw]]
) -> GridWalk[Draw]:
    """Walks over the gates, then over the normals of those that are open."""
    opened = np.round(flat(d.logits.double().sigmoid()) * 2**32)
    weights = np.stack([2**32 - opened, opened], axis=1).clip(1.0)
    gates = yield from_arrays(weights, len(opened), None if known is None else known.gates)
    gates = gates.numpy() > 0
    parts = (torch.from_numpy(flat(part)[gates]) for part in (d.loc, d.scale))
    slab = Normal(*parts, validate_args=False)
    cells = np.zeros(len(gates), np.int64)
    cells[gates] = (yield from inner(slab, known and Draw(known.cells[gates]))).cells
    return Draw(cells, gates)


def _windows(
    q: Placed, location: np.ndarray, scale: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Dimensions of like width: which, the first cell of each, masses `[m, cells]`.

    Windows are powers of two wide, so that few calls of the coder serve all dimensions.
    """
    sizes = 2 ** np.ceil(np.log2(2 * _CUT[type(q)] * scale / GRID)).clip(3, 11).astype(np.int64)
    half = sizes // 2
    centre = np.round(location / GRID).clip(half - _REACH, _REACH - half)
    for size in np.unique(sizes):
        chosen = np.flatnonzero(sizes == size)
        first = centre[chosen].astype(np.int64) - size // 2
        edges = (first[:, None] + np.arange(size + 1) - 0.5) * GRID
        below = _cdf(q, location[chosen, None], scale[chosen, None], edges)
        yield chosen, first, np.maximum(np.round(np.diff(below, axis=1) * 2**32), 1.0)


def _cdf(q: Placed, location: np.ndarray, scale: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The distribution function of q's family."""
    if isinstance(q, StudentT):
        return stdtr(q.df, (x - location) / scale)
    own = _at(q, torch.from_numpy(location), torch.from_numpy(scale))
    return own.cdf(torch.from_numpy(x)).numpy()


def _at(q: Placed, location: Tensor, scale: Tensor) -> Placed:
    """A member of q's family."""
    if isinstance(q, StudentT):
        return StudentT(q.df, location, scale=scale)
    return type(q)(location, scale, validate_args=False)
