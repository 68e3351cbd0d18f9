"""Random codes on a regular grid, put on and taken off a stack under their distributions.

A stack that holds random bits is a source of draws: reading a symbol under q makes a draw from q
and takes -log2 q bits off the stack; writing it under q puts these bits back.

We use a grid of width 2^-6, which needs no inverse distribution function, and cut a posterior off
far from its centre: a coder gives every cell at least 2^-24, and a draw from a cell 100 deviations
away, rare as it is, would cost thousands of bits of pixels. A cut q is just another q.
"""

from collections.abc import Callable, Iterator
from functools import singledispatch
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue] (compiled)
from scipy.special import stdtr
from torch import Tensor
from torch.distributions import Cauchy, Distribution, Laplace, Normal

from narrows.codec.container import CodecError
from narrows.distributions import StudentT
from narrows.priors.spike_and_slab import SpikeSlab

GRID = 2.0**-6
_REACH = 1 << 11  # grid cells on either side of 0: |z| < 32
_CATEGORICAL = stream.model.Categorical(perfect=False)
_PRIORS = {
    Normal: stream.model.QuantizedGaussian(-_REACH, _REACH),
    Laplace: stream.model.QuantizedLaplace(-_REACH, _REACH),
    Cauchy: stream.model.QuantizedCauchy(-_REACH, _REACH),
}
_CUT = {Normal: 5.0, Laplace: 12.0, Cauchy: 60.0, StudentT: 60.0}
"""Scales from the centre at which q is cut off."""

Stack: TypeAlias = Any
"""A `constriction.stream.stack.AnsCoder`, whose package has no types."""


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


@singledispatch
def pop_posterior(q: Distribution, stack: Stack) -> Draw:
    """Makes a draw from q with the bits on the stack.

    Raises:
        TypeError: if this family has no place on the grid.
    """
    del stack
    raise TypeError(
        "bits-back coding knows normal, Laplace, Cauchy, Student and spike-and-slab latents, not "
        f"{type(q).__name__}; use Codec(model, prior=QuantizedHistogram(...)) for its means"
    )


@singledispatch
def push_posterior(q: Distribution, stack: Stack, draw: Draw) -> None:
    """Undoes `pop_posterior`.

    Raises:
        CodecError: if q gives the draw no probability.
    """
    del draw
    pop_posterior(q, stack)  # says what it knows


@singledispatch
def pop_prior(p: Distribution, stack: Stack) -> Draw:
    """Reads a code under p."""
    del stack
    raise TypeError(f"no code on the grid is read under {type(p).__name__}")


@singledispatch
def push_prior(p: Distribution, stack: Stack, draw: Draw) -> None:
    """Writes a code under p."""
    del stack, draw
    raise TypeError(f"no code on the grid is written under {type(p).__name__}")


@pop_posterior.register(Normal)
@pop_posterior.register(Laplace)
@pop_posterior.register(Cauchy)
@pop_posterior.register(StudentT)
def _(q: Any, stack: Stack) -> Draw:
    cells = np.zeros(q.loc.numel(), np.int64)
    for chosen, first, weights in _windows(q):
        cells[chosen] = first + stack.decode(_CATEGORICAL, weights)
    return Draw(cells)


@push_posterior.register(Normal)
@push_posterior.register(Laplace)
@push_posterior.register(Cauchy)
@push_posterior.register(StudentT)
def _(q: Any, stack: Stack, draw: Draw) -> None:
    for chosen, first, weights in reversed([*_windows(q)]):
        place = draw.cells[chosen] - first
        if ((place < 0) | (place >= weights.shape[1])).any():
            raise CodecError(
                "a draw lies where its posterior gives none: damaged, or another build"
            )
        stack.encode_reverse(place.astype(np.int32), _CATEGORICAL, weights)


@pop_prior.register(Normal)
@pop_prior.register(Laplace)
@pop_prior.register(Cauchy)
def _(p: Any, stack: Stack) -> Draw:
    return Draw(stack.decode(_PRIORS[type(p)], *_in_cells(p)).astype(np.int64))


@push_prior.register(Normal)
@push_prior.register(Laplace)
@push_prior.register(Cauchy)
def _(p: Any, stack: Stack, draw: Draw) -> None:
    cells = draw.cells.clip(-_REACH, _REACH).astype(np.int32)
    stack.encode_reverse(cells, _PRIORS[type(p)], *_in_cells(p))


