"""Distributions over codes."""

from narrows.priors.autoregressive import AutoregressiveTransformer
from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior
from narrows.priors.factorial import Factorial
from narrows.priors.fitting import fit_by_gradient, fit_in_one_pass
from narrows.priors.gaussian_mixture import GaussianMixture
from narrows.priors.held_out import PriorFit, latents
from narrows.priors.joint import JointPrior
from narrows.priors.learned import fit_pixelcnn, fit_sparse, fit_transformer
from narrows.priors.pixelcnn import PixelCNN
from narrows.priors.quantized import QuantizedHistogram
from narrows.priors.sparse import SparseFactorial
from narrows.priors.sparse_autoregressive import SparseAutoregressive
from narrows.priors.sparse_mixture import SparsePrior
from narrows.priors.spike_and_slab import SpikeAndSlabPrior
from narrows.priors.uniform import UniformCategorical

__all__ = [
    "AutoregressiveTransformer",
    "CategoricalPrior",
    "Factorial",
    "GaussianMixture",
    "JointPrior",
    "PixelCNN",
    "Prior",
    "PriorFit",
    "QuantizedHistogram",
    "SparseAutoregressive",
    "SparseFactorial",
    "SparsePrior",
    "SpikeAndSlabPrior",
    "UniformCategorical",
    "fit_by_gradient",
    "fit_in_one_pass",
    "fit_pixelcnn",
    "fit_sparse",
    "fit_transformer",
    "latents",
]
