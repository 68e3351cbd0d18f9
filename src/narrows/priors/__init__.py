"""Distributions over codes."""

from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior
from narrows.priors.factorial import Factorial
from narrows.priors.pixelcnn import PixelCNN
from narrows.priors.quantized import QuantizedHistogram
from narrows.priors.sparse import SparseFactorial

__all__ = [
    "CategoricalPrior",
    "Factorial",
    "PixelCNN",
    "Prior",
    "QuantizedHistogram",
    "SparseFactorial",
]
