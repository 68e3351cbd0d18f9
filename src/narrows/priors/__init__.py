"""Distributions over codes."""

from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior, MovingHistogram, UniformCategorical
from narrows.priors.factorial import Factorial, SpikeAndSlabPrior
from narrows.priors.gaussian_mixture import GaussianMixture
from narrows.priors.hyperprior import MeanScaleHyperprior
from narrows.priors.joint import JointPrior
from narrows.priors.pixelcnn import PixelCNN
from narrows.priors.quantized import QuantizedHistogram
from narrows.priors.sparse.autoregressive import SparseAutoregressive
from narrows.priors.sparse.factorial import MovingSparseFactorial, SparseFactorial
from narrows.priors.sparse.mixture import SparseMixture
from narrows.priors.transformer import AutoregressiveTransformer

__all__ = [
    "AutoregressiveTransformer",
    "CategoricalPrior",
    "Factorial",
    "GaussianMixture",
    "JointPrior",
    "MeanScaleHyperprior",
    "MovingHistogram",
    "MovingSparseFactorial",
    "PixelCNN",
    "Prior",
    "QuantizedHistogram",
    "SparseAutoregressive",
    "SparseFactorial",
    "SparseMixture",
    "SpikeAndSlabPrior",
    "UniformCategorical",
]
