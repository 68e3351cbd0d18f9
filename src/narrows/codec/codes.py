"""Codes to symbols, prior by prior: each function writes with a writer and reads with a reader."""

import math
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor

from narrows.codec.entropy import Channel, whole_numbers
from narrows.codec.mixture import transfer_mixture
from narrows.codes import Code, one_tensor, parts_of, tensors
from narrows.functional.fixed_point import masses
from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior, UniformCategorical
from narrows.priors.gaussian_mixture import GaussianMixture
from narrows.priors.joint import JointPrior
from narrows.priors.quantized import QuantizedHistogram
from narrows.priors.sparse_factorial import SparseFactorial
from narrows.priors.spike_and_slab import SpikeAndSlabPrior
from narrows.priors.walk import Walked, follow
from narrows.sparse.solution import canonical

_GEOMETRIC = 64  # symbols of a geometric before it starts again; exact, as it has no memory


@singledispatch
def transfer(prior: Prior, channel: Channel, n: int, code: Code | None) -> Code:
    """Writes n codes, or reads them where `code` is None; returns them.

    Args:
        prior: whose probabilities are used.
        channel: either end of the stream.
        n: number of codes.
        code: what to write; quantised by the prior.

    Raises:
        TypeError: if nobody has said how codes of this prior are written.
    """
    del channel, n, code
    raise TypeError(
        f"there is no way to write codes under {type(prior).__name__}: pass Codec(model, prior=...)"
        " one of CategoricalPrior, PixelCNN, AutoregressiveTransformer, QuantizedHistogram (for "
        "the means of variational codes too), GaussianMixture, SparseFactorial, SparseMixture, "
        "SparseAutoregressive; or lossless=True for a variational model (bits-back)"
    )


@transfer.register
def _spike_and_slab(prior: SpikeAndSlabPrior, channel: Channel, n: int, code: Code | None) -> Code:
    """Refused: it prices random codes, which only bits-back attains."""
    del prior, channel, n, code
    raise TypeError(
        "SpikeAndSlabPrior prices random codes, and a file of codes holds one code for certain: "
        "pass Codec(model, prior=QuantizedHistogram(sites, dim, exact_zeros=True)) fitted to "
        "training latents, which keeps exact zeros; or lossless=True (bits-back)"
    )


@transfer.register
def _walk(prior: Walked, channel: Channel, n: int, code: Code | None) -> Code:
    """Priors that walk over their symbols find exactly the same weights at both ends."""

    def choose(logits: Tensor, known: Tensor | None) -> Tensor:
        symbols = None if known is None else known.cpu().numpy()
        found = channel.each(symbols, masses(logits).cpu().numpy())
        return torch.from_numpy(np.ascontiguousarray(found)).to(logits.device)

    return follow(prior.walk(n, code), choose)


@transfer.register
def _categorical(prior: CategoricalPrior, channel: Channel, n: int, code: Code | None) -> Code:
    """Independent indices, one table for each group."""
    channels, each = prior.counts.shape[0], n * math.prod(prior.sites)
    weights = (2 * prior.counts + 1).cpu().numpy()  # integers: (n_k + 1/2) / (n + K/2)
    flat = None if code is None else _numpy(code).reshape(each, channels)
    columns = [
        channel.alike(None if flat is None else flat[:, g], weights[g], each)
        for g in range(channels)
    ]
    return torch.from_numpy(np.stack(columns, axis=1)).view(n, *prior.codes.shape(prior.sites))


@transfer.register
def _uniform(prior: UniformCategorical, channel: Channel, n: int, code: Code | None) -> Code:
    """log2 K bits for each variable."""
    shape = (n, *prior.codes.shape(prior.sites))
    flat = None if code is None else _numpy(code).reshape(-1)
    found = channel.alike(flat, np.ones(prior.size), math.prod(shape))
    return torch.from_numpy(found).view(shape)


@transfer.register
def _joint(prior: JointPrior, channel: Channel, n: int, code: Code | None) -> Code:
    """Part after part."""
    count = len(prior.parts)
    parts = [None] * count if code is None else parts_of(code, count)
    pairs = zip(prior.parts, parts, strict=True)
    return tuple(transfer(own, channel, n, part) for own, part in pairs)


@transfer.register
def _quantized(prior: QuantizedHistogram, channel: Channel, n: int, code: Code | None) -> Code:
    """Grid indices feature by feature; the last symbol escapes to a distance beyond the bins."""
    if not prior.steps.numel():
        raise ValueError("QuantizedHistogram: fit it to training latents before coding")
    inside = prior.log_bins.exp().cpu().numpy()
    escape = prior.log_escape.exp().cpu().numpy()
    weights = np.maximum(np.round(np.column_stack([inside, escape]) * 2**32), 1)
    lows = prior.lows.cpu().numpy().astype(np.int64)
    index = None
    if code is not None:
        vectors = _float(code).reshape(-1, prior.dim).to(prior.steps.device)
        index = _numpy(prior._index(vectors)).astype(np.int64)
    rows = n * math.prod(prior.sites)
    out = np.stack(
        [
            lows[j]
            + _binned(channel, None if index is None else index[:, j] - lows[j], weights[j], rows)
            for j in range(prior.dim)
        ],
        axis=1,
    )
    steps, centers = prior.steps.cpu(), prior.centers.cpu()
    back = torch.from_numpy(out).double() * steps + centers
    return back.to(torch.get_default_dtype()).view(n, *prior.sites, prior.dim)


