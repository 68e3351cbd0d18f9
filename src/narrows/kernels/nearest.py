"""The compiled search for the nearest code on the CPU."""

import ctypes

import torch
from torch import Tensor

from narrows.kernels.compile import load

_FUNCTIONS = {torch.float32: "nearest_f32", torch.float64: "nearest_f64"}


def search(rows: Tensor, codes: Tensor) -> tuple[Tensor, int] | None:
    """Index of the nearest code of each row, by `nearest.cpp`; None where it is not to be had.

    Args:
        rows: `[n, dim]`, float32 or float64, on the CPU.
        codes: `[size, dim]`, of the same dtype, size and dim at least 1.

    Returns:
        int64 indices `[n]`, and a verdict: 0, or -1 where a code is not finite, or the number
        of rows that are not.
    """
    library = load("nearest")
    if library is None:
        return None
    function = getattr(library, _FUNCTIONS[rows.dtype])
    function.restype = ctypes.c_int64
    rows, codes = rows.contiguous(), codes.contiguous()
    index = torch.empty(rows.shape[0], dtype=torch.int64)
    verdict = function(
        ctypes.c_void_p(rows.data_ptr()),
        ctypes.c_void_p(codes.data_ptr()),
        ctypes.c_int64(rows.shape[0]),
        ctypes.c_int64(codes.shape[0]),
        ctypes.c_int64(codes.shape[1]),
        ctypes.c_int(torch.get_num_threads()),
        ctypes.c_void_p(index.data_ptr()),
    )
    return index, verdict
