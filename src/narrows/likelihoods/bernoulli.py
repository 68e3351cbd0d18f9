"""Bernoulli over each pixel, given by its logit."""

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.likelihoods.base import Likelihood, at_least_float32, check_unit_range


class Bernoulli(Likelihood):
    """p(x = 1) = sigmoid(output), independently in every dimension.

    log p = sum of x log sigmoid(o) + (1 - x) log sigmoid(-o), in nats. It is a normalised
    probability for binary x only. Grey values in [0, 1] are accepted, as is common practice;
    the sum is then a cross-entropy, not a log-likelihood, and no figure from it is comparable
    with one of a normalised likelihood.

    Args:
        binarize: take x >= 1/2 as 1 and the rest as 0 (static binarisation), so that it is a
            log-likelihood of the binarised data.

    Source: Kingma & Welling (2014), appendix C.1.

    Example:
        >>> Bernoulli().log_prob(torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2))  # -2 log 2
        tensor([-1.3863])
    """

    def __init__(self, binarize: bool = False) -> None:
        super().__init__()
        self.binarize = binarize

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Nats per example, `[batch]`; x in [0, 1]."""
        x, output = self._check(x, output)
        check_unit_range(self, x)
        if self.binarize:
            x = (x >= 0.5).to(output)
        losses = F.binary_cross_entropy_with_logits(output, x.to(output), reduction="none")
        return -losses.flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        """sigmoid(output)."""
        return at_least_float32(output).sigmoid()

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws zeros and ones."""
        return self.mean(output).bernoulli(generator=generator)
