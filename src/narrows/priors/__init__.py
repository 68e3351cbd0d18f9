"""Distributions over codes."""

from narrows.priors.base import Prior
from narrows.priors.pixelcnn import PixelCNN
from narrows.priors.sparse import SparseFactorial

__all__ = ["PixelCNN", "Prior", "SparseFactorial"]
