"""Sparse codes of signals over a dictionary: pure, batched, certified."""

from narrows.sparse.solution import SparseSolution, canonical, combine
from narrows.sparse.top_k import refit_on_support, select_top_k, top_k

__all__ = [
    "SparseSolution",
    "canonical",
    "combine",
    "refit_on_support",
    "select_top_k",
    "top_k",
]
