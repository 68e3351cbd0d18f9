"""The nearest of K codes, exactly, without ever holding all N x K distances."""

import importlib.util

import torch
from torch import Tensor

from narrows.kernels.compile import enabled, function

_BUFFER = 1 << 21  # scores held at a time by the torch version: 8 MB in float32
_GROUP = 32  # codes compared with one another first


def nearest(features: Tensor, codebook: Tensor) -> Tensor:
    """Index of the code nearest to each feature vector; the lowest one on ties.

    argmin_k ||x - c_k||^2 = argmax_k (x - m) . (c_k - m) - ||c_k - m||^2 / 2,

    where m is the mean of the codes. Taking m off both sides matters: a common offset of 300
    with unit spread costs the expanded distance a fifth of its answers in float32.

    Computed in float32, or in float64 where both are float64, under any autocast.

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
        index = _scores(rows, codes).argmax(1)
    else:
        index = _search(rows, codes)
    return index.reshape(features.shape[:-1])


@torch.library.custom_op("narrows::nearest", mutates_args=())
def _search(rows: Tensor, codes: Tensor) -> Tensor:
    """`nearest` for matrices of one dtype; one opaque operation to torch.compile."""
    compiled = function("nearest", "nearest", rows, codes)
    if compiled is not None:
        index = torch.empty(len(rows), dtype=torch.int64)
        verdict = compiled(rows, codes, len(rows), *codes.shape, torch.get_num_threads(), index)
        _refuse(verdict, len(rows))
        return index
    with torch.autocast(rows.device.type, enabled=False):
        if _suits_triton(rows):
            return _search_by_triton(rows, codes)
        return search_by_torch(rows, codes)


@_search.register_fake
def _(rows: Tensor, _codes: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], dtype=torch.int64)


def _suits_triton(rows: Tensor) -> bool:
    suits = enabled() and rows.dtype == torch.float32 and rows.device.type == "cuda"
    return suits and importlib.util.find_spec("triton") is not None


def _search_by_triton(rows: Tensor, codes: Tensor) -> Tensor:
    from narrows.kernels import nearest_triton

    mean = codes.mean(0)
    center, offset = _centered(codes)
    index, best = nearest_triton.search(rows, center, mean, offset)
    verdict = int((~best.isfinite()).sum()) if bool(offset.isfinite().all()) else -1
    _refuse(verdict, len(rows))
    return index


def search_by_torch(rows: Tensor, codes: Tensor) -> Tensor:
    """The reference: one matrix product for each chunk of rows, into one reused buffer.

    torch's argmax walks a row number by number, its amax many at a time; so the best group of
    codes is found by amax, and argmax looks at the groups and then at one group only.
    """
    mean = codes.mean(0)
    center, offset = _centered(codes)
    spare = -len(codes) % _GROUP
    center = torch.nn.functional.pad(center, (0, 0, 0, spare))
    padded = torch.nn.functional.pad(offset, (0, spare), value=-torch.inf)  # loses to every code
    count, size = rows.shape[0], len(padded)
    step = max(1, min(count, _BUFFER // size))
    index = rows.new_empty(count, dtype=torch.int64)
    best = rows.new_empty(count)
    buffer = rows.new_empty(step, size)
    for start in range(0, count, step):
        stop = min(start + step, count)
        scores = buffer[: stop - start]
        torch.addmm(padded, rows[start:stop] - mean, center.T, out=scores)
        groups = scores.view(stop - start, -1, _GROUP)
        group = groups.amax(2).argmax(1)
        chosen = groups[torch.arange(stop - start, device=rows.device), group]
        best[start:stop], within = chosen.max(1)
        index[start:stop] = group * _GROUP + within
    verdict = int((~best.isfinite()).sum()) if bool(offset.isfinite().all()) else -1
    _refuse(verdict, count)
    return index


def _refuse(verdict: int, count: int) -> None:
    """Raises where the scores showed that a feature or a code is not a finite number."""
    if verdict < 0:
        raise ValueError("nearest: the codebook holds NaN or infinite numbers; lower its rate")
    if verdict > 0:
        raise ValueError(
            f"nearest: {verdict} of {count} feature vectors are NaN or infinite; lower the "
            "learning rate or look for the step that made them"
        )


def _centered(codes: Tensor) -> tuple[Tensor, Tensor]:
    """The codes less their mean, and minus half their squared norms."""
    center = codes - codes.mean(0)
    return center, -0.5 * center.square().sum(1)


def _scores(rows: Tensor, codes: Tensor) -> Tensor:
    center, offset = _centered(codes)
    return torch.addmm(offset, rows - codes.mean(0), center.T)
