"""Fitting of priors to the codes of a trained model.

`fit_prior` fits any prior; `PriorRecipe` says which prior, before its size is known. Begin with
`fitting.py`.
"""

from narrows.training.priors.fitting import FittedPrior, PriorFit, fit_prior
from narrows.training.priors.recipe import PriorRecipe, find_recipe, shipped_recipes

__all__ = ["FittedPrior", "PriorFit", "PriorRecipe", "find_recipe", "fit_prior", "shipped_recipes"]
