"""The search for the nearest code on CUDA, in Triton: product and argmax in one.

Imported only where Triton is installed, as it is with CUDA builds of torch.
"""
# pyright: reportMissingImports=false, reportIndexIssue=false

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK_ROWS, _BLOCK_CODES, _BLOCK_DIM = 64, 64, 32


def search(
    rows: Tensor, codes: Tensor, middle: Tensor, offset: Tensor, scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Index of the best code of each row, its score and the next best; scores stay on the chip.

    score[i, k] = scale (rows[i] - middle) . codes[k] + offset[k], the lowest index on ties; the
    best is not finite where the row is not.

    Args:
        rows: `[n, dim]` float32.
        codes: `[size, dim]` float32, less their middle, times the scale.
        middle: `[dim]`.
        offset: `[size]`.
        scale: a power of two.
    """
    count, dim = rows.shape
    index = torch.empty(count, dtype=torch.int64, device=rows.device)
    best, second = torch.empty(2, count, dtype=torch.float32, device=rows.device)
    if count:
        _nearest[(-(-count // _BLOCK_ROWS),)](
            rows.contiguous(), codes.contiguous(), middle, offset, index, best, second,
            count, len(codes), dim, scale, _BLOCK_ROWS, _BLOCK_CODES, _BLOCK_DIM,
        )  # fmt: skip
    return index, best, second


@triton.jit
def _nearest(  # noqa: PLR0913 (a kernel's arguments are its memory)
    rows, codes, middle, offset, index, best, second, count, size, dim, scale,
    BLOCK_ROWS: tl.constexpr, BLOCK_CODES: tl.constexpr, BLOCK_DIM: tl.constexpr,
):  # fmt: skip
    """One program takes BLOCK_ROWS rows past all codes, a block of each at a time."""
    r = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    top = tl.full((BLOCK_ROWS,), float("-inf"), tl.float32)
    runner_up = tl.full((BLOCK_ROWS,), float("-inf"), tl.float32)
    where = tl.zeros((BLOCK_ROWS,), tl.int32)
    for first in range(0, size, BLOCK_CODES):
        k = first + tl.arange(0, BLOCK_CODES)
        score = tl.zeros((BLOCK_ROWS, BLOCK_CODES), tl.float32)
        for start in range(0, dim, BLOCK_DIM):
            d = start + tl.arange(0, BLOCK_DIM)
            inside = (r[:, None] < count) & (d[None, :] < dim)
            x = tl.load(rows + r[:, None].to(tl.int64) * dim + d[None, :], mask=inside, other=0.0)
            x = (x - tl.load(middle + d, mask=d < dim, other=0.0)[None, :]) * scale
            known = (k[None, :] < size) & (d[:, None] < dim)
            c = tl.load(codes + k[None, :].to(tl.int64) * dim + d[:, None], mask=known, other=0.0)
            # Not TF32, whose ten bits would confuse near codes.
            score = tl.dot(x, c, score, input_precision="ieee")
        score += tl.load(offset + k, mask=k < size, other=float("-inf"))[None, :]
        score = tl.where(score == score, score, float("-inf"))  # NaN never wins
        found, at = tl.max(score, 1, return_indices=True, return_indices_tie_break_left=True)
        others = tl.where(k[None, :] == first + at[:, None], float("-inf"), score)
        better = found > top  # strictly: the lowest index stays
        runner_up = tl.maximum(runner_up, tl.maximum(tl.minimum(found, top), tl.max(others, 1)))
        where = tl.where(better, first + at, where)
        top = tl.where(better, found, top)
    tl.store(index + r, where.to(tl.int64), mask=r < count)
    tl.store(best + r, top, mask=r < count)
    tl.store(second + r, runner_up, mask=r < count)
