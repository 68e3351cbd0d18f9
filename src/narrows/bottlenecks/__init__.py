"""Latents, one family a file."""

from narrows.bottlenecks.base import Bottleneck
from narrows.bottlenecks.categorical import Categorical
from narrows.bottlenecks.gradient_estimators import (
    NVIL,
    RLOO,
    Estimator,
    GumbelSoftmax,
    ScoreFunction,
    StraightThrough,
)
from narrows.bottlenecks.identity import Identity
from narrows.bottlenecks.quantizers.finite_scalar import FiniteScalarQuantizer
from narrows.bottlenecks.quantizers.lookup_free import LookupFreeQuantizer
from narrows.bottlenecks.quantizers.residual import ResidualQuantizer
from narrows.bottlenecks.quantizers.simvq import SimVQ
from narrows.bottlenecks.quantizers.vector import VectorQuantizer
from narrows.bottlenecks.sparse.coder import SparseCode
from narrows.bottlenecks.sparse.coders import OMP, BatchTopK, Lasso, TopK
from narrows.bottlenecks.sparse.dictionary import SparseDictionary
from narrows.bottlenecks.sparse.learned_start import LearnedStart
from narrows.bottlenecks.sparse.softmax import SoftmaxDictionary
from narrows.bottlenecks.spike_and_slab import SpikeAndSlab
from narrows.bottlenecks.split import Split
from narrows.bottlenecks.variational import Variational

__all__ = [
    "NVIL",
    "OMP",
    "RLOO",
    "BatchTopK",
    "Bottleneck",
    "Categorical",
    "Estimator",
    "FiniteScalarQuantizer",
    "GumbelSoftmax",
    "Identity",
    "Lasso",
    "LearnedStart",
    "LookupFreeQuantizer",
    "ResidualQuantizer",
    "ScoreFunction",
    "SimVQ",
    "SoftmaxDictionary",
    "SparseCode",
    "SparseDictionary",
    "SpikeAndSlab",
    "Split",
    "StraightThrough",
    "TopK",
    "Variational",
    "VectorQuantizer",
]
