"""Fitting of priors to the codes of a trained model.

`fit_prior` fits any prior; `PriorRecipe` says which prior, before its size is known. Begin with
`fitting.py`.
"""

from narrows.training.priors.fitting import FittedPrior, PriorFit, fit_prior, mean_bits, priced
from narrows.training.priors.recipe import PriorRecipe, find, shipped

__all__ = [
    "FittedPrior",
    "PriorFit",
    "PriorRecipe",
    "find",
    "fit_prior",
    "mean_bits",
    "priced",
    "shipped",
]