@transfer.register
def _mixture(prior: GaussianMixture, channel: Channel, n: int, code: Code | None) -> Code:
    """Grid indices, each dimension given those before it."""
    if not prior.rounds:
        reason = "it was fitted to random codes" if prior.fitted else "it is not fitted"
        raise TypeError(
            f"GaussianMixture has no grid to round codes to: {reason}; fit it to deterministic "
            "codes, or use QuantizedHistogram for the means of random ones"
        )
    steps, index = prior.steps.cpu(), None
    if code is not None:
        index = (_float(code).reshape(-1, prior.dim).double() / steps).round().long().numpy()
    found = transfer_mixture(prior, channel, n * math.prod(prior.sites), index)
    back = torch.from_numpy(found).double() * steps
    return back.to(torch.get_default_dtype()).view(n, *prior.sites, prior.dim)


def _binned(
    channel: Channel, place: np.ndarray | None, weights: np.ndarray, rows: int
) -> np.ndarray:
    """Places 0..bins-1 by table, others by side and distance."""
    bins = len(weights) - 1
    symbols = None
    if place is not None:
        symbols = np.where((place >= 0) & (place < bins), place, bins)
    symbols = channel.alike(symbols, weights, rows)
    out = symbols.copy()
    far = np.flatnonzero(symbols == bins)
    if len(far):
        sides = distances = None
        if place is not None:
            sides = (place[far] >= bins).astype(np.int64)
            distances = np.where(sides == 1, place[far] - bins + 1, -place[far])
        sides = channel.alike(sides, np.ones(2), len(far))
        distances = whole_numbers(channel, distances, len(far))
        out[far] = np.where(sides == 1, bins - 1 + distances, -distances)
    return out


@transfer.register
def _sparse_factorial(prior: SparseFactorial, channel: Channel, n: int, code: Code | None) -> Code:
    """Support atom by atom, then signs, then magnitudes."""
    rows = n * math.prod(prior.sites)
    levels = np.zeros((rows, prior.size), np.int64)
    if code is not None:
        atoms, values = (_numpy(part).reshape(rows, -1) for part in tensors(code))
        q = np.round(values.astype(np.float64) / prior.step).astype(np.int64)
        np.add.at(levels, (np.arange(rows)[:, None], atoms), q)
    activation = prior.activation.double().cpu().numpy()
    ratio = prior.ratio.double().cpu().numpy()
    for j in range(prior.size):
        known = levels[:, j] if channel.writing else None
        levels[:, j] = _atom(channel, known, activation[j], ratio[j], rows)
    width = max(1, int((levels != 0).sum(1).max(initial=0)))
    # A stable sort puts active atoms first, ascending.
    atoms = torch.from_numpy(np.argsort(levels == 0, axis=1, kind="stable")[:, :width])
    values = torch.from_numpy(np.take_along_axis(levels, atoms.numpy(), 1))
    shape = (n, *prior.sites, width)
    steps = values.to(torch.get_default_dtype()) * prior.step
    return canonical(atoms.reshape(shape), steps.reshape(shape))


def _atom(
    channel: Channel, q: np.ndarray | None, activation: float, ratio: float, rows: int
) -> np.ndarray:
    active = channel.alike(
        None if q is None else (q != 0).astype(np.int64),
        np.array([1 - activation, activation]),
        rows,
    )
    place = np.flatnonzero(active)
    signs = channel.alike(None if q is None else (q[place] > 0), np.ones(2), len(place))
    rest = None if q is None else np.abs(q[place]) - 1
    magnitude = np.ones(len(place), np.int64)
    table = np.append((1 - ratio) * ratio ** np.arange(_GEOMETRIC), ratio**_GEOMETRIC)
    left = np.arange(len(place))
    while len(left):
        known = None if rest is None else np.minimum(rest[left], _GEOMETRIC)
        symbols = channel.alike(known, table, len(left))
        magnitude[left] += symbols
        if rest is not None:
            rest[left] -= symbols
        left = left[symbols == _GEOMETRIC]
    out = np.zeros(rows, np.int64)
    out[place] = np.where(signs > 0, magnitude, -magnitude)
    return out


def _float(code: Code) -> Tensor:
    return one_tensor(code).cpu()


def _numpy(code: Code) -> np.ndarray:
    return one_tensor(code).detach().cpu().numpy()
