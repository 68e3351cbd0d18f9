"""p(x | decoder output), one family a file."""

from narrows.likelihoods.base import Likelihood
from narrows.likelihoods.bernoulli import Bernoulli
from narrows.likelihoods.categorical import Categorical256
from narrows.likelihoods.logistic_mixture import DiscretizedLogisticMixture
from narrows.likelihoods.normal import Normal

__all__ = ["Bernoulli", "Categorical256", "DiscretizedLogisticMixture", "Likelihood", "Normal"]
