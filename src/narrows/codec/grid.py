"""Random codes on a grid, walked over under their distributions.

A stack that holds random bits is a source of draws: reading a symbol under q makes a draw from q
and takes -log2 q bits off the stack; writing it under q puts these bits back.

The grid is relative to the prior, whose scale is 1 here: cells are 2^-depth wide, and a group of
images has the depth that its narrowest posterior needs. Under the prior a code is a coarse cell of
width 2^-5 and then, all alike, a fine cell in it. Each of the coarse cells within 64 scales has at
least 2^-24, and those beyond decay as 1 / d^2. A posterior has blocks of 1/32 to 1/16 of its
scale, and all fine cells of a block alike. It is cut off far from its centre, as a draw from there,
rare as it is, would cost thousands of bits of pixels: a cut q is just another q. In place of the
posterior itself stands one with its centre at an edge of blocks and its scale a power of 2^(1/64),
at most 64, so that whole numbers say all about it.

So a dimension costs at most KL(q || p) and 0.006 bits, whatever the width of q. It costs less where
p all but rules a code out, beyond 5 scales of a normal law. A q narrower than a coarse cell costs
up to |d log p / dz| / 64 nats more or less, which averages out.
"""

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast

import numpy as np
import torch
from scipy.special import ndtr, stdtr
from torch import Tensor
from torch.distributions import Cauchy, Distribution, Laplace, Normal

from narrows.codec.container import CodecError
from narrows.codec.rounding import Rounding
from narrows.distributions import SpikeSlab, StudentT
from narrows.functional.conditionals import Walk, from_arrays, within

COARSE = 5
"""Coarse cells are 2^-5 of the prior's scale wide."""
_CELLS = 1 << 12  # coarse cells that have a probability of their own; the others take an escape
_TAIL = 11  # an escape is for cells from 2^11 on, whose distance decays as a Cauchy law does there
_BLOCKS = 4  # blocks are 2^-4 of the posterior's octave wide
_STEPS = 64  # scales that are told apart in an octave
_OCTAVES = (-32, 6)  # from 2^-32 to 64 scales of the prior
DEEPEST = _BLOCKS - _OCTAVES[0]
_FARTHEST = 2.0**16  # scales of the prior from its location
_DIGITS = 12  # fine cells are coded in so many bits at a time
_CUT = {Normal: 5.0, Laplace: 12.0, Cauchy: 240.0, StudentT: 60.0}
"""Scales from the centre at which q is cut off: a Cauchy law loses 0.3 %, others nearly nothing."""

Placed: TypeAlias = Normal | Laplace | Cauchy | StudentT | SpikeSlab
"""Distributions that have a place on the grid."""


def placed(distribution: Distribution | None) -> Placed:
    """The distribution, which must have a place on the grid.

    Raises:
        TypeError: if it has none.
    """
    if not isinstance(distribution, (*_CUT, SpikeSlab)):
        raise TypeError(
            "bits-back coding knows normal, Laplace, Cauchy, Student and spike-and-slab latents, "
            f"not {type(distribution).__name__}; use Codec(model, prior=QuantizedHistogram(...)) "
            "for its means"
        )
    return cast("Placed", distribution)


