"""Sparse codes of signals over a dictionary: pure, batched, certified."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from narrows.sparse.activations import jump_relu, step
from narrows.sparse.coordinate_descent import coordinate_descent
from narrows.sparse.dictionary import MOD, Gradient, Online, learn_dictionary
from narrows.sparse.fista import fista
from narrows.sparse.implicit import differentiate, refit
from narrows.sparse.lista import Lista
from narrows.sparse.omp import omp
from narrows.sparse.penalty import L1, max_penalty
from narrows.sparse.products import combine
from narrows.sparse.solution import SparseSolution, canonical
from narrows.sparse.top_k import top_k

if TYPE_CHECKING:
    from narrows.sparse.estimators import DictionaryLearner, SparseCoder

# scikit-learn takes a second to import: only for those who use it.
_ESTIMATORS = ("DictionaryLearner", "SparseCoder")

__all__ = [
    "L1",
    "MOD",
    "DictionaryLearner",
    "Gradient",
    "Lista",
    "Online",
    "SparseCoder",
    "SparseSolution",
    "canonical",
    "combine",
    "coordinate_descent",
    "differentiate",
    "fista",
    "jump_relu",
    "learn_dictionary",
    "max_penalty",
    "omp",
    "refit",
    "step",
    "top_k",
]


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        return getattr(import_module("narrows.sparse.estimators"), name)
    raise AttributeError(f"module 'narrows.sparse' has no attribute {name!r}")