@pop_prior.register
def _(p: StudentT, stack: Stack) -> Draw:
    return Draw(stack.decode(_student(p), p.loc.numel()).astype(np.int64) - _REACH)


@push_prior.register
def _(p: StudentT, stack: Stack, draw: Draw) -> None:
    place = draw.cells.clip(-_REACH, _REACH) + _REACH
    stack.encode_reverse(place.astype(np.int32), _student(p))


@pop_posterior.register
def _(q: SpikeSlab, stack: Stack) -> Draw:
    return _pop_gated(q, stack, pop_posterior)


@push_posterior.register
def _(q: SpikeSlab, stack: Stack, draw: Draw) -> None:
    _push_gated(q, stack, draw, push_posterior)


@pop_prior.register
def _(p: SpikeSlab, stack: Stack) -> Draw:
    return _pop_gated(p, stack, pop_prior)


@push_prior.register
def _(p: SpikeSlab, stack: Stack, draw: Draw) -> None:
    _push_gated(p, stack, draw, push_prior)


def _pop_gated(d: SpikeSlab, stack: Stack, pop: Callable[[Normal, Stack], Draw]) -> Draw:
    """The gates, then the normals of those that are open."""
    gates = stack.decode(_CATEGORICAL, _gate_weights(d)).astype(bool)
    return _opened(gates, pop(_slab(d, gates), stack))


def _push_gated(
    d: SpikeSlab, stack: Stack, draw: Draw, push: Callable[[Normal, Stack, Draw], None]
) -> None:
    """Undoes `_pop_gated`."""
    assert draw.gates is not None
    push(_slab(d, draw.gates), stack, Draw(draw.cells[draw.gates]))
    stack.encode_reverse(draw.gates.astype(np.int32), _CATEGORICAL, _gate_weights(d))


def _opened(gates: np.ndarray, slab: Draw) -> Draw:
    cells = np.zeros(len(gates), np.int64)
    cells[gates] = slab.cells
    return Draw(cells, gates)


def _slab(distribution: SpikeSlab, gates: np.ndarray) -> Normal:
    """The normals of the open gates."""
    loc, scale = (
        torch.from_numpy(_flat(part)[gates]) for part in (distribution.loc, distribution.scale)
    )
    return Normal(loc, scale, validate_args=False)


def _gate_weights(distribution: SpikeSlab) -> np.ndarray:
    """Integer weights of shut and open, `[m, 2]`."""
    opened = np.round(_flat(distribution.logits.double().sigmoid()) * 2**32)
    return np.stack([2**32 - opened, opened], axis=1).clip(1.0)


def _in_cells(p: Any) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale in cells."""
    return _flat(p.loc) / GRID, _flat(p.scale) / GRID


def _student(p: StudentT) -> Any:
    """One table for all dimensions, which are alike under a prior; the ends take the tails."""
    scale = float(p.scale.flatten()[0]) if p.scale.numel() else 1.0
    below = stdtr(p.df, (np.arange(-_REACH, _REACH) + 0.5) * GRID / scale)
    mass = np.diff(below, prepend=0.0, append=1.0)
    return stream.model.Categorical(np.maximum(np.round(mass * 2**32), 1.0), perfect=False)


def _windows(q: Any) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Dimensions of like width: which, the first cell of each, masses `[m, cells]`.

    Windows are powers of two wide, so that few calls of the coder serve all dimensions.
    """
    location, scale = _flat(q.loc), _flat(q.scale)
    sizes = 2 ** np.ceil(np.log2(2 * _CUT[type(q)] * scale / GRID)).clip(3, 11).astype(np.int64)
    half = sizes // 2
    centre = np.round(location / GRID).clip(half - _REACH, _REACH - half)
    for size in np.unique(sizes):
        chosen = np.flatnonzero(sizes == size)
        first = centre[chosen].astype(np.int64) - size // 2
        edges = (first[:, None] + np.arange(size + 1) - 0.5) * GRID
        below = _cdf(q, location[chosen, None], scale[chosen, None], edges)
        yield chosen, first, np.maximum(np.round(np.diff(below, axis=1) * 2**32), 1.0)


def _cdf(q: Any, location: np.ndarray, scale: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The distribution function of q's family."""
    if isinstance(q, StudentT):
        return stdtr(q.df, (x - location) / scale)
    own = type(q)(torch.from_numpy(location), torch.from_numpy(scale), validate_args=False)
    return own.cdf(torch.from_numpy(x)).numpy()


def _flat(part: Tensor) -> np.ndarray:
    return part.detach().cpu().double().flatten().numpy()
