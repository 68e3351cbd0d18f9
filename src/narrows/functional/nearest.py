"""The nearest of K codes, exactly, without ever holding all N x K distances."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.kernels.compile import function, parts
from narrows.modes import without_autocast

_BUFFER = 1 << 21  # scores held at a time by the torch version: 8 MB in float32
_PAIRS = 1 << 16  # differences of a row and a code taken at a time


def nearest(features: Tensor, codebook: Tensor) -> Tensor:
    """Index of the code nearest to each feature vector; the lowest one on ties.

    argmin_k ||x - c_k||^2 = argmax_k (x - m) . (c_k - m) - ||c_k - m||^2 / 2,

    where m is the middle of the codes. Taking m off both sides matters: a common offset of 300
    with unit spread costs the expanded distance a fifth of its answers in float32. Scores within
    their rounding error of the best are compared again by x - c_k itself, in double precision.

    Computed for numbers of float32, or of float64 where both are float64, under any autocast.

    Args:
        features: `[..., dim]`, floating point; no gradient flows.
        codebook: `[size, dim]`.

    Returns:
        int64 indices `[...]`.

    Raises:
        ValueError: if the widths differ, there is no code, or a number is not finite.

    Example:
        >>> nearest(torch.tensor([[0.9, 0.1], [5.0, 5.0]]), torch.eye(2))
        tensor([0, 0])
    """
    for given in (features, codebook):
        if not isinstance(given, Tensor):
            raise TypeError(
                f"nearest: expected torch tensors, got {type(given).__name__}; convert with "
                "torch.as_tensor(...)"
            )
    fit = codebook.dim() == 2 and features.shape[-1:] == codebook.shape[1:]
    if not fit or min(codebook.shape) < 1:
        raise ValueError(
            "nearest: expected features [..., dim] and a codebook [size, dim], size and dim at "
            f"least 1, got {tuple(features.shape)} and {tuple(codebook.shape)}"
        )
    double = features.dtype == codebook.dtype == torch.float64
    dtype = torch.float64 if double else torch.float32
    rows = features.detach().reshape(-1, features.shape[-1]).to(dtype)
    codes = codebook.detach().to(dtype)
    if torch.compiler.is_exporting():  # an exported program must run where narrows is not
        middle = codes.mean(0)
        center = codes - middle
        index = _scores(rows - middle, center, -0.5 * center.square().sum(1)).argmax(1)
    else:
        index = _search(rows, codes)
    return index.reshape(features.shape[:-1])


@torch.library.custom_op("narrows::nearest", mutates_args=())
def _search(rows: Tensor, codes: Tensor) -> Tensor:
    """`nearest` for matrices of one dtype; one opaque operation to torch.compile."""
    compiled = function("nearest", "nearest", rows, codes)
    if compiled is not None:
        index = torch.empty(len(rows), dtype=torch.int64)
        bad, threads = 0, torch.get_num_threads()
        for some in parts(len(rows), codes.numel()):
            number = some.stop - some.start
            verdict = compiled(rows[some], codes, number, *codes.shape, threads, index[some])
            bad = -1 if verdict < 0 else bad + verdict
        _refuse(bad, len(rows))
        return index
    with without_autocast(rows.device):
        return search_by_torch(rows, codes)


@_search.register_fake
def _(rows: Tensor, _codes: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], dtype=torch.int64)


def search_by_torch(rows: Tensor, codes: Tensor) -> Tensor:
    """The reference: one matrix product for each chunk of rows, then a closer look where needed."""
    if not bool(codes.isfinite().all()):
        _refuse(-1, len(rows))
    _refuse(int((~rows.isfinite()).any(1).sum()), len(rows))
    frame = _Frame.of(codes)
    step = max(1, _BUFFER // len(codes))
    parts = [_search_chunk(chunk, codes, frame) for chunk in rows.split(step)]
    return torch.cat(parts) if parts else rows.new_empty(0, dtype=torch.int64)


class _Frame(NamedTuple):
    """Codes about their middle, times a power of two that brings them to order 1."""

    codes: Tensor
    middle: Tensor
    offset: Tensor
    scale: float

    @classmethod
    def of(cls, codes: Tensor) -> "_Frame":
        """About the mean, or the mean of most codes where some lie far out."""
        unit = _power_of_two(codes)
        wide = codes.double() * unit
        keep = torch.ones_like(wide[:, 0], dtype=torch.bool)
        for _ in range(3):
            mean = wide[keep].mean(0)
            apart = (wide - mean).norm(dim=1)
            if bool(apart[keep].max() <= 8 * apart[keep].mean()):
                break
            keep = apart <= 4 * apart[keep].mean()
        middle = mean.div(unit).to(codes.dtype)
        scale = _power_of_two(codes[keep] - middle)
        center = (codes - middle) * scale
        return cls(center, middle, -0.5 * center.square().sum(1), scale)

    def doubt(self, norms: Tensor, best: Tensor, index: Tensor) -> Tensor:
        """By how much rounding may move two scores against each other, for rows of these norms."""
        size = (-2 * self.offset[index]).sqrt()
        reach = 1.2 * norms + 0.2 * size + (norms.square() - 2 * best).clamp_min(0).sqrt()
        reach = reach.clamp_max((-2.0002 * self.offset.min()).sqrt())  # no code is longer
        gamma = _rounding(norms.dtype) * (self.codes.shape[1] + 8)
        least = 4 * self.codes.shape[1] * torch.finfo(norms.dtype).tiny
        return 2.1 * gamma * (norms * reach + reach.square() / 2) + least


def _power_of_two(values: Tensor) -> float:
    """A power of two that brings the largest magnitude to 1..2, within the dtype's range."""
    largest = float(values.abs().max()) if values.numel() else 0.0
    most = math.frexp(torch.finfo(values.dtype).max)[1] - 4
    return math.ldexp(1.0, -max(-most, min(most, math.frexp(largest)[1] - 1))) if largest else 1.0


