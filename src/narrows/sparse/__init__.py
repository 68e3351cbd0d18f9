"""Sparse codes of signals over a dictionary: pure, batched, certified."""

from narrows.sparse.coordinate_descent import coordinate_descent
from narrows.sparse.fista import fista
from narrows.sparse.implicit import differentiate, refit
from narrows.sparse.omp import omp
from narrows.sparse.penalty import L1, max_penalty
from narrows.sparse.products import combine
from narrows.sparse.solution import SparseSolution, canonical
from narrows.sparse.top_k import top_k

__all__ = [
    "L1",
    "SparseSolution",
    "canonical",
    "combine",
    "coordinate_descent",
    "differentiate",
    "fista",
    "max_penalty",
    "omp",
    "refit",
    "top_k",
]
