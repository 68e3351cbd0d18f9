"""The search for the nearest code on CUDA, in Triton: product and argmax in one."""

import importlib.util
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from types import ModuleType

BLOCK_ROWS, BLOCK_CODES, BLOCK_DIM = 64, 64, 32


def available() -> bool:
    """Whether Triton is installed (it comes with CUDA builds of torch)."""
    return importlib.util.find_spec("triton") is not None


def search(rows: Tensor, codes: Tensor, mean: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the best code of each row, and its score; the scores stay on the chip.

    score[i, k] = (rows[i] - mean) . codes[k] + offset[k], the lowest index on ties.

    Args:
        rows: `[n, dim]` float32.
        codes: `[size, dim]` float32, less their mean.
        mean: `[dim]`.
        offset: `[size]`.

    Returns:
        int64 indices `[n]` and scores `[n]`; a score is not finite where the row is not.
    """
    from narrows.kernels import nearest_triton_kernel as kernel

    return _launch(kernel, rows.contiguous(), codes.contiguous(), mean, offset)


def _launch(
    kernel: "ModuleType", rows: Tensor, codes: Tensor, mean: Tensor, offset: Tensor
) -> tuple[Tensor, Tensor]:
    count, dim = rows.shape
    index = torch.empty(count, dtype=torch.int64, device=rows.device)
    best = torch.empty(count, dtype=torch.float32, device=rows.device)
    if count:
        kernel.nearest[(-(-count // BLOCK_ROWS),)](
            rows, codes, mean, offset, index, best, count, len(codes), dim,
            BLOCK_ROWS, BLOCK_CODES, BLOCK_DIM,
        )  # fmt: skip
    return index, best
