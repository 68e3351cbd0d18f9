"""Computations compiled for this machine; torch is the reference and the fallback."""

from narrows.kernels.compile import load, status

__all__ = ["load", "status"]
