"""Latents, one family a file."""

from narrows.bottlenecks.base import Bottleneck
from narrows.bottlenecks.categorical import Categorical
from narrows.bottlenecks.estimators import (
    NVIL,
    RLOO,
    Estimator,
    GumbelSoftmax,
    ScoreFunction,
    StraightThrough,
)
from narrows.bottlenecks.finite_scalar import FiniteScalarQuantizer
from narrows.bottlenecks.identity import Identity
from narrows.bottlenecks.learned_start import LearnedStart
from narrows.bottlenecks.lookup_free import LookupFreeQuantizer
from narrows.bottlenecks.residual_quantizer import ResidualQuantizer
from narrows.bottlenecks.sim_vq import SimVQ
from narrows.bottlenecks.softmax_dictionary import SoftmaxDictionary
from narrows.bottlenecks.sparse_code import SparseCode
from narrows.bottlenecks.sparse_codes import OMP, BatchTopK, Lasso, TopK
from narrows.bottlenecks.sparse_dictionary import SparseDictionary
from narrows.bottlenecks.spike_and_slab import SpikeAndSlab
from narrows.bottlenecks.split import Split
from narrows.bottlenecks.variational import Variational
from narrows.bottlenecks.vector_quantizer import VectorQuantizer

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
