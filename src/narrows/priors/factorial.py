"""A prior whose dimensions are independent."""

from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from narrows.codes import Code, Values
from narrows.distributions import Family, Normal
from narrows.latent import Latent
from narrows.priors.base import Prior


class Factorial(Prior):
    """p(code) = product over sites and dimensions of one family at location 0.

    rate = KL(q || p) = sum over sites and dimensions of KL(q_ij || p), exact, or the mean over
    draws z ~ q of log q(z) - log p(z).

    Args:
        sites: shape of the grid of sites.
        dim: width of the code.
        family: the distribution of each dimension; a standard normal by default.
        kl: "closed" or "monte_carlo"; None takes the closed form where there is one. One draw
            of "monte_carlo" has a standard deviation of about a nat per dimension.
        draws: Monte Carlo draws per rate; they are the rate's own, not those decoded.

    Example:
        >>> prior = Factorial((), dim=2)
        >>> prior.sample(3).shape
        torch.Size([3, 2])
    """

    space = Values
    prices_draws = True
    coding = "bits_back"
    anchor: Tensor

    def __init__(
        self,
        sites: tuple[int, ...],
        dim: int,
        *,
        family: Family | None = None,
        kl: Literal["closed", "monte_carlo"] | None = None,
        draws: int = 1,
    ) -> None:
        super().__init__(sites)
        if dim < 1 or draws < 1:
            raise ValueError(f"Factorial: dim and draws must be at least 1, got {dim} and {draws}")
        self.dim = dim
        self.family = Normal() if family is None else family
        self.kl = kl
        self.draws = draws
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # knows the device

    @property
    def codes(self) -> Values:
        """Values, `dim` at each site."""
        return Values(self.dim)

    def is_closed(self, posterior: Distribution) -> bool:
        """Whether `divergence` uses a closed form for this posterior."""
        return self.kl == "closed" or (self.kl is None and type(posterior) in self.family.closed)

    def divergence(self, posterior: Distribution, draws: Tensor | None = None) -> Tensor:
        """KL(q || p) of every dimension, as the posterior's batch shape; nats.

        Args:
            posterior: q, elementwise over `[batch, *sites, dim]`.
            draws: draws from q, `[n, batch, *sites, dim]`, to be used where the form is not
                closed; new ones by default.

        Raises:
            ValueError: if `kl="closed"` was asked for and no closed form is known.
        """
        if self.is_closed(posterior):
            return self.family.divergence(posterior)
        if draws is None:
            draws = posterior.rsample(torch.Size((self.draws,)))
        prior = self.family.standard(draws)
        return (posterior.log_prob(draws) - prior.log_prob(draws)).mean(0)

    def rate(self, latent: Latent) -> Tensor:
        """KL(q || p) summed over sites and dimensions, `[batch]` in nats.

        Raises:
            ValueError: if the code is not random.
        """
        if latent.posterior is None:
            raise ValueError(
                "Factorial: a deterministic continuous code has no finite rate under a density; "
                "quantize it with a stated step (narrows.priors.QuantizedHistogram), or make it "
                "random (narrows.bottlenecks.Variational)"
            )
        return self.divergence(latent.posterior).flatten(1).sum(1)

    def log_prob(self, code: Tensor) -> Tensor:
        """Log p(code), the code having any leading axes before `[*sites, dim]`; nats."""
        terms = self.family.standard(code).log_prob(code)
        return terms.flatten(-1 - len(self.sites)).sum(-1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Code:
        """Draws n codes, `[n, *sites, dim]`."""
        like = self.anchor.expand(n, *self.sites, self.dim).contiguous()
        return self.family.scale * self.family.noise(like, generator)
