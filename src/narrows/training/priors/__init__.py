"""Fitting of priors to the codes of a trained model."""

from narrows.training.priors.fitting import fit_by_gradient, fit_in_one_pass
from narrows.training.priors.learned import fit_pixelcnn, fit_sparse, fit_transformer
from narrows.training.priors.measuring import PriorFit, latents

__all__ = [
    "PriorFit",
    "fit_by_gradient",
    "fit_in_one_pass",
    "fit_pixelcnn",
    "fit_sparse",
    "fit_transformer",
    "latents",
]
