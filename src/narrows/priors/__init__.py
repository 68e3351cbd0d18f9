"""Distributions over codes."""

from narrows.priors.base import Prior
from narrows.priors.sparse import SparseFactorial

__all__ = ["Prior", "SparseFactorial"]
