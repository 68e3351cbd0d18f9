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
from narrows.bottlenecks.sparse.coder import Coded, Coder, Learned, Problem, Usage
from narrows.bottlenecks.sparse.dictionary import SparseDictionary
from narrows.bottlenecks.sparse.learned.dead import AuxK
from narrows.bottlenecks.sparse.learned.gated import Gated
from narrows.bottlenecks.sparse.learned.jump_relu import JumpReLU
from narrows.bottlenecks.sparse.learned.matryoshka import Matryoshka
from narrows.bottlenecks.sparse.learned.relu import ReLU
from narrows.bottlenecks.sparse.learned.untied import Untied
from narrows.bottlenecks.sparse.pursuit import OMP, Lasso
from narrows.bottlenecks.sparse.softmax import SoftmaxDictionary
from narrows.bottlenecks.sparse.top_k import BatchTopK, TopK
from narrows.bottlenecks.sparse.transcoder import Transcoder
from narrows.bottlenecks.spike_and_slab import SpikeAndSlab
from narrows.bottlenecks.split import Split
from narrows.bottlenecks.variational import Variational

__all__ = [
    "NVIL",
    "OMP",
    "RLOO",
    "AuxK",
    "BatchTopK",
    "Bottleneck",
    "Bound",
    "Categorical",
    "Clamp",
    "CodebookLearning",
    "Coded",
    "Coder",
    "Estimator",
    "FiniteScalarQuantizer",
    "Gated",
    "GumbelSoftmax",
    "Identity",
    "JumpReLU",
    "Lasso",
    "Learned",
    "LookupFreeQuantizer",
    "Matryoshka",
    "NormalCdf",
    "Problem",
    "Projected",
    "ReLU",
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
    "Transcoder",
    "Untied",
    "Usage",
    "VQBridge",
    "Variational",
    "VectorQuantizer",
]