class Law(NamedTuple):
    """A family at location 0 and scale 1."""

    kind: type[Distribution]
    df: float = 0.0

    @classmethod
    def of(cls, d: Placed) -> "Law":
        """That of a distribution, or of its slab."""
        if isinstance(d, SpikeSlab):
            return cls(Normal)
        return cls(type(d), d.df) if isinstance(d, StudentT) else cls(type(d))

    def masses(self, edges: np.ndarray) -> np.ndarray:
        """Between edges that lie symmetrically about 0, in parts of 2^24, at least one each."""
        below = {
            Normal: ndtr,
            Laplace: lambda x: 0.5 * np.exp(x),
            Cauchy: lambda x: np.arctan2(1.0, -x) / math.pi,
            StudentT: functools.partial(stdtr, self.df),
        }[self.kind](np.minimum(edges, 0))
        half = np.diff(below[: len(edges) // 2 + 1])
        return np.maximum(np.rint(np.append(half, half[::-1]) * 2.0**24), 1.0)


@functools.cache
def coarse(law: Law) -> np.ndarray:
    """Weights of the coarse cells, then of the escapes below and above them."""
    edges = np.arange(-_CELLS // 2, _CELLS // 2 + 1) * 2.0**-COARSE
    inside = law.masses(edges)
    beyond = max(1.0, (2.0**24 - inside.sum()) / 2)
    return np.append(inside, [beyond, beyond])


@functools.cache
def window(law: Law, step: int) -> np.ndarray:
    """Weights of the blocks about the centre of a posterior whose scale is 2^(step / 64)."""
    half = math.ceil(_CUT[law.kind] * 2 ** (_BLOCKS + step / _STEPS))
    return law.masses(np.arange(-half, half + 1) * 2.0 ** -(_BLOCKS + step / _STEPS))


class Draw(NamedTuple):
    """A code on the grid, flat.

    Attributes:
        cells: whole numbers n, for (n + 1/2) 2^-depth; 0 where a gate is shut.
        gates: which values are not exactly 0, for spike-and-slab codes; else None.
    """

    cells: np.ndarray
    gates: np.ndarray | None = None

    def values(self, p: Placed, depth: int) -> Tensor:
        """The code in the prior's shape, float64."""
        standard = torch.from_numpy((self.cells + 0.5) * 2.0**-depth).view(p.loc.shape)
        values = p.loc.double() + p.scale.double() * standard
        if self.gates is None:
            return values
        return values * torch.from_numpy(self.gates).view(p.loc.shape)


@dataclass(frozen=True, eq=False)
class Posterior:
    """q in whole numbers.

    Attributes:
        law: of all dimensions.
        octave: scales lie between 2^octave and twice that, in scales of the prior.
        step: where between them, in 64ths of an octave.
        centre: the number of the block that begins at the location.
        gates: weights of the spike and the slab, `[m, 2]`; None where there is no spike.
    """

    law: Law
    octave: np.ndarray
    step: np.ndarray
    centre: np.ndarray
    gates: np.ndarray | None

    @property
    def depth(self) -> int:
        """How fine a grid it needs."""
        return max(COARSE, _BLOCKS - int(self.octave.min(initial=0)))

    @property
    def bits(self) -> int:
        """About how many bits a draw takes, or more."""
        return int((self.depth + self.octave + 16).sum())


def posterior(q: Placed, moved: Placed, p: Placed, rounding: Rounding) -> Posterior:
    """q relative to the prior p, settled between writer and reader.

    Args:
        q: what the networks gave.
        moved: what they gave for an input moved a little (`rounding.both`).
        p: the prior.
        rounding: notes what is close.
    """
    law = Law.of(q)
    locations = [_flat((d.loc - p.loc) / p.scale) for d in (q, moved)]
    scale, other = (_flat((d.scale / p.scale).log2()) for d in (q, moved))
    low, high = (octave * _STEPS for octave in _OCTAVES)
    level = rounding.settle(scale * _STEPS, other * _STEPS).clip(low, high - 1)
    octave, step = np.divmod(level, _STEPS)
    widths = 2.0 ** (octave - _BLOCKS)
    centre = rounding.settle(*(part.clip(-_FARTHEST, _FARTHEST) / widths for part in locations))
    gates = None
    if isinstance(q, SpikeSlab) and isinstance(moved, SpikeSlab):
        opened = rounding.settle(*(_flat(d.logits.sigmoid()) * 2.0**20 for d in (q, moved)))
        gates = np.stack([2**20 - opened, opened], 1).clip(1)
    return Posterior(law, octave, step, centre, gates)


def draw(q: Posterior, depth: int, known: Draw | None = None) -> Walk[Draw]:
    """Walks over a draw from q.

    Raises:
        CodecError: if q gives the known draw no probability.
    """
    rows, gates = np.arange(len(q.centre)), None
    if q.gates is not None:
        opened = yield from_arrays(q.gates, len(rows), None if known is None else known.gates)
        gates = opened.numpy() > 0
        rows = rows[gates]
    bits = depth + q.octave[rows] - _BLOCKS
    if (bits < 0).any():
        raise CodecError("a grid is coarser than its posterior: damaged, or another model")
    cells = None if known is None else known.cells[rows]
    blocks = np.zeros(len(rows), np.int64)
    for step in np.unique(q.step[rows]):
        weights, some = window(q.law, int(step)), np.flatnonzero(q.step[rows] == step)
        first = q.centre[rows][some] - len(weights) // 2
        place = None if cells is None else (cells[some] >> bits[some]) - first
        if place is not None and ((place < 0) | (place >= len(weights))).any():
            raise CodecError("a draw lies where its posterior gives none: damaged or forged")
        blocks[some] = first + (yield from_arrays(weights, len(some), place)).numpy()
    found = np.zeros(len(q.centre), np.int64)
    found[rows] = yield from _fine(blocks, bits, cells)
    return Draw(found, gates)


def prior(p: Placed, depth: int, known: Draw | None = None) -> Walk[Draw]:
    """Walks over a code under p, which is alike in all dimensions but for location and scale."""
    rows, gates, count = np.arange(p.loc.numel()), None, p.loc.numel()
    if isinstance(p, SpikeSlab):
        opened = np.rint(_flat(p.logits.double().sigmoid()) * 2.0**20)
        weights = np.stack([2**20 - opened, opened], 1).clip(1)
        opened = yield from_arrays(weights, count, None if known is None else known.gates)
        gates = opened.numpy() > 0
        rows = rows[gates]
    cells = None if known is None else known.cells[rows]
    bits, weights = np.full(len(rows), depth - COARSE), torch.from_numpy(coarse(Law.of(p)))
    place = None if cells is None else torch.from_numpy((cells >> bits) + _CELLS // 2)
    coded = yield from within(weights, len(rows), place, digits=_TAIL)
    blocks = coded.numpy() - _CELLS // 2
    found = np.zeros(count, np.int64)
    found[rows] = yield from _fine(blocks, bits, cells)
    return Draw(found, gates)


def _fine(blocks: np.ndarray, bits: np.ndarray, known: np.ndarray | None) -> Walk[np.ndarray]:
    """Walks over the fine cells of blocks, 2^bits each; returns the cells."""
    found, left = blocks.copy(), bits.copy()
    while left.any():
        taken = np.minimum(left, _DIGITS)
        for size in np.unique(taken[taken > 0]):
            rows = np.flatnonzero(taken == size)
            left[rows] -= size
            digits = None if known is None else (known[rows] >> left[rows]) & (2**size - 1)
            found[rows] <<= size
            found[rows] |= (yield from_arrays(np.ones(2**size), len(rows), digits)).numpy()
    return found


def _flat(part: Tensor) -> np.ndarray:
    return part.detach().cpu().double().flatten().numpy()
