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
from narrows.bottlenecks.quantizers.bounds import Bound, Clamp, NormalCdf, Tanh
from narrows.bottlenecks.quantizers.codebook import CodebookLearning
from narrows.bottlenecks.quantizers.finite_scalar import FiniteScalarQuantizer
from narrows.bottlenecks.quantizers.lookup_free import LookupFreeQuantizer
from narrows.bottlenecks.quantizers.projected import Projected
from narrows.bottlenecks.quantizers.residual import ResidualQuantizer
from narrows.bottlenecks.quantizers.simvq import SimVQ
from narrows.bottlenecks.quantizers.vector import VectorQuantizer
from narrows.bottlenecks.quantizers.vqbridge import VQBridge
from narrows.bottlenecks.rounded import Rounded
from narrows.bottlenecks.sparse.coder import Coder, Problem, Usage
from narrows.bottlenecks.sparse.dictionary import SparseDictionary
from narrows.bottlenecks.sparse.pursuit import OMP, Lasso
from narrows.bottlenecks.sparse.softmax import SoftmaxDictionary
from narrows.bottlenecks.sparse.top_k import BatchTopK, TopK
from narrows.bottlenecks.spike_and_slab import SpikeAndSlab
from narrows.bottlenecks.split import Split
from narrows.bottlenecks.variational import Variational

__all__ = [
    "NVIL",
    "OMP",
    "RLOO",
    "BatchTopK",
    "Bottleneck",
    "Bound",
    "Categorical",
    "Clamp",
    "CodebookLearning",
    "Coder",
    "Estimator",
    "FiniteScalarQuantizer",
    "GumbelSoftmax",
    "Identity",
    "Lasso",
    "LookupFreeQuantizer",
    "NormalCdf",
    "Problem",
    "Projected",
    "ResidualQuantizer",
    "Rounded",
    "ScoreFunction",
    "SimVQ",
    "SoftmaxDictionary",
    "SparseDictionary",
    "SpikeAndSlab",
    "Split",
    "StraightThrough",
    "Tanh",
    "TopK",
    "Usage",
    "VQBridge",
    "Variational",
    "VectorQuantizer",
]