def _rounding(dtype: torch.dtype) -> float:
    """Half the spacing of numbers at 1, as matrix products see them."""
    try:
        exact = dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # set by another interface for each backend
        exact = False
    return torch.finfo(dtype).eps / 2 if exact else 2.0**-8


def _search_chunk(rows: Tensor, codes: Tensor, frame: _Frame) -> Tensor:
    """Scores, and where several lie within their rounding error the differences themselves."""
    signals = (rows - frame.middle) * frame.scale
    scores = _scores(signals, frame.codes, frame.offset)
    best, index = scores.max(1)
    doubt = frame.doubt(torch.linalg.vector_norm(signals, dim=1), best, index)
    close = scores >= (best - doubt)[:, None]
    close |= ~(best + doubt).isfinite()[:, None]  # scores that overflow say nothing
    unsure = (close.sum(1) > 1).nonzero()[:, 0]
    row, code = close[unsure].nonzero(as_tuple=True)
    distances = []
    for i, k in zip(unsure[row].split(_PAIRS), code.split(_PAIRS), strict=True):
        unit = 1.0 if rows.dtype == torch.float32 else _power_of_two(torch.cat([rows[i], codes[k]]))
        distances.append((rows[i].double() * unit - codes[k].double() * unit).square().sum(1))
    if distances:
        distance = torch.cat(distances)
        least = torch.full_like(best[unsure], torch.inf, dtype=torch.float64)
        least.scatter_reduce_(0, row, distance, "amin")
        code = code.masked_fill(distance > least[row], len(codes))
        index[unsure] = index[unsure].scatter_reduce(0, row, code, "amin", include_self=False)
    return index


def _scores(signals: Tensor, codes: Tensor, offset: Tensor) -> Tensor:
    return torch.addmm(offset, signals, codes.T)


def _refuse(verdict: int, count: int) -> None:
    """Raises for -1, a code that is not a finite number, or for a number of such features."""
    if verdict < 0:
        raise ValueError("nearest: the codebook holds NaN or infinite numbers; lower its rate")
    if verdict > 0:
        raise ValueError(
            f"nearest: {verdict} of {count} feature vectors are NaN or infinite; lower the "
            "learning rate or look for the step that made them"
        )
