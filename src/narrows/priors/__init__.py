"""Distributions over codes."""

from narrows.priors.autoregressive import AutoregressiveTransformer
from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior
from narrows.priors.factorial import Factorial
from narrows.priors.pixelcnn import PixelCNN
from narrows.priors.quantized import QuantizedHistogram
from narrows.priors.sparse import SparseFactorial

__all__ = [
    "AutoregressiveTransformer",
    "CategoricalPrior",
    "Factorial",
    "PixelCNN",
    "Prior",
    "QuantizedHistogram",
    "SparseFactorial",
]
