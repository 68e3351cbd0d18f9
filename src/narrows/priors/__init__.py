"""Distributions over codes."""

from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior
from narrows.priors.pixelcnn import PixelCNN
from narrows.priors.sparse import SparseFactorial

__all__ = ["CategoricalPrior", "PixelCNN", "Prior", "SparseFactorial"]
