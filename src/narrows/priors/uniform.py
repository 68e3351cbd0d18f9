"""All categories alike: the fixed prior of a categorical latent."""

import math

import torch
from torch import Tensor
from torch.distributions import Categorical

from narrows.latent import Code, Latent
from narrows.priors.base import Prior


class UniformCategorical(Prior):
    """p(code) = categories^-(variables * sites).

    rate = KL(q || p) = sum over sites and variables of log K - H(q), in nats, where the code is
    random; without a posterior, log K for every variable.

    Args:
        sites: shape of the grid of sites.
        variables: categorical variables per site.
        categories: K, the number of values of each.

    Example:
        >>> UniformCategorical((2,), variables=3, categories=10).sample(4).shape
        torch.Size([4, 2, 3])
    """

    anchor: Tensor

    def __init__(self, sites: tuple[int, ...], variables: int, categories: int) -> None:
        super().__init__(sites)
        if variables < 1 or categories < 2:
            raise ValueError(
                "UniformCategorical: expected at least 1 variable and 2 categories, got "
                f"{variables} and {categories}"
            )
        self.variables = variables
        self.categories = categories
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # knows the device

    @property
    def largest_rate(self) -> float:
        """Nats per example of a code known for certain."""
        return math.prod(self.sites) * self.variables * math.log(self.categories)

    def rate(self, latent: Latent) -> Tensor:
        """KL(q || p), `[batch]` in nats.

        Raises:
            ValueError: if the latent's posterior is not categorical, or its code not discrete.
        """
        posterior = latent.posterior
        if isinstance(posterior, Categorical):
            entropy = -(posterior.probs * posterior.logits).sum(-1)
            return self.largest_rate - entropy.flatten(1).sum(1)
        if posterior is None and latent.has_rate:
            return self.log_prob(latent.code).neg()
        raise ValueError(
            "UniformCategorical: expected a categorical posterior or an integer code, got "
            f"{type(posterior or latent.code).__name__}; use the bottleneck's default_prior"
        )

    def log_prob(self, code: Code) -> Tensor:
        """Log p(code) for codes `[batch, *sites, variables]`, `[batch]` in nats."""
        part = code[0] if isinstance(code, tuple) else code
        return self.anchor.expand(part.shape[0]) - self.largest_rate

    def sample(self, n: int, generator: torch.Generator | None = None) -> Code:
        """Draws n codes, `[n, *sites, variables]`."""
        shape = (n, *self.sites, self.variables)
        device = self.anchor.device if generator is None else generator.device
        draws = torch.randint(self.categories, shape, generator=generator, device=device)
        return draws.to(self.anchor.device)
