"""Latents, one family a file."""

from narrows.bottlenecks.base import Bottleneck
from narrows.bottlenecks.sparse_codes import BatchTopK, SparseCode, TopK
from narrows.bottlenecks.sparse_dictionary import SparseDictionary
from narrows.bottlenecks.vector_quantizer import VectorQuantizer

__all__ = ["BatchTopK", "Bottleneck", "SparseCode", "SparseDictionary", "TopK", "VectorQuantizer"]
